//! Why a deployment is refused.

use crate::store::StoreError;
use wpc_deploy::Problem;
use wpc_host::Sha256Hash;

/// Why a deployment is refused. In that case, nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// All problems of the manifest and its modules.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
    /// Modules that the manifest names were not uploaded, or are damaged in the data folder.
    #[error(
        "the server does not have these modules, or its copies are damaged; upload them first: {}",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Missing(Vec<Sha256Hash>),
    /// A revision other than the one that the client expected is active.
    #[error("{}", match active {
        Some(active) => format!("revision {active} is active; check its content, and then state it as `expected`"),
        None => "no revision is active; state `null` as `expected`".to_owned(),
    })]
    #[non_exhaustive]
    Conflict {
        /// The active revision.
        active: Option<u64>,
    },
    /// The revision does not exist.
    #[error("revision {0} does not exist")]
    NoRevision(u64),
    /// The active revision has no such constant.
    #[error("the active revision has no constant \"{0}\"")]
    NoConstant(String),
    /// There is nothing to roll back.
    #[error("no revision is active, so there is nothing to roll back")]
    NothingActive,
    /// No other revision was active before.
    #[error("no revision was active before revision {active}; state the revision to return to")]
    #[non_exhaustive]
    NothingBefore {
        /// The active revision.
        active: u64,
    },
    /// The manifest is too large.
    #[error("the manifest is larger than {} bytes", super::MAX_MANIFEST)]
    TooLarge,
    /// The store cannot be used.
    #[error(transparent)]
    Store(StoreError),
    /// The folder of modules cannot be used.
    #[error("failed to use the folder of modules: {0}")]
    Disk(#[source] std::io::Error),
    /// The pool cannot be created.
    #[error(transparent)]
    Pool(Box<wpc_deploy::Error>),
}

impl From<wpc_deploy::Error> for Refusal {
    fn from(error: wpc_deploy::Error) -> Self {
        Self::Pool(Box::new(error))
    }
}

impl From<Vec<Problem>> for Refusal {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Problems(problems)
    }
}
