//! What calls read: one immutable snapshot of all names, and how a new one is published.

use super::function::Function;
use crate::host_function::bindings::{Bindings, CurrentBindings};
use crate::name_map::NameMap;
use crate::sync::ArcSwap;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Every function, constant and host function at one moment. Its maps are persistent, so a change copies little of them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Snapshot {
    /// Counts up with each snapshot of the registry.
    version: u64,
    pub(super) functions: NameMap<Function>,
    pub(crate) bindings: Arc<Bindings>,
}

/// The current snapshot.
///
/// # Protocol
///
/// A writer, which holds the registry's lock, stores the version first and the snapshot second. A thread that has seen the new
/// snapshot therefore sees the new version, and uses nothing that was found in an older snapshot. A thread that sees the new
/// version before the new snapshot looks into the old one, which is still current.
#[derive(Debug, Default)]
pub(crate) struct Current {
    version: AtomicU64,
    snapshot: ArcSwap<Snapshot>,
}

impl Current {
    pub(super) fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    #[cfg(feature = "json")]
    pub(super) fn version(&self) -> u64 {
        self.snapshot.load().version
    }

    #[inline]
    pub(super) fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.snapshot.load().functions.get(name).cloned()
    }

    /// Publishes everything at once; returns the previous snapshot.
    pub(super) fn publish(&self, mut next: Snapshot) -> Arc<Snapshot> {
        next.version = self.version.load(Ordering::Relaxed) + 1;
        self.version.store(next.version, Ordering::Release);
        self.snapshot.swap(Arc::new(next))
    }

    /// The function that `found` refers to, if no snapshot was published since it was found.
    #[inline]
    pub(super) fn get_if_current(&self, found: &Found) -> Option<Arc<Function>> {
        if self.is_current(found) { found.function.upgrade() } else { None }
    }

    #[inline]
    pub(super) fn is_current(&self, found: &Found) -> bool {
        found.version == self.version.load(Ordering::Acquire)
    }

    #[cold]
    pub(super) fn find(&self, name: &str) -> Option<(Arc<Function>, Found)> {
        let snapshot = self.snapshot.load();
        let function = snapshot.functions.get(name)?;
        let found = Found { version: snapshot.version, function: Arc::downgrade(function) };
        Some((Arc::clone(function), found))
    }
}

impl CurrentBindings for Current {
    fn bindings(&self) -> Arc<Bindings> {
        Arc::clone(&self.snapshot.load().bindings)
    }
}

/// Where a handle found its function, so that its next call need not look the name up. It does not keep the function alive.
#[derive(Debug, Default)]
pub(crate) struct Found {
    version: u64,
    function: Weak<Function>,
}
