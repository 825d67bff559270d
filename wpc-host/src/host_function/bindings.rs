//! The constants and host functions of the embedder, and which version of them a call sees.

use super::HostFunction;
use crate::name_map::NameMap;
use std::sync::{Arc, OnceLock};

/// The encoded values of constants, by name.
pub(crate) type Constants = NameMap<[u8]>;

/// The embedder's functions, by name.
pub(crate) type HostFunctions = NameMap<HostFunction>;

/// The constants and host functions of the embedder.
#[derive(Debug, Default, Clone)]
pub(crate) struct Bindings {
    pub(crate) constants: Constants,
    pub(crate) host_functions: HostFunctions,
}

/// Returns the current bindings.
pub(crate) trait CurrentBindings: std::fmt::Debug + Send + Sync {
    fn bindings(&self) -> Arc<Bindings>;
}

/// The bindings of a definition that was replaced, as they were then. Calls that still run it read these, because its
/// types need not fit later ones.
#[derive(Debug, Default)]
pub(crate) struct LastBindings(OnceLock<Arc<Bindings>>);

impl LastBindings {
    /// Records the bindings. The caller must pass the current ones before it publishes later ones. For a definition that is
    /// only checked and never published, it passes the bindings as they would be after the changes.
    pub(crate) fn keep(&self, bindings: &Arc<Bindings>) {
        // Set at most once per definition; a repeated check sets the same bindings.
        let _ = self.0.set(Arc::clone(bindings));
    }

    pub(crate) fn or_current(&self, current: &dyn CurrentBindings) -> Arc<Bindings> {
        // The current bindings are loaded first: newer bindings are published only after the last ones were recorded.
        let current = current.bindings();
        self.0.get().map_or(current, Arc::clone)
    }
}
