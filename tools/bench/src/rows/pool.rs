//! Calls across threads, and the start of a pool.

use super::{STARTS, THROUGHPUTS, bare};
use crate::baselines::{Bare, PingPong, engine};
use crate::guests::{Add, Guests, add, check};
use crate::load;
use crate::load::{Echo, Results};
use crate::row::{Goal, Row, against, within};
use crate::sampling::{Samples, batched};
use crate::unit::Unit;
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use wpc_host::{CallOptions, WasmModule, WorkerProcedureCall};

pub(super) fn round_trip(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let (add, ball) = (add(&wpc)?, PingPong::start()?);
    let mut ours = batched(500, || check(add.call((40, 2))?));
    let mut baseline = batched(500, || check(ball.round(42)?));
    against("round trip across threads, one outstanding", 1.2, &mut ours, &mut baseline, tick)
}

fn echo(
    guests: &Guests,
    (name, len, batch, goal): (&'static str, usize, u32, f64),
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let bytes = vec![7; len];
    let mut echo = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)?.echo(len)))?;
    let ball = PingPong::start()?;
    let function = wpc.function::<(Vec<u8>,), Vec<u8>>("echo_bytes")?;
    let mut ours = batched(batch, || {
        let back = function.call((bytes.as_slice(),))?;
        ensure!(back == bytes, "the returned bytes differ");
        Ok(())
    });
    let mut baseline = batched(batch, || {
        ball.round(42)?;
        ensure!(bare(echo(&bytes))? == bytes, "the returned bytes differ");
        Ok(())
    });
    against(name, goal, &mut ours, &mut baseline, tick)
}

pub(super) fn echo_1k(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    echo(guests, ("round trip of 1 KiB, across threads", 1 << 10, 200, 2.0), tick)
}

pub(super) fn echo_1m(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    echo(guests, ("round trip of 1 MiB, across threads", 1 << 20, 2, 1.5), tick)
}

/// Bursts of 1 MiB round trips on two workers, each with twice as many calls as are outstanding. The baseline has one
/// call outstanding. The goal is at least 0.7 of its rate.
fn bursts_1m(
    guests: &Guests,
    name: &'static str,
    results: Results,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let wpc = guests.pool(2)?;
    let echo: Echo = wpc.function("echo_bytes")?;
    let bytes: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    let mut ours = || load::burst(&echo, &bytes, (64, 128), results);
    let mut one = || load::burst(&echo, &bytes, (1, 32), results);
    against(name, 1.0 / 0.7, &mut ours, &mut one, tick)
}

pub(super) fn burst_1m(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let name = "round trip of 1 MiB, 64 outstanding (baseline: one)";
    bursts_1m(guests, name, Results::New, tick)
}

pub(super) fn burst_1m_into(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    bursts_1m(guests, "the same with `wait_into` (baseline: one)", Results::Into, tick)
}

pub(super) fn throughput(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let add = add(&wpc)?;
    let mut rates = Vec::new();
    for _ in 0..THROUGHPUTS {
        rates.push(load::rate(&add, 64, 200_000)?);
        tick();
    }
    Ok(Row {
        name: "throughput, 64 outstanding, one worker",
        unit: Unit::CallsPerSecond,
        ours: Samples::of(rates),
        baseline: None,
        goal: Goal::Absolute(2e6),
    })
}

/// Of many concurrent calls, only the first should have to wake the worker. The baseline wakes it each time.
pub(super) fn many_at_once(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const AT_ONCE: u32 = 64;
    let wpc = guests.pool(1)?;
    let add = add(&wpc)?;
    let submitted = |count: u32| -> Result<Duration> {
        // Long enough that the worker has parked.
        std::thread::sleep(Duration::from_micros(500));
        let begun = Instant::now();
        let calls = (0..count).map(|_| add.submit((40, 2))).collect::<Result<Vec<_>, _>>()?;
        let took = begun.elapsed() / count;
        calls.into_iter().try_for_each(|call| check(call.wait()?))?;
        Ok(took)
    };
    against(
        "a submit among 64 to a parked worker (baseline: one alone)",
        0.5,
        &mut || submitted(AT_ONCE),
        &mut || submitted(1),
        tick,
    )
}

pub(super) fn isolated(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let module = WasmModule::new(guests.bare.as_slice()).export("add").isolate_calls();
    wpc.define_worker_function("fresh", module)?;
    let module = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)))?;
    let ball = PingPong::start()?;
    let fresh = wpc.function::<(i32, i32), i32>("fresh")?;
    let mut ours = batched(100, || check(fresh.call((40, 2))?));
    let mut baseline = batched(100, || {
        ball.round(42)?;
        check(bare(module.fresh_add(40, 2))?)
    });
    against("a new sandbox for each call, across threads", 1.3, &mut ours, &mut baseline, tick)
}

pub(super) fn start(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const WORKERS: usize = 4;
    let wpc = guests.pool(0)?;
    let add = add(&wpc)?;
    let mut ours = || {
        let begun = Instant::now();
        wpc.start_workers(WORKERS)?;
        wpc.warm_worker_function("add")?;
        // Affinity keys are tried in small groups until every worker has answered.
        let mut answered = BTreeSet::new();
        let mut keys = 0_u32..;
        while answered.len() < WORKERS {
            let calls = keys.by_ref().take(WORKERS);
            let calls = calls
                .map(|key| add.submit_with((40, 2), &CallOptions::new().affinity(key)))
                .collect::<Result<Vec<_>, _>>()?;
            for call in calls {
                let answer = call.wait_answer()?;
                check(answer.value)?;
                answered.insert(answer.metadata.worker_id);
            }
        }
        let took = begun.elapsed();
        wpc.stop_workers();
        Ok(took)
    };
    within(
        "start of 4 workers until each has answered, module compiled",
        2e6,
        STARTS,
        &mut ours,
        tick,
    )
}

/// The baseline is the same pool with ten functions.
pub(super) fn many_functions(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let pool = |functions: usize| -> Result<(WorkerProcedureCall, Vec<Add>)> {
        let wpc = guests.pool(1)?;
        for at in 0..functions {
            let module = WasmModule::new(guests.bare.as_slice()).export("add");
            wpc.define_worker_function(&format!("add{at}"), module)?;
        }
        let used = (0..10).map(|at| Ok(wpc.function(&format!("add{at}"))?));
        let used = used.collect::<Result<_>>()?;
        Ok((wpc, used))
    };
    let ((_many, of_many), (_few, of_few)) = (pool(10_000)?, pool(10)?);
    let round = |functions: Vec<Add>| {
        batched(50, move || functions.iter().try_for_each(|add| check(add.call((40, 2))?)))
    };
    let (mut ours, mut baseline) = (round(of_many), round(of_few));
    against(
        "10 calls with 10,000 functions defined (baseline: with 10)",
        1.1,
        &mut ours,
        &mut baseline,
        tick,
    )
}
