//! What a node serves.

use crate::wire::Refusal;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use wpc_host::Sha256Hash;

/// The functions that a node serves. Cheap to clone.
///
/// A change to the pool and to this list is made under the lock for writing. A call is compared with the list and submitted to the pool
/// under the lock for reading, so it runs the definition that it was compared with. Submitting does not block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Serving(Arc<RwLock<Served>>);

/// The functions of a revision as a node's pool has them.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) revision: Option<u64>,
    /// The SHA-256 of the list of functions; zeros without any.
    pub(crate) index: [u8; 32],
    /// By name.
    pub(crate) functions: HashMap<String, ServedFunction>,
}

/// A function that a node serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServedFunction {
    pub(crate) definition: Sha256Hash,
    pub(crate) can_suspend: bool,
    pub(crate) is_metered: bool,
}

impl Serving {
    /// Reads what is served. Waits only while a change is published.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&Served) -> R) -> R {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the pool and what is served, in one step for callers.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Served) -> R) -> R {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Served {
    /// The function, if this node has the definition.
    pub(crate) fn definition(
        &self,
        function: &str,
        definition: Sha256Hash,
    ) -> Result<ServedFunction, Refusal> {
        let served = self.functions.get(function).copied();
        served.filter(|served| served.definition == definition).ok_or(Refusal::NotHere)
    }
}
