//! Why a deployment could not be opened or watched.

use crate::problem::Problem;

/// Why a manifest could not be deployed or watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// All problems of the manifest and of the files that it names.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
    /// The pool could not be created.
    #[error(transparent)]
    Pool(#[from] wpc_host::Error),
    /// The thread for the pool's events could not be started.
    #[error("failed to start the event thread: {0}")]
    Events(#[source] wpc_host::Error),
    /// The file watcher could not be created.
    #[error("failed to watch files: {0}")]
    Watch(#[from] notify::Error),
    /// The thread that follows changes could not be started.
    #[error("failed to start the reload thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Problems(vec![problem])
    }
}
