//! How long a worker's calls take: its thread samples it, callers go by it. It knows nothing of what they are.

use crate::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest a sample counts: one long call, or one whose core was taken, must not outweigh many. Longer than a wake-up
/// may take: who is slow is not waited for.
const MOST: Duration = Duration::from_micros(200);

/// One call in so many is timed, which costs more than an eighth of a tiny one.
const SAMPLED: u32 = 64;

/// Where they take longer than this, each is timed, to notice soon when they get quicker.
const SLOW: Duration = Duration::from_micros(50);

/// The mean, of which each sample makes an eighth, in nanoseconds.
pub(super) struct ServiceTime(AtomicU64);

impl ServiceTime {
    /// One that is not known yet, and not trusted.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(nanos(MOST)))
    }

    /// How long so many calls are likely to take.
    pub(super) fn of(&self, calls: usize) -> Duration {
        Duration::from_nanos((calls as u64).saturating_mul(self.0.load(Ordering::Relaxed)))
    }

    /// Takes note of a call that took so long; only the worker's thread does.
    pub(super) fn note(&self, took: Duration) {
        let (mean, sample) = (self.0.load(Ordering::Relaxed), nanos(took.min(MOST)));
        self.0.store(mean - mean / 8 + sample / 8, Ordering::Relaxed);
    }

    /// Takes note of a call that runs on and on.
    pub(super) fn note_stuck(&self) {
        self.0.store(nanos(MOST), Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Says which calls are timed.
#[derive(Default)]
pub(super) struct Sampler(u32);

impl Sampler {
    /// Whether the next one is.
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
    fn a_worker_is_slow_before_more_is_known() {
        assert_eq!(service_time_of(&[]).of(2), 2 * MOST);
        assert_eq!(service_time_of(&[]).of(0), Duration::ZERO);
    }

    #[test]
    fn a_pace_follows_its_calls() {
        assert!(service_time_of(&[TINY; 100]).of(10) < 11 * TINY);
        assert!(service_time_of(&[Duration::from_secs(1); 100]).of(1) > MOST * 9 / 10);
    }

    #[test]
    fn one_long_call_is_forgiven_and_a_stuck_one_is_not() {
        let service_time = service_time_of(&[TINY; 100]);
        service_time.note(Duration::from_secs(1));
        assert!(service_time.of(1) < SLOW);
        service_time.note_stuck();
        assert!(service_time.of(1) > SLOW);
        (0..20).for_each(|_| service_time.note(TINY));
        assert!(service_time.of(1) < SLOW);
    }

    #[test]
    fn few_of_a_quick_workers_calls_are_timed_and_all_of_a_slow_ones() {
        let mut sampler = Sampler::default();
        let mut timed =
            |service_time: &ServiceTime| (0..640).filter(|_| sampler.is_due(service_time)).count();
        assert_eq!(timed(&service_time_of(&[TINY; 100])), 10);
        assert_eq!(timed(&service_time_of(&[])), 640);
    }
}
