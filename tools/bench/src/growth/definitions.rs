//! Calls while functions are redefined, compared with calls without redefinitions.

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

/// The number of turns with and without redefinitions.
const TURNS: u32 = 5;
/// Long enough for about 1,000 calls above the 99th percentile.
const TURN: Duration = Duration::from_millis(250);
/// The rate of redefinitions for each second, if it is limited.
const RATE: f64 = 100.0;
pub(super) const STEPS: u64 = 4 * 2 * TURNS as u64;

/// The redefinitions of one series.
struct Busy<'a> {
    wpc: &'a WorkerProcedureCall,
    wasm: &'a [u8],
    /// The function's name.
    function: &'static str,
    /// Whether each definition has a module that was never compiled.
    is_never_seen: bool,
    /// The rate for each second, or `None` for back-to-back redefinitions.
    rate: Option<f64>,
    number: &'a AtomicU64,
}

impl Busy<'_> {
    /// Redefines until `end` is set, and returns how many times.
    fn run(&self, end: &AtomicBool) -> Result<u32> {
        let begun = Instant::now();
        let mut defined = 0;
        while !end.load(Ordering::Acquire) {
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64(f64::from(defined) / rate);
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

/// The durations of the calls of one turn, in nanoseconds.
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

/// The same during redefinitions, and the number of redefinitions.
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
        for rate in [Some(RATE), None] {
            let (wpc, wasm, number) = (&wpc, guests.bare.as_slice(), &number);
            let busy = Busy { wpc, wasm, function, is_never_seen, rate, number };
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
        // The requested rate is 100 for each second, and the actual rate may be slightly higher.
        let expected = Expected::Tail { most: 2.0, until: 150.0 };
        let (figure, unit) = (DEFINITIONS, Unit::Nanoseconds);
        series.push(Series { what: What { figure, name, unit, expected }, points });
    }
    Ok(series)
}
