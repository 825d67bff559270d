//! Counters that one thread writes.

use super::Sums;
use crate::error::ErrorCode;
use crate::information::{BOUNDS, CallCounts, Histogram};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counters of a function that one thread writes. They have a cache line of their own, because each sandbox has some.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Counters {
    succeeded: AtomicU64,
    fuel: AtomicU64,
    failed: ByCode,
    latencies: OnceLock<Box<LatencyCounters>>,
}

/// Adds to a counter that only this thread writes.
#[inline]
fn add(counter: &AtomicU64, number: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
}

impl Counters {
    /// Counts a call of the thread that these counters belong to.
    #[inline]
    pub(crate) fn count(&self, failed: Option<ErrorCode>) {
        match failed {
            None => add(&self.succeeded, 1),
            Some(code) => self.failed.add(code),
        }
    }

    /// Adds the fuel that a call used.
    #[inline]
    pub(crate) fn add_fuel(&self, used: u64) {
        add(&self.fuel, used);
    }

    /// Records the latencies of a call.
    #[cold]
    pub(crate) fn record(&self, ran: Duration, queued: Option<Duration>) {
        let latencies = self.latencies.get_or_init(Box::default);
        latencies.run_time.record(ran);
        if let Some(queued) = queued {
            latencies.queue_wait.record(queued);
        }
    }

    pub(super) fn add_to(&self, sums: &mut Sums) {
        sums.calls.succeeded += self.succeeded.load(Ordering::Relaxed);
        sums.fuel_used = sums.fuel_used.saturating_add(self.fuel.load(Ordering::Relaxed));
        self.failed.add_to(&mut sums.calls);
        if let Some(latencies) = self.latencies.get() {
            latencies.run_time.add_to(&mut sums.latencies.run_time);
            latencies.queue_wait.add_to(&mut sums.latencies.queue_wait);
        }
    }
}

/// Counts by error code. Most functions never fail, so the counters are allocated at the first failure.
#[derive(Debug, Default)]
pub(super) struct ByCode(OnceLock<Box<[AtomicU64]>>);

impl ByCode {
    /// Counts one. Any thread may call it.
    #[cold]
    pub(super) fn add(&self, code: ErrorCode) {
        let counts =
            self.0.get_or_init(|| ErrorCode::ALL.iter().map(|_| AtomicU64::new(0)).collect());
        counts[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_to(&self, calls: &mut CallCounts) {
        let Some(counts) = self.0.get() else { return };
        for (code, count) in ErrorCode::ALL.iter().zip(counts.iter()) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                *calls.failed.entry(*code).or_default() += count;
            }
        }
    }
}

#[derive(Debug, Default)]
struct LatencyCounters {
    run_time: DurationCounters,
    queue_wait: DurationCounters,
}

/// A histogram's counters: one for each bound of [`BOUNDS`], and one for longer durations.
#[derive(Debug, Default)]
struct DurationCounters {
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl DurationCounters {
    fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|micros| micros * 1_000 < nanos);
        add(&self.counts[bucket], 1);
        add(&self.nanos, nanos);
    }

    fn add_to(&self, histogram: &mut Histogram) {
        if histogram.counts.is_empty() {
            histogram.bounds = BOUNDS.map(|micros| micros as f64 / 1e6).to_vec();
            histogram.counts = vec![0; self.counts.len()];
        }
        for (sum, count) in histogram.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        let nanos = Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
        histogram.sum = histogram.sum.saturating_add(nanos);
    }
}
