//! Percentiles of recent latencies, from histograms that only grow.

use std::time::Duration;
use wpc_host::Histogram;

/// The time after which a value has 1/e of the weight of a new one. A shorter time makes the percentiles of rarely called
/// functions unsteady; a longer time hides changes.
const DECAY: Duration = Duration::from_secs(10);

/// Below this weight there are too few recent calls for meaningful percentiles.
const MIN_WEIGHT: f64 = 0.5;

/// Recent values of a growing histogram: its increases, where older ones have less weight.
#[derive(Debug, Default)]
pub(super) struct RecentLatency {
    counts: Vec<u64>,
    weights: Vec<f64>,
}

impl RecentLatency {
    /// Adds the increase of the histogram since the last call, `elapsed` ago. With `None`, only records its current values.
    pub(super) fn add(&mut self, histogram: &Histogram, elapsed: Option<Duration>) {
        if histogram.counts.is_empty() {
            return;
        }
        if let Some(elapsed) = elapsed {
            let keep = (-elapsed.as_secs_f64() / DECAY.as_secs_f64()).exp();
            self.counts.resize(histogram.counts.len(), 0);
            self.weights.resize(histogram.counts.len(), 0.0);
            let buckets = histogram.counts.iter().zip(&self.counts);
            for (weight, (now, before)) in self.weights.iter_mut().zip(buckets) {
                *weight = *weight * keep + now.saturating_sub(*before) as f64;
            }
        } else {
            self.weights.clear();
        }
        self.counts.clone_from(&histogram.counts);
    }

    /// The value in seconds below which the share `rank` of recent values is, interpolated within its bucket; `None` if there
    /// are too few. Of a value above the last bound, only that bound is known.
    pub(super) fn percentile(&self, bounds: &[f64], rank: f64) -> Option<f64> {
        let total: f64 = self.weights.iter().sum();
        if total < MIN_WEIGHT {
            return None;
        }
        let mut left = total * rank;
        let mut lower = 0.0;
        for (at, weight) in self.weights.iter().enumerate() {
            let upper = *bounds.get(at)?;
            if left <= *weight && *weight > 0.0 {
                return Some(lower + (upper - lower) * (left / weight));
            }
            left -= weight;
            lower = upper;
            if at + 1 == bounds.len() {
                return Some(upper);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [f64; 3] = [0.001, 0.002, 0.004];

    fn histogram(counts: [u64; 4]) -> Histogram {
        let mut histogram = Histogram::default();
        (histogram.bounds, histogram.counts) = (BOUNDS.to_vec(), counts.to_vec());
        histogram
    }

    #[test]
    fn percentiles_are_those_of_the_increase() {
        let mut recent = RecentLatency::default();
        recent.add(&histogram([1_000, 0, 0, 0]), None);
        assert_eq!(recent.percentile(&BOUNDS, 0.5), None, "nothing is recent yet");
        recent.add(&histogram([1_000, 100, 0, 0]), Some(Duration::from_secs(1)));
        assert_eq!(recent.percentile(&BOUNDS, 0.5), Some(0.001_5));
        assert_eq!(recent.percentile(&BOUNDS, 1.0), Some(0.002));
    }

    #[test]
    fn older_values_count_less_and_vanish() {
        let mut recent = RecentLatency::default();
        recent.add(&histogram([0; 4]), None);
        recent.add(&histogram([100, 0, 0, 0]), Some(Duration::from_secs(1)));
        recent.add(&histogram([100, 0, 100, 0]), Some(Duration::from_secs(10)));
        assert!(recent.percentile(&BOUNDS, 0.5).unwrap() > 0.002, "the newer values prevail");
        recent.add(&histogram([100, 0, 100, 0]), Some(Duration::from_secs(100)));
        assert_eq!(recent.percentile(&BOUNDS, 0.5), None);
    }

    #[test]
    fn a_value_above_all_bounds_has_the_last_bound() {
        let mut recent = RecentLatency::default();
        recent.add(&histogram([0; 4]), None);
        recent.add(&histogram([0, 0, 0, 7]), Some(Duration::from_secs(1)));
        assert_eq!(recent.percentile(&BOUNDS, 0.99), Some(0.004));
    }
}
