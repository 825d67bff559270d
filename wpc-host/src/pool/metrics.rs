//! The snapshot of a pool's metrics.

use crate::information::{BreakerCounts, CompilationCounts, FunctionMetrics, PoolMetrics};
use crate::pool::WorkerProcedureCall;
use crate::registry::restart_policy::Admission;
use crate::registry::{Definition, Function};
use crate::sync::atomic::Ordering;
use crate::sync::time;
use crate::worker::Worker;
use std::sync::Arc;
use std::time::Instant;

impl WorkerProcedureCall {
    /// Returns the pool's metrics: calls by outcome, fuel, latencies, queues, restarts, circuit breakers and sandboxes, of
    /// the pool and of each defined function.
    ///
    /// Counting is always on, and costs a call about 35 instructions. Latencies are measured on request, see
    /// [`collect_latencies`](Self::collect_latencies). Reading the metrics takes time proportional to the number of
    /// functions and delays no call.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use wpc_host::{ErrorCode, Options, WorkerProcedureCall};
    ///
    /// let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let wasm = wat::parse_str(r#"(module (func (export "nothing")))"#)?;
    /// wpc.define_worker_function("nothing", &wasm)?;
    /// wpc.start_workers(1)?;
    /// let mut here = wpc.local_worker();
    /// here.call::<()>("nothing", ())?;
    /// assert!(here.call::<()>("something", ()).is_err());
    ///
    /// let metrics = wpc.metrics();
    /// assert_eq!(metrics.functions[0].calls.succeeded, 1);
    /// assert_eq!(metrics.calls.failed[&ErrorCode::FunctionNotDefined], 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn metrics(&self) -> PoolMetrics {
        let pool = &self.0.pool;
        let sums = pool.registry.meter().sums();
        let workers = pool.workers.load_full();
        let now = time::now();
        let functions = pool.registry.functions();
        let per_worker = pool.options.max_pending_calls_per_worker;
        PoolMetrics {
            calls: sums.calls,
            fuel_used: sums.fuel_used,
            latencies: sums.latencies,
            pending_calls: workers.iter().map(|worker| worker.in_flight()).sum(),
            suspended_calls: workers.iter().map(|worker| worker.suspended()).sum(),
            pending_call_limit: workers.len().saturating_mul(per_worker),
            waiting_calls: pool.overflow_queue.len(),
            waiting_call_limit: pool.options.max_waiting_calls,
            workers: self.get_worker_health_states(),
            worker_restarts: pool.restarts.load(Ordering::Relaxed),
            abandoned_threads: pool.abandoned(),
            abandoned_helper_threads: pool.host_runtime.abandoned_helpers(),
            sandboxes: self.get_sandbox_usage(),
            live_instance_limit: u64::from(pool.options.max_live_instances),
            buffers: self.get_buffer_usage(),
            compilation: self.compilation(),
            functions: functions
                .iter()
                .map(|function| function_metrics(function, &workers, now))
                .collect(),
        }
    }

    fn compilation(&self) -> CompilationCounts {
        let (modules, time) = self.registry().compile_counts();
        let counts = CompilationCounts { modules, time, ..CompilationCounts::default() };
        #[cfg(feature = "compile-cache")]
        if let Some(usage) = self.get_compile_cache_usage() {
            let (cache_hits, cache_misses) = (usage.hits as u64, usage.misses as u64);
            return CompilationCounts { cache_hits, cache_misses, ..counts };
        }
        counts
    }

    /// Starts or stops measuring the latencies of calls, of all functions, for [`metrics`](Self::metrics). They are not
    /// measured by default, because that reads the clock twice in each call. Latencies that were collected stay.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// # wpc.define_worker_function("nothing", wat::parse_str(r#"(module (func (export "nothing")))"#)?)?;
    /// # wpc.start_workers(1)?;
    /// wpc.collect_latencies(true);
    /// wpc.local_worker().call::<()>("nothing", ())?;
    /// assert_eq!(wpc.metrics().functions[0].latencies.run_time.count(), 1);
    /// # Ok(()) }
    /// ```
    pub fn collect_latencies(&self, collect: bool) {
        self.0.pool.observer.collect_latencies(collect);
    }
}

fn function_metrics(function: &Function, workers: &[Arc<Worker>], now: Instant) -> FunctionMetrics {
    let sums = function.meter.sums();
    let mut metrics = FunctionMetrics {
        name: function.name.to_string(),
        function_hash_sha1: function.module.hash,
        calls: sums.calls,
        fuel_used: sums.fuel_used,
        latencies: sums.latencies,
        sandbox_failures: sums.sandbox_failures,
        breakers: BreakerCounts::default(),
        live_sandboxes: 0,
        memory_bytes: 0,
    };
    // A function that lacks a dependency has neither.
    if let Ok(definition) = &function.definition {
        let gauge = definition.blueprint.gauge();
        (metrics.live_sandboxes, metrics.memory_bytes) = (gauge.live(), gauge.memory());
        metrics.breakers = breakers(definition, workers, now);
    }
    metrics
}

/// The number of workers, by the state of the definition's circuit breaker on each.
pub(super) fn breakers(
    definition: &Definition,
    workers: &[Arc<Worker>],
    now: Instant,
) -> BreakerCounts {
    let mut counts = BreakerCounts::default();
    for worker in workers {
        let count = match definition.circuit_breaker.admission(worker.id, now) {
            Admission::Yes => &mut counts.closed,
            Admission::From(_) => &mut counts.backing_off,
            Admission::Open { .. } => &mut counts.open,
            Admission::Trial => &mut counts.half_open,
        };
        *count += 1;
    }
    counts
}
