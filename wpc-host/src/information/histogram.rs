//! Histograms of durations.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The upper bounds of the buckets in microseconds: those that OpenTelemetry recommends for calls, from 5 ms to 10 s, and
/// smaller ones, because short functions run within microseconds.
pub(crate) const BOUNDS: [u64; 22] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000,
    250_000, 500_000, 750_000, 1_000_000, 2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// A histogram of durations, in seconds.
///
/// `bounds` and `counts` are the explicit bounds and bucket counts of OpenTelemetry; [`cumulative`](Self::cumulative) yields
/// the buckets of Prometheus.
///
/// ```
/// use std::time::Duration;
/// use wpc_host::Histogram;
///
/// let mut histogram = Histogram::default();
/// histogram.bounds = vec![0.001, 0.01];
/// histogram.counts = vec![5, 2, 1];
/// histogram.sum = Duration::from_millis(40);
/// assert_eq!(histogram.count(), 8);
/// let buckets: Vec<_> = histogram.cumulative().collect();
/// assert_eq!(buckets, [(0.001, 5), (0.01, 7), (f64::INFINITY, 8)]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Histogram {
    /// The inclusive upper bounds of the buckets in seconds, in ascending order; empty if nothing is collected. A last bucket
    /// has no bound.
    pub bounds: Vec<f64>,
    /// The number of values in each bucket: one more than `bounds`, or none if nothing is collected.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: Duration,
}

impl Histogram {
    /// The number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |total, count| total.saturating_add(*count))
    }

    /// The buckets with their upper bounds in seconds, each with the number of all values up to there. The last bound is
    /// infinite.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().copied().chain(std::iter::once(f64::INFINITY));
        let mut total = 0_u64;
        bounds.zip(&self.counts).map(move |(bound, count)| {
            total = total.saturating_add(*count);
            (bound, total)
        })
    }
}
