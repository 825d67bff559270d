//! Calls while functions are redefined, against calls in quiet.

use super::series::{Expected, Series, What};
use crate::figure::DEFINITIONS;
use crate::guests::{Add, Guests, check, never_seen};
use crate::sampling::Samples;
use crate::unit::Unit;
use anyhow::{Result, anyhow};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wpc_host::{Options, WasmModule, WorkerProcedureCall};

/// How many times quiet and busy take turns.
const TURNS: u32 = 5;
/// As long that even the 99th percentile has some thousand calls above it.
const TURN: Duration = Duration::from_millis(250);
/// How many redefinitions a second there are when they are not as many as go.
const PACE: f64 = 100.0;
pub(super) const STEPS: u64 = 4 * 2 * TURNS as u64;

/// What is defined over and over.
struct Busy<'a> {
    wpc: &'a WorkerProcedureCall,
    wasm: &'a [u8],
    /// Which function.
    function: &'static str,
    /// Whether each time it is a module that was never compiled.
    is_never_seen: bool,
    /// How many a second; `None` where as many as go.
    pace: Option<f64>,
    number: &'a AtomicU64,
}

impl Busy<'_> {
    /// Defines until told to end, and says how often it did.
    fn run(&self, end: &AtomicBool) -> Result<u32> {
        let begun = Instant::now();
        let mut defined = 0;
        while !end.load(Ordering::Acquire) {
            if let Some(pace) = self.pace {
                let due = Duration::from_secs_f64(f64::from(defined) / pace);
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            let module = if self.is_never_seen {
                let number = self.number.fetch_add(1, Ordering::Relaxed);
                WasmModule::new(never_seen(self.wasm, number))
            } else {
                WasmModule::new(self.wasm)
            };
            self.wpc.define_worker_function(self.function, module.export("add"))?;
            defined += 1;
        }
        Ok(defined)
    }
}

/// How long each call took, in nanoseconds, of those that fit into a turn.
fn calls(add: &Add) -> Result<Vec<f64>> {
    let begun = Instant::now();
    let mut last = begun;
    let mut times = Vec::new();
    while last - begun < TURN {
        check(add.call((40, 2))?)?;
        let now = Instant::now();
        times.push((now - last).as_secs_f64() * 1e9);
        last = now;
    }
    Ok(times)
}

/// The same while definitions are made, and how many those were.
fn busy_calls(add: &Add, busy: &Busy<'_>) -> Result<(Vec<f64>, u32)> {
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let definer = scope.spawn(|| busy.run(&end));
        let times = calls(add);
        end.store(true, Ordering::Release);
        let defined = definer.join().map_err(|_| anyhow!("the definer panicked"))?;
        Ok((times?, defined?))
    })
}

pub(super) fn measure(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Vec<Series>> {
    let wpc = WorkerProcedureCall::new(Options::default())?;
    let module = || WasmModule::new(guests.bare.as_slice()).export("add");
    for function in ["add", "other", "keeps_it_compiled"] {
        wpc.define_worker_function(function, module())?;
    }
    wpc.start_workers(1)?;
    let add: Add = wpc.function("add")?;
    let number = AtomicU64::new(0);
    let mut series = Vec::new();
    for (name, function, is_never_seen) in [
        ("another function redefined, compiled before", "other", false),
        ("the called function redefined, compiled before", "add", false),
        ("another function redefined, never compiled", "other", true),
        ("the called function redefined, never compiled", "add", true),
    ] {
        let (mut quiet, mut points) = (Vec::new(), Vec::new());
        for pace in [Some(PACE), None] {
            let (wpc, wasm, number) = (&wpc, guests.bare.as_slice(), &number);
            let busy = Busy { wpc, wasm, function, is_never_seen, pace, number };
            let (mut times, mut defined) = (Vec::new(), 0);
            for _ in 0..TURNS {
                quiet.extend(calls(&add)?);
                let (of_turn, in_turn) = busy_calls(&add, &busy)?;
                times.extend(of_turn);
                defined += in_turn;
                tick();
            }
            let a_second = f64::from(defined) / (TURN * TURNS).as_secs_f64();
            points.push((a_second, Samples::of(times)));
        }
        points.insert(0, (0.0, Samples::of(quiet)));
        // What is asked for is a hundred; some more come by chance.
        let expected = Expected::Tail { most: 2.0, until: 150.0 };
        let (figure, unit) = (DEFINITIONS, Unit::Nanoseconds);
        series.push(Series { what: What { figure, name, unit, expected }, points });
    }
    Ok(series)
}
