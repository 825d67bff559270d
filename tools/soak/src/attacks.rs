//! Repeated attacks on single promises. Each round ends with checks. Each attack returns the resource usage after all
//! definitions, which is compared with the usage at the end.

use crate::Usage;
use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wpc_host::{CallOptions, Error, Limits, Options, WasmModule, WorkerProcedureCall};

/// A call that is not answered within this time counts as lost.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A gate that blocks threads until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn set(&self, is_open: bool) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = is_open;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let is_open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_while(is_open, |is_open| !*is_open));
    }
}

/// Stops a pool whose workers are all blocked in a host function. Every call must be answered although each worker is
/// abandoned.
pub(crate) fn stops(duration: Duration) -> Result<Usage> {
    const WORKERS: usize = 32;
    let wpc = WorkerProcedureCall::new(
        Options::default()
            .stop_timeout(Duration::from_millis(1))
            .unresponsive_worker_grace(Duration::from_millis(1))
            .max_live_instances(256),
    )?;
    let gate = Gate::default();
    let its_own = gate.clone();
    wpc.define_host_function("blocks", move |_, (): ()| {
        its_own.wait();
        Ok::<_, String>(())
    })?;
    let module = wat::parse_str(
        r#"(module
            (import "wpc-host" "blocks" (func $blocks (param i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            (func (export "f")
                (drop (call $blocks (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))"#,
    )?;
    wpc.define_worker_function("f", WasmModule::new(module).grant_host_function("blocks"))?;
    let before = Usage::now()?;
    let (end, mut rounds, mut calls) = (Instant::now() + duration, 0_u64, 0_u64);
    while Instant::now() < end {
        gate.set(false);
        wpc.start_workers(WORKERS)?;
        let submitted = (0..WORKERS).map(|_| wpc.submit::<()>("f", ()));
        let submitted = submitted.collect::<Result<Vec<_>, _>>()?;
        wpc.stop_workers();
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        for call in &submitted {
            while !call.is_answered() {
                ensure!(
                    Instant::now() < deadline,
                    "a call was not answered by a stop (round {rounds})"
                );
                std::thread::yield_now();
            }
        }
        (rounds, calls) = (rounds + 1, calls + submitted.len() as u64);
        // Let the abandoned threads end.
        gate.set(true);
    }
    println!("{calls} calls in {rounds} stops that abandoned their workers: each was answered");
    Ok(before)
}

/// Guests that call the host many times without a loop. All must end at their time limit.
pub(crate) fn floods(duration: Duration) -> Result<Usage> {
    const CALLS: usize = 100_000;
    let wpc = WorkerProcedureCall::new(
        Options::default()
            .unresponsive_worker_grace(Duration::from_millis(500))
            .max_restarts_per_worker(u32::MAX)
            .restart_base_delay(Duration::from_nanos(1))
            .restart_max_delay(Duration::from_nanos(1))
            .restart_jitter(Duration::ZERO),
    )?;
    wpc.define_worker_constant("K", &vec![7_u8; 1 << 20])?;
    wpc.define_host_function("nothing", |_, (): ()| Ok::<_, String>(()))?;
    let arguments = "(i32.const 0) (i32.const 1) (i32.const 16) (i32.const 0x200000)";
    let floods = [
        (
            "constant",
            "wpc",
            "wpc_constant",
            "(param i32 i32 i32 i32) (result i64)",
            arguments,
            "drop",
        ),
        (
            "take",
            "wpc",
            "wpc_take",
            "(param i32 i32) (result i64)",
            "(i32.const 0) (i32.const 64)",
            "drop",
        ),
        ("panic", "wpc", "wpc_panic", "(param i32 i32)", "(i32.const 0) (i32.const 16384)", ""),
        (
            "log",
            "wpc",
            "wpc_log",
            "(param i32 i32 i32)",
            "(i32.const 2) (i32.const 0) (i32.const 512)",
            "",
        ),
        (
            "hosted",
            "wpc-host",
            "nothing",
            "(param i32 i32 i32 i32) (result i64)",
            "(i32.const 0) (i32.const 0) (i32.const 16) (i32.const 64)",
            "drop",
        ),
        ("yields", "wasi_snapshot_preview1", "sched_yield", "(result i32)", "", "drop"),
    ];
    for (name, module, import, ty, arguments, drops) in floods {
        let calls = format!("(call $flood {arguments}) {drops}\n").repeat(CALLS);
        let wasm = wat::parse_str(format!(
            r#"(module (import "{module}" "{import}" (func $flood {ty}))
                (memory (export "memory") 64) (data (i32.const 0) "K")
                (func (export "f") {calls}))"#
        ))?;
        let limits = Limits::default().log(usize::MAX);
        let wasm = WasmModule::new(wasm)
            .grant_host_function("nothing")
            .grant_wasi(wpc_host::Wasi::minimal())
            .limits(limits);
        wpc.define_worker_function(name, wasm)?;
    }
    let add = wat::parse_str(
        r#"(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))"#,
    )?;
    wpc.define_worker_function("add", &add)?;
    let before = Usage::now()?;
    wpc.start_workers(2)?;
    let names = floods.map(|(name, ..)| name);
    let ends = AtomicBool::new(false);
    let (timeouts, latencies) = std::thread::scope(|scope| -> Result<_> {
        let neighbour = scope.spawn(|| neighbour(&wpc, &ends));
        let timeouts = flood(&wpc, &names, duration);
        ends.store(true, Ordering::Relaxed);
        let latencies = neighbour.join();
        Ok((timeouts?, latencies.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?))
    })?;
    wpc.stop_workers();
    let [median, high] = [50, 99].map(|percent| latencies[latencies.len() * percent / 100]);
    println!(
        "{timeouts} floods of host calls ended at their limit, and no worker was replaced; {} calls to another function were answered, in {median:.1?} at the median and {high:.1?} at p99",
        latencies.len()
    );
    Ok(before)
}

/// Calls these functions concurrently and repeatedly, and returns how many calls ended at their time limit.
fn flood(wpc: &WorkerProcedureCall, names: &[&str], duration: Duration) -> Result<u64> {
    let (end, mut timeouts) = (Instant::now() + duration, 0);
    let limit = CallOptions::new().timeout(Duration::from_millis(50));
    while Instant::now() < end {
        let submit = |name: &&str| wpc.submit_with::<()>(name, (), &limit);
        for call in names.iter().map(submit).collect::<Vec<_>>() {
            match call?.wait() {
                Err(Error::Timeout { .. }) => timeouts += 1,
                Ok(()) => {}
                // The circuit breaker does not open either: the limit is the caller's.
                Err(other) => return Err(other.into()),
            }
        }
        for health in wpc.get_worker_health_states() {
            ensure!(health.restart_attempt == 0, "{} was replaced", health.worker_id);
        }
    }
    ensure!(timeouts > 0, "no flood ended at its limit");
    Ok(timeouts)
}

/// Calls another function during an attack, one call at a time, until `ends` is set. Each call must return the right
/// value. Returns the sorted durations.
fn neighbour(wpc: &WorkerProcedureCall, ends: &AtomicBool) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while latencies.is_empty() || !ends.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let call = wpc.submit::<i32>("add", (40, 2))?;
        while !call.is_answered() {
            ensure!(
                begun.elapsed() < ANSWER_TIMEOUT,
                "a call to another function was not answered"
            );
            std::thread::sleep(Duration::from_micros(20));
        }
        latencies.push(begun.elapsed());
        ensure!(call.wait()? == 42, "another function returned a wrong value");
    }
    latencies.sort_unstable();
    Ok(latencies)
}
