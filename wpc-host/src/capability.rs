//! What a definition may be granted beyond computing. Nothing is granted by default.

use crate::wasi::Wasi;
use std::collections::BTreeSet;

/// Something a guest can do only when its definition was granted it.
///
/// A grant is not handed on: a function with a dependency that reads clocks needs none itself, the
/// dependency's definition does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// Random bytes fit for keys, of a generator the operating system seeds (`wpc_random`, and
    /// `random_get` of WASI).
    Random,
    /// The wall clock and a monotonic one (`wpc_clock`), and waiting for them (`clock_time_get`,
    /// `clock_res_get` and `poll_oneoff` of WASI).
    Clock,
}

impl Capability {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Random => "Random",
            Self::Clock => "Clock",
        }
    }
}

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
