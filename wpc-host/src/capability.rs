//! What a definition may be granted beyond computing. Nothing is granted by default.

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
