//! A pool's metrics at one moment.

use crate::error::ErrorCode;
use crate::id::FunctionHash;
use crate::information::{Histogram, SandboxUsage, WorkerHealth};
use crate::system::buffers::BufferUsage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The metrics of a pool at one moment, see [`metrics`](crate::WorkerProcedureCall::metrics).
///
/// Counters start at the pool's creation and never decrease; stops and starts do not reset them. They are read one after
/// another while calls run, so sums of two counters may differ by the calls that end meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PoolMetrics {
    /// Counter: calls to all functions by outcome, including calls to functions that are not defined any more or never were.
    pub calls: CallCounts,
    /// Counter: the fuel that metered calls used, whatever their outcome.
    pub fuel_used: u64,
    /// The latencies of all functions.
    pub latencies: Latencies,
    /// Gauge: calls that were dispatched to workers and are not answered. Calls on local workers are not included.
    pub pending_calls: usize,
    /// Gauge: how many of these are suspended.
    #[serde(default)]
    pub suspended_calls: usize,
    /// The maximum of `pending_calls`: that of one worker multiplied by the number of workers; 0 while the pool is stopped.
    pub pending_call_limit: usize,
    /// Gauge: accepted calls that no worker can take at the moment.
    pub waiting_calls: usize,
    /// The maximum of `waiting_calls`.
    pub waiting_call_limit: usize,
    /// The health of each worker, as listed by
    /// [`get_worker_health_states`](crate::WorkerProcedureCall::get_worker_health_states).
    pub workers: Vec<WorkerHealth>,
    /// Counter: replacements of workers that panicked or became unresponsive.
    pub worker_restarts: u64,
    /// Gauge: threads of unresponsive workers that were abandoned and have not ended.
    pub abandoned_threads: usize,
    /// Gauge: helper threads whose blocking host function, reader, writer or pipe has not returned although its call has
    /// ended.
    #[serde(default)]
    pub abandoned_helper_threads: usize,
    /// The sandboxes of all functions.
    pub sandboxes: SandboxUsage,
    /// The maximum of [`SandboxUsage::live_instances`].
    pub live_instance_limit: u64,
    /// The unused payload buffers.
    pub buffers: BufferUsage,
    /// The compiled modules.
    #[serde(default)]
    pub compilation: CompilationCounts,
    /// The defined functions, sorted by name.
    pub functions: Vec<FunctionMetrics>,
}

impl PoolMetrics {
    /// The share of the workers' slots that is taken, from 0 to 1; 1 if there are no slots.
    ///
    /// ```
    /// use wpc_host::PoolMetrics;
    ///
    /// let mut metrics = PoolMetrics::default();
    /// (metrics.pending_calls, metrics.pending_call_limit) = (512, 2048);
    /// assert_eq!(metrics.saturation(), 0.25);
    /// ```
    #[must_use]
    pub fn saturation(&self) -> f64 {
        super::health::saturation(self.pending_calls, self.pending_call_limit)
    }
}

/// The metrics of a function at one moment. They are dropped when the function is undefined, and kept when it is redefined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionMetrics {
    /// The function.
    pub name: String,
    /// The SHA-1 of its module.
    pub function_hash_sha1: FunctionHash,
    /// Counter: its calls by outcome.
    pub calls: CallCounts,
    /// Counter: the fuel that its metered calls used, whatever their outcome.
    pub fuel_used: u64,
    /// Its latencies.
    pub latencies: Latencies,
    /// Counter: sandboxes that were dropped after a failure and count against the circuit breaker.
    pub sandbox_failures: u64,
    /// Gauge: the number of workers, by the state of the function's circuit breaker on each.
    pub breakers: BreakerCounts,
    /// Gauge: its sandboxes on all workers. Functions of one module share them, so each reports all.
    pub live_sandboxes: u64,
    /// Gauge: the bytes of linear memory in these sandboxes.
    pub memory_bytes: u64,
}

impl FunctionMetrics {
    /// A function without calls. The other fields can be set.
    #[must_use]
    pub fn new(name: impl Into<String>, function_hash_sha1: FunctionHash) -> Self {
        Self {
            name: name.into(),
            function_hash_sha1,
            calls: CallCounts::default(),
            fuel_used: 0,
            latencies: Latencies::default(),
            sandbox_failures: 0,
            breakers: BreakerCounts::default(),
            live_sandboxes: 0,
            memory_bytes: 0,
        }
    }
}

/// Calls by outcome. A call counts once, when its outcome is known; warm-ups do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallCounts {
    /// Calls that returned a value, even if their caller could not decode it.
    pub succeeded: u64,
    /// Calls that ended with an error, by its code. Calls that never ran count too: refused calls immediately; calls that timed
    /// out or were cancelled in a queue, when their slot is freed. Codes without calls are absent.
    pub failed: BTreeMap<ErrorCode, u64>,
}

impl CallCounts {
    /// All calls.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.failed.values().fold(self.succeeded, |total, count| total.saturating_add(*count))
    }
}

/// Latencies, in seconds. They are empty unless they are collected, see
/// [`collect_latencies`](crate::WorkerProcedureCall::collect_latencies).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Latencies {
    /// The time from a call's beginning until its outcome was known, including the instantiation of its sandbox. Calls that
    /// never ran are not included.
    pub run_time: Histogram,
    /// The time from a call's acceptance until it began. Calls on local workers and calls that never ran are not included.
    pub queue_wait: Histogram,
}

/// The modules that were compiled, or whose code was loaded from the compile cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompilationCounts {
    /// Counter: modules that were compiled or loaded, including those that the compiler rejected.
    pub modules: u64,
    /// Counter: the time that definitions waited for compilation or loading.
    pub time: Duration,
    /// Counter: modules whose code was loaded from the compile cache.
    pub cache_hits: u64,
    /// Counter: modules that were compiled because the compile cache had no usable entry.
    pub cache_misses: u64,
}

/// The number of workers, by the state of a function's circuit breaker on each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BreakerCounts {
    /// The function may run.
    pub closed: usize,
    /// The function failed and may run again after a delay.
    pub backing_off: usize,
    /// The circuit breaker is open.
    pub open: usize,
    /// The cool-down is over and a trial call is admitted.
    pub half_open: usize,
}
