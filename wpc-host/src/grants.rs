//! All that one definition was granted.

use crate::capability::Capability;
use crate::wasi::Wasi;
use std::collections::BTreeSet;

/// What one definition was granted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    random: bool,
    clock: bool,
    host_functions: BTreeSet<String>,
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

    pub(crate) fn has(&self, capability: Capability) -> bool {
        match capability {
            Capability::Random => self.random,
            Capability::Clock => self.clock,
        }
    }

    pub(crate) fn has_host_function(&self, name: &str) -> bool {
        self.host_functions.contains(name)
    }
}
