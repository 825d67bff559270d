//! Samples: the metrics of all functions and workers at one moment, and rates since the previous sample.

use super::latency::RecentLatency;
use super::nodes::{ClusterSample, Heartbeats};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime};
use wpc_host::{
    BreakerCounts, CallCounts, ClusterInformation, ErrorCode, FunctionHash, FunctionMetrics,
    Histogram, PoolMetrics, WorkerHealth,
};

/// If two samples are further apart, their difference is not a current rate.
pub(super) const MAX_GAP: Duration = Duration::from_secs(15);

/// All functions and workers at one moment.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Counts up from 1.
    pub(crate) number: u64,
    pub(crate) taken: Instant,
    pub(crate) time: SystemTime,
    pub(crate) totals: Totals,
    pub(crate) workers: Vec<WorkerHealth>,
    /// Sorted by name.
    pub(crate) functions: Vec<FunctionSample>,
    /// `None` if the process is not part of a cluster.
    pub(crate) cluster: Option<ClusterSample>,
}

/// Numbers, rates and latencies of calls. Rates are `None` in the first sample; percentiles are also `None` if there are no
/// recent calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Activity {
    /// Calls per second.
    pub(crate) rate: Option<f64>,
    /// Failed calls per second.
    pub(crate) error_rate: Option<f64>,
    /// Fuel per second.
    pub(crate) fuel_rate: Option<f64>,
    /// The median of the run time in seconds, over about the last ten seconds.
    pub(crate) p50: Option<f64>,
    /// The 99th percentile of the run time in seconds, over about the last ten seconds.
    pub(crate) p99: Option<f64>,
    /// All calls since the pool was created.
    pub(crate) calls: u64,
    /// All failed calls since the pool was created.
    pub(crate) errors: u64,
}

/// The pool as a whole.
#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    #[serde(flatten)]
    pub(crate) activity: Activity,
    saturation: f64,
    pending: usize,
    pending_limit: usize,
    waiting: usize,
    suspended: usize,
    worker_restarts: u64,
    abandoned_threads: usize,
    live_instances: u64,
    live_instance_limit: u64,
}

/// A function.
#[derive(Debug)]
pub(crate) struct FunctionSample {
    pub(crate) name: String,
    pub(crate) hash: FunctionHash,
    pub(crate) activity: Activity,
    pub(crate) failed: BTreeMap<ErrorCode, u64>,
    pub(crate) breakers: BreakerCounts,
    pub(crate) sandboxes: u64,
    pub(crate) memory: u64,
    pub(crate) fuel: u64,
}

impl FunctionSample {
    /// Whether it fails at the moment, or cannot run on every worker.
    pub(crate) fn has_problem(&self) -> bool {
        let BreakerCounts { open, half_open, backing_off, .. } = self.breakers;
        open + half_open + backing_off > 0
            || self.activity.error_rate.is_some_and(|rate| rate > 0.0)
    }
}

/// Takes samples, and keeps the values with which the next one is compared.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    number: u64,
    last: Option<Instant>,
    total: Tracked,
    functions: HashMap<String, Tracked>,
    reports: Heartbeats,
}

/// The counters at the last sample.
#[derive(Debug, Default)]
struct Tracked {
    /// The number of that sample.
    seen: u64,
    calls: u64,
    errors: u64,
    fuel: u64,
    latency: RecentLatency,
}

impl Sampler {
    /// Creates a sample from metrics.
    pub(super) fn sample(
        &mut self,
        metrics: PoolMetrics,
        cluster: Option<ClusterInformation>,
        now: Instant,
    ) -> Sample {
        self.number += 1;
        let number = self.number;
        let elapsed = self.last.map(|last| now.saturating_duration_since(last));
        let elapsed = elapsed.filter(|elapsed| !elapsed.is_zero() && *elapsed <= MAX_GAP);
        self.last = Some(now);
        let saturation = metrics.saturation();
        let run_time = &metrics.latencies.run_time;
        let totals = Totals {
            activity: self.total.update(&metrics.calls, metrics.fuel_used, run_time, elapsed),
            saturation,
            pending: metrics.pending_calls,
            pending_limit: metrics.pending_call_limit,
            waiting: metrics.waiting_calls,
            suspended: metrics.suspended_calls,
            worker_restarts: metrics.worker_restarts,
            abandoned_threads: metrics.abandoned_threads,
            live_instances: metrics.sandboxes.live_instances,
            live_instance_limit: metrics.live_instance_limit,
        };
        let functions = metrics.functions.into_iter();
        let functions = functions.map(|metrics| self.function(metrics, elapsed)).collect();
        // Drops functions that are not defined any more.
        self.functions.retain(|_, tracked| tracked.seen == number);
        let workers = metrics.workers;
        let cluster = cluster.map(|cluster| self.reports.sample(cluster, now));
        Sample { number, taken: now, time: SystemTime::now(), totals, workers, functions, cluster }
    }

    fn function(&mut self, metrics: FunctionMetrics, elapsed: Option<Duration>) -> FunctionSample {
        if !self.functions.contains_key(&metrics.name) {
            self.functions.insert(metrics.name.clone(), Tracked::default());
        }
        let mut activity = Activity::default();
        if let Some(tracked) = self.functions.get_mut(&metrics.name) {
            // Its counters start at its definition: a function that is new since the last sample has grown from zero.
            tracked.seen = self.number;
            let run_time = &metrics.latencies.run_time;
            activity = tracked.update(&metrics.calls, metrics.fuel_used, run_time, elapsed);
        }
        FunctionSample {
            name: metrics.name,
            hash: metrics.function_hash_sha1,
            activity,
            failed: metrics.calls.failed,
            breakers: metrics.breakers,
            sandboxes: metrics.live_sandboxes,
            memory: metrics.memory_bytes,
            fuel: metrics.fuel_used,
        }
    }
}

impl Tracked {
    fn update(
        &mut self,
        counts: &CallCounts,
        fuel: u64,
        run_time: &Histogram,
        elapsed: Option<Duration>,
    ) -> Activity {
        let calls = counts.total();
        let errors = calls.saturating_sub(counts.succeeded);
        let rate = |now: u64, before: u64| {
            elapsed.map(|elapsed| now.saturating_sub(before) as f64 / elapsed.as_secs_f64())
        };
        self.latency.add(run_time, elapsed);
        let activity = Activity {
            rate: rate(calls, self.calls),
            error_rate: rate(errors, self.errors),
            fuel_rate: rate(fuel, self.fuel),
            p50: self.latency.percentile(&run_time.bounds, 0.5),
            p99: self.latency.percentile(&run_time.bounds, 0.99),
            calls,
            errors,
        };
        (self.calls, self.errors, self.fuel) = (calls, errors, fuel);
        activity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(succeeded: u64, trapped: u64) -> PoolMetrics {
        let mut metrics = PoolMetrics::default();
        let mut function = FunctionMetrics::new("add", FunctionHash::of(b"a module"));
        function.calls.succeeded = succeeded;
        function.calls.failed.insert(ErrorCode::Trap, trapped);
        metrics.calls = function.calls.clone();
        metrics.functions.push(function);
        metrics
    }

    #[test]
    fn a_rate_is_the_difference_of_two_samples_by_their_distance() {
        let mut sampler = Sampler::default();
        let start = Instant::now();
        let first = sampler.sample(metrics(1_000, 10), None, start);
        assert_eq!((first.totals.activity.rate, first.totals.activity.calls), (None, 1_010));
        let second = sampler.sample(metrics(1_100, 20), None, start + Duration::from_secs(2));
        assert_eq!(second.totals.activity.rate, Some(55.0));
        assert_eq!(second.functions[0].activity.error_rate, Some(5.0));
        assert!(second.functions[0].has_problem());
    }

    #[test]
    fn samples_that_are_far_apart_have_no_rates() {
        let mut sampler = Sampler::default();
        let start = Instant::now();
        sampler.sample(metrics(0, 0), None, start);
        let next = sampler.sample(metrics(1_000, 0), None, start + MAX_GAP * 2);
        assert_eq!(next.totals.activity.rate, None);
    }

    #[test]
    fn functions_that_are_not_defined_any_more_are_forgotten() {
        let mut sampler = Sampler::default();
        let start = Instant::now();
        sampler.sample(metrics(5, 0), None, start);
        sampler.sample(PoolMetrics::default(), None, start + Duration::from_secs(1));
        assert!(sampler.functions.is_empty());
    }
}
