//! The metrics of a backend: of its pool, and of its functions.

use super::encoder::{Families, Labels, histogram};
use super::functions::{Counts, Functions, OTHER};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Error;
use std::sync::{Arc, Mutex, PoisonError};
use wpc_host::{
    Backend, BreakerCounts, CallCounts, FunctionMetrics, FunctionState, HealthState, PoolMetrics,
};

/// Reads the metrics of a backend at each scrape.
#[derive(Debug)]
pub(super) struct PoolCollector {
    backend: Arc<dyn Backend>,
    functions: Mutex<Functions>,
}

impl PoolCollector {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, functions: Mutex::default() }
    }

    pub(super) fn set_max_functions(&self, max: usize) {
        *self.functions.lock().unwrap_or_else(PoisonError::into_inner) = Functions::new(max);
    }
}

impl Collector for PoolCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let metrics = self.backend.metrics();
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        functions.update(&metrics);
        let mut families = Families(encoder);
        write_calls(&mut families, &metrics, &functions)?;
        write_functions(&mut families, &metrics, &functions)?;
        drop(functions);
        write_pool(&mut families, &metrics)
    }
}

/// The functions with metrics of their own, by name.
fn own<'a>(metrics: &'a PoolMetrics, functions: &Functions) -> Vec<&'a FunctionMetrics> {
    metrics.functions.iter().filter(|function| functions.has(&function.name)).collect()
}

fn write_calls(
    families: &mut Families<'_>,
    metrics: &PoolMetrics,
    functions: &Functions,
) -> Result<(), Error> {
    let own = own(metrics, functions);
    let Counts { calls, fuel_used, latencies } = functions.other();
    let named = own.iter().map(|function| (&*function.name, &function.calls));
    families.counters(
        "wpc_calls",
        "Calls by function and outcome: ok, or the code of an error.",
        named.chain([(OTHER, calls)]).flat_map(|(name, calls)| outcomes(name, calls)),
    )?;
    let named = own.iter().map(|function| (&*function.name, &function.latencies));
    let latencies: Vec<_> = named.chain([(OTHER, latencies)]).collect();
    let run_times = latencies.iter().map(|(name, latencies)| {
        let (sum, buckets) = histogram(&latencies.run_time);
        ([("function", *name)], sum, buckets)
    });
    families.histograms(
        "wpc_call_duration",
        "The time from the start of a call until its outcome.",
        run_times.filter(|(_, _, buckets)| !buckets.is_empty()),
    )?;
    let queue_waits = latencies.iter().map(|(name, latencies)| {
        let (sum, buckets) = histogram(&latencies.queue_wait);
        ([("function", *name)], sum, buckets)
    });
    families.histograms(
        "wpc_queue_wait",
        "The time from the acceptance of a call until its start.",
        queue_waits.filter(|(_, _, buckets)| !buckets.is_empty()),
    )?;
    let named = own.iter().map(|function| ([("function", &*function.name)], function.fuel_used));
    families.counters(
        "wpc_fuel",
        "The fuel that metered calls used.",
        named.chain([([("function", OTHER)], *fuel_used)]),
    )
}

fn outcomes<'a>(
    name: &'a str,
    calls: &'a CallCounts,
) -> impl Iterator<Item = (Labels<'a, 2>, u64)> {
    let failed = calls.failed.iter().map(|(code, count)| (code.as_str(), *count));
    let all = std::iter::once(("ok", calls.succeeded)).chain(failed);
    all.map(move |(outcome, count)| ([("function", name), ("outcome", outcome)], count))
}

fn write_functions(
    families: &mut Families<'_>,
    metrics: &PoolMetrics,
    functions: &Functions,
) -> Result<(), Error> {
    let own = own(metrics, functions);
    let hashes: Vec<_> = own
        .iter()
        .map(|function| (&*function.name, function.function_hash_sha1.to_string()))
        .collect();
    families.info(
        "wpc_function",
        "The SHA-1 of a function's module.",
        hashes.iter().map(|(name, hash)| [("function", *name), ("hash", &**hash)]),
    )?;
    let failures =
        own.iter().map(|function| ([("function", &*function.name)], function.sandbox_failures));
    families.counters(
        "wpc_sandbox_failures",
        "Sandboxes that were dropped after a failure and count against the circuit breaker.",
        failures,
    )?;
    families.gauges(
        "wpc_circuit_breakers",
        "Workers, by the state of a function's circuit breaker on each.",
        None,
        own.iter().flat_map(|function| breakers(&function.name, &function.breakers)),
    )?;
    families.gauges(
        "wpc_sandboxes",
        "A function's sandboxes. Functions of one module share them, and each function reports all of them.",
        None,
        own.iter().map(|function| ([("function", &*function.name)], function.live_sandboxes)),
    )?;
    families.gauges(
        "wpc_sandbox_memory",
        "The linear memory in a function's sandboxes. Functions of one module share them, and each function reports all of them.",
        Some(&Unit::Bytes),
        own.iter().map(|function| ([("function", &*function.name)], function.memory_bytes)),
    )?;
    let mut states: BTreeMap<&str, u64> = FUNCTION_STATES.iter().map(|state| (*state, 0)).collect();
    for function in &metrics.functions {
        *states.entry(state(function, metrics.workers.len())).or_default() += 1;
    }
    families.gauges(
        "wpc_functions",
        "The defined functions by state.",
        None,
        states.into_iter().map(|(state, count)| ([("state", state)], count)),
    )
}

/// A function that lacks a dependency or host function.
const UNAVAILABLE: &str = "unavailable";

const FUNCTION_STATES: [&str; 4] = [
    FunctionState::Ready.as_str(),
    FunctionState::BackingOff.as_str(),
    FunctionState::CircuitOpen.as_str(),
    UNAVAILABLE,
];

fn state(function: &FunctionMetrics, workers: usize) -> &'static str {
    if function.breakers == BreakerCounts::default() && workers > 0 {
        return UNAVAILABLE;
    }
    FunctionState::of(&function.breakers).as_str()
}

fn breakers<'a>(name: &'a str, counts: &BreakerCounts) -> [(Labels<'a, 2>, u64); 4] {
    let state = |state, count: usize| ([("function", name), ("state", state)], count as u64);
    [
        state("closed", counts.closed),
        state("backing_off", counts.backing_off),
        state("open", counts.open),
        state("half_open", counts.half_open),
    ]
}

fn write_pool(families: &mut Families<'_>, metrics: &PoolMetrics) -> Result<(), Error> {
    let mut workers: HashMap<&str, u64> = HashMap::new();
    for worker in &metrics.workers {
        *workers.entry(health(worker.health_state)).or_default() += 1;
    }
    families.gauges(
        "wpc_workers",
        "The workers by state.",
        None,
        HEALTH_STATES
            .iter()
            .map(|state| ([("state", *state)], workers.get(state).copied().unwrap_or_default())),
    )?;
    let gauges: &[(&str, &str, usize)] = &[
        (
            "wpc_pending_calls",
            "Calls that were dispatched to workers and are not answered.",
            metrics.pending_calls,
        ),
        (
            "wpc_pending_calls_limit",
            "The maximum of wpc_pending_calls; 0 while the pool is stopped.",
            metrics.pending_call_limit,
        ),
        ("wpc_suspended_calls", "Pending calls that are suspended.", metrics.suspended_calls),
        (
            "wpc_waiting_calls",
            "Accepted calls that no worker can take at the moment.",
            metrics.waiting_calls,
        ),
        (
            "wpc_waiting_calls_limit",
            "The maximum of wpc_waiting_calls.",
            metrics.waiting_call_limit,
        ),
        (
            "wpc_abandoned_threads",
            "Threads of unresponsive workers that have not ended.",
            metrics.abandoned_threads,
        ),
        (
            "wpc_abandoned_helper_threads",
            "Helper threads that have not returned although their call has ended.",
            metrics.abandoned_helper_threads,
        ),
    ];
    for (name, help, value) in gauges {
        families.gauge(name, help, *value as u64)?;
    }
    let sandboxes = &metrics.sandboxes;
    families.gauge(
        "wpc_instances",
        "The module instances of all sandboxes.",
        sandboxes.live_instances,
    )?;
    families.gauge(
        "wpc_instances_limit",
        "The maximum of wpc_instances.",
        metrics.live_instance_limit,
    )?;
    families.gauge(
        "wpc_memories",
        "The linear memories of all sandboxes.",
        sandboxes.live_memories,
    )?;
    families.bytes(
        "wpc_idle_memory",
        "The memory that is kept for new sandboxes.",
        sandboxes.idle_bytes,
    )?;
    families.counter(
        "wpc_worker_restarts",
        "Replacements of workers that panicked or became unresponsive.",
        metrics.worker_restarts,
    )?;
    let compilation = &metrics.compilation;
    families.counter(
        "wpc_compiled_modules",
        "Modules that were compiled or loaded from the compile cache.",
        compilation.modules,
    )?;
    families.seconds(
        "wpc_compile",
        "The time that definitions waited for their modules to be compiled or loaded.",
        compilation.time.as_secs_f64(),
    )?;
    families.counter(
        "wpc_compile_cache_hits",
        "Modules whose code was loaded from the compile cache.",
        compilation.cache_hits,
    )?;
    families.counter(
        "wpc_compile_cache_misses",
        "Modules that were compiled because the compile cache had no usable entry.",
        compilation.cache_misses,
    )
}

const HEALTH_STATES: [&str; 5] = ["starting", "ready", "degraded", "restarting", "stopped"];

fn health(state: HealthState) -> &'static str {
    match state {
        HealthState::Starting => "starting",
        HealthState::Ready => "ready",
        HealthState::Degraded => "degraded",
        HealthState::Restarting => "restarting",
        HealthState::Stopped => "stopped",
    }
}
