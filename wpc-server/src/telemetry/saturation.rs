//! For how long a pool has been saturated.

use std::time::{Duration, Instant};

/// From this share of taken slots on, a pool is saturated: further calls are about to be refused.
pub(crate) const HIGH: f64 = 0.95;

/// Below this share, it is not saturated any more. The difference between the two shares prevents a pool at the limit from
/// changing its readiness at each probe.
pub(crate) const LOW: f64 = 0.8;

/// Whether the pool is saturated, as the probes found it. No timer runs: only probes observe it.
#[derive(Debug, Default)]
pub(crate) enum Saturation {
    #[default]
    Free,
    /// The time of the first probe that found it, if none since then has found less than [`LOW`].
    Saturated { since: Instant },
}

impl Saturation {
    /// Records the share that a probe found. Returns for how long the pool has been saturated.
    pub(crate) fn observe(&mut self, share: f64, now: Instant) -> Duration {
        *self = match *self {
            Self::Free if share >= HIGH => Self::Saturated { since: now },
            Self::Saturated { .. } if share < LOW => Self::Free,
            Self::Saturated { since } => Self::Saturated { since },
            Self::Free => Self::Free,
        };
        match *self {
            Self::Free => Duration::ZERO,
            Self::Saturated { since } => now.saturating_duration_since(since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturation_lasts_from_the_high_to_the_low_mark() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut saturation = Saturation::default();
        assert_eq!(saturation.observe(0.94, at(0)), Duration::ZERO);
        assert_eq!(saturation.observe(1.0, at(1)), Duration::ZERO);
        assert_eq!(saturation.observe(0.85, at(6)), Duration::from_secs(5));
        assert_eq!(saturation.observe(0.79, at(7)), Duration::ZERO);
        assert_eq!(saturation.observe(0.9, at(8)), Duration::ZERO);
        assert_eq!(saturation.observe(0.95, at(9)), Duration::ZERO);
        assert_eq!(saturation.observe(0.95, at(11)), Duration::from_secs(2));
    }
}
