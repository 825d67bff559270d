//! The grants of a definition.

use crate::capability::Capability;
use crate::definition::wasi::grant::Wasi;
use crate::error::Error;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a definition was granted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    random: bool,
    clock: bool,
    host_functions: BTreeSet<String>,
    /// The functions that the guest may call. Shared with the definition's sandboxes.
    pub(crate) functions: Arc<BTreeSet<String>>,
    pub(crate) wasi: Option<Wasi>,
}

impl Grants {
    pub(crate) fn add(&mut self, capability: Capability) {
        match capability {
            Capability::Random => self.random = true,
            Capability::Clock => self.clock = true,
        }
    }

    pub(crate) fn add_host_function(&mut self, name: String) {
        self.host_functions.insert(name);
    }

    pub(crate) fn add_function(&mut self, name: String) {
        Arc::make_mut(&mut self.functions).insert(name);
    }

    pub(crate) fn has(&self, capability: Capability) -> bool {
        match capability {
            Capability::Random => self.random,
            Capability::Clock => self.clock,
        }
    }

    /// Opens the directories of the WASI grant. Errors name the definition by `what`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] with all problems of the grant.
    pub(crate) fn open_wasi(&self, what: &str) -> Result<Option<Arc<Wasi>>, Error> {
        self.wasi.clone().map(|wasi| wasi.open(what)).transpose()
    }

    pub(crate) fn has_host_function(&self, name: &str) -> bool {
        self.host_functions.contains(name)
    }
}
