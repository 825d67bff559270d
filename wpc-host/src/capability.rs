//! Capabilities that a definition can be granted. None is granted by default.

/// A permission that a definition must be granted before its guest can use it.
///
/// Grants are not transitive: if a dependency reads clocks, the dependency's definition needs the grant, and the function
/// that uses it does not.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// Cryptographically secure random bytes, from a generator that the operating system seeds (`wpc_random`, and
    /// `random_get` of WASI).
    Random,
    /// The real-time clock, a monotonic clock, and sleeping (`wpc_clock`; `clock_time_get`, `clock_res_get` and
    /// `poll_oneoff` of WASI).
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
