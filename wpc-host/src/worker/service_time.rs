//! The service-time estimate of a worker: its thread samples how long calls take, and dispatch uses the mean.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::system::epoch_ticker::nanos;
use std::time::Duration;

/// The upper bound on a sample, so that one long or preempted call does not outweigh many short ones. It exceeds the time of a
/// wake-up, so that no call waits behind a slow worker.
const MOST: Duration = Duration::from_micros(200);

/// One call in this many is timed, because timing costs more than an eighth of a very short call.
const SAMPLED: u32 = 64;

/// While calls take longer than this in nanoseconds, each is timed, to notice soon when they become shorter.
const SLOW: u64 = 50_000;

/// The exponential moving average in nanoseconds; each sample has a weight of one eighth.
pub(super) struct ServiceTime(AtomicU64);

impl ServiceTime {
    /// Starts at the upper bound, so that an unknown worker counts as slow.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(nanos(MOST)))
    }

    /// The predicted time of this many calls, in nanoseconds.
    pub(super) fn of(&self, calls: usize) -> u64 {
        (calls as u64).saturating_mul(self.0.load(Ordering::Relaxed))
    }

    /// Adds a sample. Only the worker's thread calls this.
    pub(super) fn note(&self, took: Duration) {
        let (mean, sample) = (self.0.load(Ordering::Relaxed), nanos(took.min(MOST)));
        self.0.store(mean - mean / 8 + sample / 8, Ordering::Relaxed);
    }

    /// Resets the estimate to the upper bound, because a call does not end.
    pub(super) fn note_stuck(&self) {
        self.0.store(nanos(MOST), Ordering::Relaxed);
    }
}

/// Chooses the calls that are timed.
#[derive(Default)]
pub(super) struct Sampler(u32);

impl Sampler {
    /// Whether the next call is timed.
    pub(super) fn is_due(&mut self, service_time: &ServiceTime) -> bool {
        if self.0 > 0 && service_time.of(1) < SLOW {
            self.0 -= 1;
            return false;
        }
        self.0 = SAMPLED - 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service_time_of(calls: &[Duration]) -> ServiceTime {
        let service_time = ServiceTime::new();
        calls.iter().for_each(|took| service_time.note(*took));
        service_time
    }

    const TINY: Duration = Duration::from_micros(1);

    #[test]
    fn an_unknown_worker_counts_as_slow() {
        assert_eq!(service_time_of(&[]).of(2), 2 * nanos(MOST));
        assert_eq!(service_time_of(&[]).of(0), 0);
    }

    #[test]
    fn an_estimate_follows_its_samples() {
        assert!(service_time_of(&[TINY; 100]).of(10) < 11 * nanos(TINY));
        assert!(service_time_of(&[Duration::from_secs(1); 100]).of(1) > nanos(MOST) * 9 / 10);
    }

    #[test]
    fn one_long_call_does_not_make_a_worker_slow_but_a_stuck_one_does() {
        let service_time = service_time_of(&[TINY; 100]);
        service_time.note(Duration::from_secs(1));
        assert!(service_time.of(1) < SLOW);
        service_time.note_stuck();
        assert!(service_time.of(1) > SLOW);
        (0..20).for_each(|_| service_time.note(TINY));
        assert!(service_time.of(1) < SLOW);
    }

    #[test]
    fn a_fast_worker_times_few_calls_and_a_slow_one_times_all() {
        let mut sampler = Sampler::default();
        let mut timed =
            |service_time: &ServiceTime| (0..640).filter(|_| sampler.is_due(service_time)).count();
        assert_eq!(timed(&service_time_of(&[TINY; 100])), 10);
        assert_eq!(timed(&service_time_of(&[])), 640);
    }
}
