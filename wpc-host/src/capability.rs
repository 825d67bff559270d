//! What a definition may be granted beyond computing. Nothing is granted by default.

/// Something a guest can do only when its definition was granted it.
///
/// A grant is not handed on: a function with a dependency that reads clocks needs none itself, the
/// dependency's definition does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// Random bytes fit for keys, of a generator the operating system seeds (`wpc_random`).
    Random,
    /// The wall clock and a monotonic one (`wpc_clock`).
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

/// The capabilities of one definition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    random: bool,
    clock: bool,
}

impl Grants {
    pub(crate) fn add(&mut self, capability: Capability) {
        match capability {
            Capability::Random => self.random = true,
            Capability::Clock => self.clock = true,
        }
    }

    pub(crate) fn has(self, capability: Capability) -> bool {
        match capability {
            Capability::Random => self.random,
            Capability::Clock => self.clock,
        }
    }
}
