//! The functions of a cluster at a moment, as its callers see them.

use std::collections::HashMap;
use std::sync::Arc;
use wpc_deploy::DeployedFunction;

/// The functions of the active revision.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The active revision; `None` if no revision is active.
    pub revision: Option<u64>,
    /// The SHA-256 of the list of its functions, by which nodes report what they run; zeros if no revision is active.
    pub index: [u8; 32],
    /// The functions, by name.
    pub functions: HashMap<String, Arc<DeployedFunction>>,
}

impl Snapshot {
    /// The functions of a revision.
    #[must_use]
    pub fn new(
        revision: u64,
        index: [u8; 32],
        functions: impl IntoIterator<Item = DeployedFunction>,
    ) -> Self {
        let by_name =
            |function: DeployedFunction| (function.information.name.clone(), Arc::new(function));
        let functions = functions.into_iter().map(by_name).collect();
        Self { revision: Some(revision), index, functions }
    }
}
