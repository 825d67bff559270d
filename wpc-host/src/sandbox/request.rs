//! What a sandbox is to run.

use crate::call::Call;
use crate::module::Export;
use std::sync::Arc;

/// A call as the sandbox receives it.
pub(crate) struct Request<'a> {
    pub(crate) call: &'a Arc<Call>,
    pub(crate) export: &'a Export,
    /// The index of the export in its module.
    pub(crate) export_at: usize,
    /// How much fuel it may use; `None` if the definition is not metered.
    pub(crate) fuel: Option<u64>,
}
