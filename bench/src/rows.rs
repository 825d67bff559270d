//! What is measured: a row of the table each. A goal is a ratio to the row's floor, or an absolute figure
//! where nothing bare does the same.

use crate::floors::{Bare, PingPong, engine};
use crate::sampling::{Samples, Timed, WARM_UP, alone, batched, by_turns};
use anyhow::{Context as _, Result, ensure};
use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};
use wpc_host::WorkerProcedureCall;
use wpc_host::{CallOptions, Function, Limits, Options, PendingCall, WasmModule};

/// What the figures of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    CallsPerSecond,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most so many times the floor.
    Ratio(f64),
    /// At most so much, in the row's unit; at least, where more is better.
    Absolute(f64),
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) ours: Samples,
    pub(crate) floor: Option<Samples>,
    pub(crate) goal: Goal,
}

impl Row {
    /// Ours by the floor.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.floor.as_ref().map(|floor| self.ours.median() / floor.median())
    }

    pub(crate) fn is_met(&self) -> bool {
        match self.goal {
            Goal::Ratio(most) => self.ratio().is_some_and(|ratio| ratio <= most),
            Goal::Absolute(least) if self.unit == Unit::CallsPerSecond => {
                self.ours.median() >= least
            }
            Goal::Absolute(most) => self.ours.median() <= most,
        }
    }
}

/// A row's measurement: it is given what to call after each step.
pub(crate) type Measure = fn(&Guests, &mut dyn FnMut()) -> Result<Row>;

/// Every row, with how many steps it reports.
pub(crate) const ROWS: [(Measure, u64); 13] = [
    (local_add, PAIRS + WARM_UP),
    (local_echo_1k, PAIRS + WARM_UP),
    (local_isolated, PAIRS + WARM_UP),
    (round_trip, PAIRS + WARM_UP),
    (echo_1k, PAIRS + WARM_UP),
    (echo_1m, PAIRS + WARM_UP),
    (throughput, THROUGHPUTS),
    (isolated, PAIRS + WARM_UP),
    (after_a_trap, TRAPS),
    (time_limit, LIMITS),
    (after_a_limit, LIMITS),
    (start, STARTS),
    (many_functions, PAIRS + WARM_UP),
];

const PAIRS: u64 = 100;
const THROUGHPUTS: u64 = 11;
const TRAPS: u64 = 40;
const LIMITS: u64 = 5;
const STARTS: u64 = 40;

/// The modules that are measured.
pub(crate) struct Guests {
    /// The SDK's, with `add` and `echo_bytes`.
    sdk: Vec<u8>,
    /// Without the SDK: the floors.
    bare: Vec<u8>,
}

const BARE: &str = r#"(module
    (memory (export "memory") 64)
    (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 65536)
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
    (func (export "hand_back") (param i32 i32) (result i64)
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32))
            (i64.extend_i32_u (local.get 1))))
    (func (export "traps") unreachable)
    (func (export "spins") (loop br 0)))"#;

impl Guests {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = root.join("fixtures/wasm/sdk.wasm");
        let sdk = std::fs::read(&path)
            .with_context(|| format!("{}; `cargo xtask guests` builds it", path.display()))?;
        Ok(Self { sdk, bare: wat::parse_str(BARE)? })
    }

    fn pool(&self, workers: usize) -> Result<WorkerProcedureCall> {
        let wpc = WorkerProcedureCall::new(Options {
            restart_base_delay: Duration::from_nanos(1),
            restart_jitter: Duration::ZERO,
            ..Options::default()
        })?;
        for function in ["add", "echo_bytes"] {
            wpc.define_worker_function(function, self.sdk.as_slice())?;
        }
        for function in ["traps", "spins"] {
            wpc.define_worker_function(function, self.bare.as_slice())?;
        }
        if workers > 0 {
            wpc.start_workers(workers)?;
        }
        Ok(wpc)
    }
}

/// The row of something that is to take at most so many times as long as its floor.
fn against(
    name: &'static str,
    most: f64,
    ours: Timed<'_>,
    floor: Timed<'_>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let (ours, floor) = by_turns(PAIRS, ours, floor, tick)?;
    let (unit, goal) = (Unit::Nanoseconds, Goal::Ratio(most));
    Ok(Row { name, unit, ours, floor: Some(floor), goal })
}

/// The row of something that is to take at most so many nanoseconds.
fn within(
    name: &'static str,
    most: f64,
    rounds: u64,
    ours: Timed<'_>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let (unit, goal) = (Unit::Nanoseconds, Goal::Absolute(most));
    Ok(Row { name, unit, ours: alone(rounds, ours, tick)?, floor: None, goal })
}

type Add = Function<(i32, i32), i32>;

fn add(wpc: &WorkerProcedureCall) -> Result<Add> {
    Ok(wpc.function("add")?)
}

fn check(sum: i32) -> Result<()> {
    ensure!(sum == 42, "40 and 2 are {sum}");
    Ok(())
}

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
    let bytes = vec![7; LEN];
    let mut echo = bare(engine().and_then(|engine| Bare::new(&engine, &guests.bare)?.echo(LEN)))?;
    let mut ours = batched(1_000, || {
        let back: Vec<u8> = here.call("echo_bytes", (Bytes(&bytes),))?;
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

/// Bytes whose encoding is a copy.
struct Bytes<'a>(&'a [u8]);

impl serde::Serialize for Bytes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
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
    let mut ours = batched(batch, || {
        let back: Vec<u8> = wpc.call("echo_bytes", (Bytes(&bytes),))?;
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

fn throughput(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    const OUTSTANDING: usize = 64;
    const CALLS: u32 = 200_000;
    let wpc = guests.pool(1)?;
    let add = add(&wpc)?;
    let mut rates = Vec::new();
    for _ in 0..THROUGHPUTS {
        let mut calls: VecDeque<PendingCall<i32>> = VecDeque::with_capacity(OUTSTANDING);
        let begun = Instant::now();
        for _ in 0..CALLS {
            if calls.len() == OUTSTANDING
                && let Some(call) = calls.pop_front()
            {
                check(call.wait()?)?;
            }
            calls.push_back(add.submit((40, 2))?);
        }
        for call in calls {
            check(call.wait()?)?;
        }
        rates.push(f64::from(CALLS) / begun.elapsed().as_secs_f64());
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
    let wpc = guests.pool(0)?;
    let mut ours = || {
        let begun = Instant::now();
        wpc.start_workers(4)?;
        wpc.warm_worker_function("add")?;
        let took = begun.elapsed();
        wpc.stop_workers();
        Ok(took)
    };
    within("4 workers up and answering, the module compiled", 2e6, STARTS, &mut ours, tick)
}

/// The floor is the same pool with ten functions.
fn many_functions(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Row> {
    let pool = |functions: usize| -> Result<(WorkerProcedureCall, Vec<Add>)> {
        let wpc = guests.pool(1)?;
        let limits = Limits::default();
        for at in 0..functions {
            let module = WasmModule::new(guests.bare.as_slice()).export("add");
            wpc.define_worker_function(&format!("add{at}"), module.limits(limits.clone()))?;
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
