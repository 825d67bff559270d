//! Calls that wait: suspended calls, and short calls behind a long computation.

use super::{LIMITS, SLICES};
use crate::guests::{Guests, add, check};
use crate::row::{Goal, Row, above, against, within};
use crate::sampling::{Samples, batched};
use crate::unit::Unit;
use crate::waiting::{MOST, Waiting};
use anyhow::{Result, ensure};
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};
use wpc_host::{Limits, Options, WasmModule, WorkerProcedureCall};

/// A module whose function calls the host function of this name this many times.
fn calls_host(name: &str, count: u32) -> Result<WasmModule> {
    Ok(calls("wpc-host", name, "", count)?.grant_host_function(name))
}

/// A module whose only function calls this import with these arguments this many times.
fn calls(module: &str, name: &str, arguments: &str, count: u32) -> Result<WasmModule> {
    let len = arguments.len() / "\\00".len();
    let text = format!(
        r#"(module
            (import "{module}" "{name}" (func $import (param i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            (data (i32.const 0) "{arguments}")
            (func (export "calls") (local $left i32)
                (local.set $left (i32.const {count}))
                (loop
                    (drop (call $import (i32.const 0) (i32.const {len}) (i32.const 64) (i32.const 64)))
                    ;; The kind of a reply with a value is zero.
                    (if (i32.load8_u (i32.const 64)) (then unreachable))
                    (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#
    );
    Ok(WasmModule::new(wat::parse_str(text)?))
}

/// How many times a guest calls its import in one call.
const HOST_CALLS: u32 = 1_000;

/// A pool with the functions `direct`, `ready` and `wakes`, which call host functions of these names: one that runs on the
/// worker's thread, one whose future is ready at once, and one whose future is suspended once.
fn pool() -> Result<WorkerProcedureCall> {
    let wpc = WorkerProcedureCall::new(Options::default())?;
    wpc.define_host_function("direct", |_, (): ()| Ok::<_, String>(()))?;
    wpc.define_async_host_function("ready", |_, (): ()| async { Ok::<_, String>(()) })?;
    wpc.define_async_host_function("wakes", |_, (): ()| {
        let mut is_woken = false;
        poll_fn(move |task| {
            if std::mem::replace(&mut is_woken, true) {
                return Poll::Ready(Ok::<_, String>(()));
            }
            task.waker().wake_by_ref();
            Poll::Pending
        })
    })?;
    for name in ["direct", "ready", "wakes"] {
        wpc.define_worker_function(name, calls_host(name, HOST_CALLS)?)?;
    }
    wpc.start_workers(1)?;
    Ok(wpc)
}

/// The time of one call to an import: of a function's call divided by the number of those.
fn host_call(wpc: &WorkerProcedureCall, name: &'static str) -> impl FnMut() -> Result<Duration> {
    let mut call = batched(1, move || Ok(wpc.call::<()>(name, ())?));
    move || Ok(call()? / HOST_CALLS)
}

pub(super) fn ready(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = pool()?;
    let (mut ours, mut baseline) = (host_call(&wpc, "ready"), host_call(&wpc, "direct"));
    let name = "an async host call that is ready (baseline: a synchronous one)";
    above(name, 400.0, &mut ours, &mut baseline, tick)
}

pub(super) fn wakes(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = pool()?;
    let (mut ours, mut baseline) = (host_call(&wpc, "wakes"), host_call(&wpc, "ready"));
    let name = "an async host call that suspends once (baseline: ready)";
    above(name, 1_500.0, &mut ours, &mut baseline, tick)
}

pub(super) fn nested(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let calls_add = calls("wpc-functions", "add", r"\50\04", HOST_CALLS)?.grant_function("add");
    wpc.define_worker_function("calls", calls_add)?;
    let add = add(&wpc)?;
    let mut ours = host_call(&wpc, "calls");
    let mut baseline = batched(500, || check(add.call((40, 2))?));
    let name = "a call between functions (baseline: from outside)";
    against(name, 2.0, &mut ours, &mut baseline, tick)
}

pub(super) fn many_waiting(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const WAIT: Duration = Duration::from_millis(100);
    let wpc = WorkerProcedureCall::new(Options::default())?;
    wpc.define_async_host_function("waits", |_, (): ()| async {
        tokio::time::sleep(WAIT).await;
        Ok::<_, String>(())
    })?;
    wpc.define_worker_function("waits", calls_host("waits", 1)?)?;
    wpc.start_workers(2)?;
    let mut ours = || {
        let begun = Instant::now();
        let calls: Vec<_> = (0..200).map(|_| wpc.submit::<()>("waits", ())).collect();
        for call in calls {
            call?.wait()?;
        }
        Ok(begun.elapsed())
    };
    within("200 calls that each await 100 ms, two workers", 115e6, LIMITS, &mut ours, tick)
}

/// Each sample is the longest of 100 short calls, so its median is near their p99.
pub(super) fn behind_a_computation(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let sliced = Limits::default().time_slice(Duration::from_millis(2));
    let spins = WasmModule::new(guests.bare.as_slice()).limits(sliced);
    wpc.define_worker_function("spins", spins)?;
    let add = add(&wpc)?;
    let spinning = wpc.submit::<()>("spins", ())?;
    let mut longest = Vec::new();
    for _ in 0..SLICES {
        let mut of_sample = Duration::ZERO;
        for _ in 0..100 {
            let begun = Instant::now();
            check(add.call((40, 2))?)?;
            of_sample = of_sample.max(begun.elapsed());
        }
        longest.push(of_sample.as_nanos() as f64);
        tick();
    }
    ensure!(!spinning.is_answered(), "the computation should go on");
    spinning.cancel();
    Ok(Row {
        name: "the longest of 100 short calls behind slices of 2 ms",
        unit: Unit::Nanoseconds,
        ours: Samples::of(longest),
        baseline: None,
        goal: Goal::Absolute(5e6),
    })
}

/// A call to another function in a pool with as many suspended calls as leave instances for it. The baseline is a pool without those.
pub(super) fn beside_suspended(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let (waiting, without) = (Waiting::suspend(MOST - 100)?, guests.pool(2)?);
    waiting.wpc.define_worker_function("add", guests.sdk.as_slice())?;
    let (beside, alone) = (add(&waiting.wpc)?, add(&without)?);
    let mut ours = batched(500, || check(beside.call((40, 2))?));
    let mut baseline = batched(500, || check(alone.call((40, 2))?));
    let name = "a call beside 9,900 suspended ones (baseline: none)";
    let row = against(name, 1.1, &mut ours, &mut baseline, tick)?;
    waiting.answer()?;
    Ok(row)
}
