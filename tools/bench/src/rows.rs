//! What is measured: a row of the table each. A goal is a ratio to the floor of the row, or an absolute figure
//! where nothing bare does the same.

use crate::child::Task;
use crate::floors::{Bare, PingPong, engine};
use crate::guests::{Add, Guests, add, check};
use crate::load::{Echo, Results};
use crate::row::{Goal, PAIRS, Row, against, within};
use crate::sampling::{Samples, WARM_UP, batched};
use crate::unit::Unit;
use crate::{load, process};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use wpc_host::{CallOptions, WasmModule, WorkerProcedureCall};

/// A row's measurement: it is given what to call after each step.
pub(crate) type Measure = fn(&Guests, &mut dyn FnMut()) -> Result<Row>;

/// Every row, with how many steps it reports.
pub(crate) const ROWS: [(Measure, u64); 22] = [
    (local_add, PAIRS + WARM_UP),
    (local_echo_1k, PAIRS + WARM_UP),
    (local_echo_1m, PAIRS + WARM_UP),
    (local_echo_copied, PAIRS + WARM_UP),
    (new_sandbox, PAIRS + WARM_UP),
    (local_isolated, PAIRS + WARM_UP),
    (round_trip, PAIRS + WARM_UP),
    (echo_1k, PAIRS + WARM_UP),
    (echo_1m, PAIRS + WARM_UP),
    (burst_1m, PAIRS + WARM_UP),
    (burst_1m_into, PAIRS + WARM_UP),
    (throughput, THROUGHPUTS),
    (many_at_once, PAIRS + WARM_UP),
    (isolated, PAIRS + WARM_UP),
    (after_a_trap, TRAPS),
    (time_limit, LIMITS),
    (after_a_limit, LIMITS),
    (start, STARTS),
    (many_functions, PAIRS + WARM_UP),
    (resident, CHILDREN),
    (resident_by_sandbox, CHILDREN),
    (resident_by_function, CHILDREN),
];

const THROUGHPUTS: u64 = 11;
const TRAPS: u64 = 40;
const LIMITS: u64 = 5;
const STARTS: u64 = 40;
/// Each is a process that lives for a tenth of a second or longer.
const CHILDREN: u64 = 9;

fn local_add(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let (add, mut here) = (add(&wpc)?, wpc.local_worker());
    let mut bare_add = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)?.add()))?;
    let mut ours = batched(10_000, || check(here.call_function(&add, (40, 2))?));
    let mut floor = batched(10_000, || check(bare(bare_add(40, 2))?));
    against("typed `add` on the caller's thread", 5.0, &mut ours, &mut floor, tick)
}

fn local_echo_1k(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const LEN: usize = 1 << 10;
    let wpc = guests.pool(1)?;
    let mut here = wpc.local_worker();
    let function = wpc.function::<(Vec<u8>,), Vec<u8>>("echo_bytes")?;
    let bytes = vec![7; LEN];
    let mut echo = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)?.echo(LEN)))?;
    let mut ours = batched(1_000, || {
        let back = here.call_function(&function, (bytes.as_slice(),))?;
        ensure!(back == bytes, "other bytes came back");
        Ok(())
    });
    let mut floor = batched(1_000, || {
        ensure!(bare(echo(&bytes))? == bytes, "other bytes came back");
        Ok(())
    });
    against(
        "1 KiB of bytes there and back on the caller's thread",
        2.0,
        &mut ours,
        &mut floor,
        tick,
    )
}

fn local_echo_1m(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const LEN: usize = 1 << 20;
    let wpc = guests.pool(1)?;
    let mut here = wpc.local_worker();
    let function = wpc.function::<(Vec<u8>,), Vec<u8>>("echo_bytes")?;
    let bytes = vec![7; LEN];
    let mut echo = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)?.echo(LEN)))?;
    let mut ours = batched(2, || {
        let back = here.call_function(&function, (bytes.as_slice(),))?;
        ensure!(back == bytes, "other bytes came back");
        Ok(())
    });
    let mut floor = batched(2, || {
        ensure!(bare(echo(&bytes))? == bytes, "other bytes came back");
        Ok(())
    });
    against(
        "1 MiB of bytes there and back on the caller's thread",
        1.5,
        &mut ours,
        &mut floor,
        tick,
    )
}

/// The floor is one copy, as any call that hands bytes to somebody has to make. The goal is that of the row before,
/// where the bare guest's own floor is 2.75 copies.
fn local_echo_copied(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const LEN: usize = 1 << 20;
    let wpc = guests.pool(1)?;
    let mut here = wpc.local_worker();
    let function = wpc.function::<(Vec<u8>,), Vec<u8>>("echo_bytes")?;
    let bytes = vec![7; LEN];
    let mut copy = vec![0; LEN];
    let mut ours = batched(2, || {
        ensure!(here.call_function(&function, (bytes.as_slice(),))?.len() == LEN, "it is shorter");
        Ok(())
    });
    let mut floor = batched(2, || {
        copy.copy_from_slice(std::hint::black_box(&bytes));
        std::hint::black_box(&mut copy);
        Ok(())
    });
    let row = "1 MiB there and back, caller's thread (floor: a `memcpy`)";
    against(row, 4.1, &mut ours, &mut floor, tick)
}

/// Nothing public makes a sandbox alone, so ours has what a call costs besides, which is a tenth of it. The
/// floor has no call.
fn new_sandbox(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let module = WasmModule::new(guests.bare.as_slice()).export("nothing").isolate_calls();
    wpc.define_worker_function("fresh", module)?;
    let (fresh, mut here) = (wpc.function::<(), ()>("fresh")?, wpc.local_worker());
    let module = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)))?;
    let mut ours = batched(100, || {
        here.call_function(&fresh, ())?;
        Ok(())
    });
    let mut floor = batched(100, || bare(module.fresh()));
    against(
        "a new sandbox and a call of nothing in it (floor: no call)",
        1.5,
        &mut ours,
        &mut floor,
        tick,
    )
}

fn local_isolated(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let module = WasmModule::new(guests.bare.as_slice()).export("add").isolate_calls();
    wpc.define_worker_function("fresh", module)?;
    let (fresh, mut here) = (wpc.function::<(i32, i32), i32>("fresh")?, wpc.local_worker());
    let module = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)))?;
    let mut ours = batched(100, || check(here.call_function(&fresh, (40, 2))?));
    let mut floor = batched(100, || check(bare(module.fresh_add(40, 2))?));
    against("a new sandbox for each call, on the caller's thread", 1.3, &mut ours, &mut floor, tick)
}

fn round_trip(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let (add, ball) = (add(&wpc)?, PingPong::start()?);
    let mut ours = batched(500, || check(add.call((40, 2))?));
    let mut floor = batched(500, || check(ball.round(42)?));
    against("round trip across threads, one outstanding", 1.2, &mut ours, &mut floor, tick)
}

/// Wasmtime's errors are of a kind of their own.
fn bare<T>(result: wasmtime::Result<T>) -> Result<T> {
    result.map_err(|error| anyhow::anyhow!("{error:?}"))
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
        ensure!(back == bytes, "other bytes came back");
        Ok(())
    });
    let mut floor = batched(batch, || {
        ball.round(42)?;
        ensure!(bare(echo(&bytes))? == bytes, "other bytes came back");
        Ok(())
    });
    against(name, goal, &mut ours, &mut floor, tick)
}

fn echo_1k(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    echo(guests, ("1 KiB of bytes there and back, across threads", 1 << 10, 200, 2.0), tick)
}

fn echo_1m(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    echo(guests, ("1 MiB of bytes there and back, across threads", 1 << 20, 2, 1.5), tick)
}

/// Bursts of 1 MiB there and back on two workers, twice as long as many are outstanding. The baseline has one outstanding.
/// At least 0.7 of its rate is to be left.
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

fn burst_1m(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let name = "1 MiB there and back, 64 outstanding (baseline: one)";
    bursts_1m(guests, name, Results::New, tick)
}

fn burst_1m_into(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    bursts_1m(guests, "the same with `wait_into` (baseline: one)", Results::Into, tick)
}

fn throughput(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
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
        floor: None,
        goal: Goal::Absolute(2e6),
    })
}

/// Of many calls at once only the first is to pay for waking the worker. The floor pays each time.
fn many_at_once(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const AT_ONCE: u32 = 64;
    let wpc = guests.pool(1)?;
    let add = add(&wpc)?;
    let submitted = |count: u32| -> Result<Duration> {
        // Long enough that the worker has stopped looking and sleeps.
        std::thread::sleep(Duration::from_micros(500));
        let begun = Instant::now();
        let calls = (0..count).map(|_| add.submit((40, 2))).collect::<Result<Vec<_>, _>>()?;
        let took = begun.elapsed() / count;
        calls.into_iter().try_for_each(|call| check(call.wait()?))?;
        Ok(took)
    };
    against(
        "a submit among 64 to a sleeping worker (floor: one alone)",
        0.5,
        &mut || submitted(AT_ONCE),
        &mut || submitted(1),
        tick,
    )
}

fn isolated(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let module = WasmModule::new(guests.bare.as_slice()).export("add").isolate_calls();
    wpc.define_worker_function("fresh", module)?;
    let module = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)))?;
    let ball = PingPong::start()?;
    let fresh = wpc.function::<(i32, i32), i32>("fresh")?;
    let mut ours = batched(100, || check(fresh.call((40, 2))?));
    let mut floor = batched(100, || {
        ball.round(42)?;
        check(bare(module.fresh_add(40, 2))?)
    });
    against("a new sandbox for each call, across threads", 1.3, &mut ours, &mut floor, tick)
}

fn after_a_trap(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    wpc.define_worker_module(WasmModule::new(guests.bare.as_slice()))?;
    let mut ours = || {
        // An answer in between, so that the restart is immediate.
        let sum: i32 = wpc.call("add", (40, 2))?;
        check(sum)?;
        ensure!(wpc.call::<()>("traps", ()).is_err(), "it traps");
        let begun = Instant::now();
        let sum: i32 = wpc.call("add", (40, 2))?;
        check(sum)?;
        Ok(begun.elapsed())
    };
    within("first good answer after a trap, one worker, fresh state", 50e3, TRAPS, &mut ours, tick)
}

const LIMIT: Duration = Duration::from_millis(500);

fn end_a_loop(wpc: &WorkerProcedureCall) -> Result<Duration> {
    let begun = Instant::now();
    let ended = wpc.call_with::<()>("spins", (), &CallOptions::new().time_limit(LIMIT));
    let took = begun.elapsed();
    ensure!(ended.is_err(), "it has no end of its own");
    wpc.revive_worker_function("spins")?;
    Ok(took)
}

fn time_limit(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    within(
        "500 ms limit on an endless loop: until its caller knows",
        501e6,
        LIMITS,
        &mut || end_a_loop(&wpc),
        tick,
    )
}

fn after_a_limit(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let wpc = guests.pool(1)?;
    let add = add(&wpc)?;
    let mut ours = || {
        check(add.call((40, 2))?)?;
        end_a_loop(&wpc)?;
        let begun = Instant::now();
        check(add.call((40, 2))?)?;
        Ok(begun.elapsed())
    };
    within("500 ms limit on an endless loop: the next good call", 1e6, LIMITS, &mut ours, tick)
}

fn start(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const WORKERS: usize = 4;
    let wpc = guests.pool(0)?;
    let add = add(&wpc)?;
    let mut ours = || {
        let begun = Instant::now();
        wpc.start_workers(WORKERS)?;
        wpc.warm_worker_function("add")?;
        // Keys reach every worker; each is asked for a few until all have answered.
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
    within("4 workers up, each has answered, the module compiled", 2e6, STARTS, &mut ours, tick)
}

/// The floor is the same pool with ten functions.
fn many_functions(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
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
    let (mut ours, mut floor) = (round(of_many), round(of_few));
    against(
        "10 calls with 10,000 functions defined (floor: with 10)",
        1.1,
        &mut ours,
        &mut floor,
        tick,
    )
}

/// The row of what is measured in a process of its own each time.
fn of_children(
    (name, unit, most): (&'static str, Unit, f64),
    ours: &Task,
    floor: Option<&Task>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let (mut of_ours, mut of_floor) = (Vec::new(), Vec::new());
    for _ in 0..CHILDREN {
        of_ours.push(process::ask(ours)?);
        if let Some(floor) = floor {
            of_floor.push(process::ask(floor)?);
        }
        tick();
    }
    Ok(Row {
        name,
        unit,
        ours: Samples::of(of_ours),
        floor: floor.map(|_| Samples::of(of_floor)),
        goal: Goal::Absolute(most),
    })
}

fn resident(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let what = ("resident, 4 workers, one function used", Unit::Megabytes, 25.0);
    of_children(what, &Task::Workers { workers: 4 }, Some(&Task::Nothing), tick)
}

fn resident_by_sandbox(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let what = ("resident for each live sandbox of the SDK's guest", Unit::Kilobytes, 16.0);
    of_children(what, &Task::Sandbox, None, tick)
}

/// A function costs a worker nothing until it is called there, so with one worker this is the most there is
/// by function and worker.
fn resident_by_function(_: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let what = ("resident for each idle function of 10,000", Unit::Bytes, 2048.0);
    of_children(what, &Task::IdleFunction, None, tick)
}
