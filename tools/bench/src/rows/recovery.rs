//! Recovery after a trap or a time limit.

use super::{LIMITS, TRAPS};
use crate::guests::{Guests, add, check};
use crate::row::{Row, within};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use wpc_host::{CallOptions, WasmModule, WorkerProcedureCall};

pub(super) fn after_a_trap(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    wpc.define_worker_module(WasmModule::new(guests.bare.as_slice()))?;
    let mut ours = || {
        // A successful call in between makes the restart immediate.
        let sum: i32 = wpc.call("add", (40, 2))?;
        check(sum)?;
        ensure!(wpc.call::<()>("traps", ()).is_err(), "the call should trap");
        let begun = Instant::now();
        let sum: i32 = wpc.call("add", (40, 2))?;
        check(sum)?;
        Ok(begun.elapsed())
    };
    within("first answer after a trap, one worker, fresh state", 50e3, TRAPS, &mut ours, tick)
}

const LIMIT: Duration = Duration::from_millis(500);

fn end_a_loop(wpc: &WorkerProcedureCall) -> Result<Duration> {
    let begun = Instant::now();
    let ended = wpc.call_with::<()>("spins", (), &CallOptions::new().timeout(LIMIT));
    let took = begun.elapsed();
    ensure!(ended.is_err(), "the call should time out");
    wpc.revive_worker_function("spins")?;
    Ok(took)
}

pub(super) fn time_limit(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    within(
        "500 ms limit on an endless loop: until its caller is answered",
        501e6,
        LIMITS,
        &mut || end_a_loop(&wpc),
        tick,
    )
}

pub(super) fn after_a_limit(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let add = add(&wpc)?;
    let mut ours = || {
        check(add.call((40, 2))?)?;
        end_a_loop(&wpc)?;
        let begun = Instant::now();
        check(add.call((40, 2))?)?;
        Ok(begun.elapsed())
    };
    within("500 ms limit on an endless loop: the next answer", 1e6, LIMITS, &mut ours, tick)
}
