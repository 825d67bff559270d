//! With many calls outstanding, of one caller.

use super::series::{Expected, Series, What};
use super::{by_turns, xs};
use crate::figure::OUTSTANDING;
use crate::guests::{Add, Guests};
use crate::load;
use crate::sampling::{Sampled, Samples};
use crate::unit::Unit;
use anyhow::Result;
use wpc_host::{Options, WorkerProcedureCall};

const COUNTS: [usize; 7] = [1, 4, 16, 64, 256, 1_000, 10_000];
const THROUGHPUTS: u64 = 11;
/// How many runs the calls are timed in.
const RUNS: u64 = 4;
pub(super) const STEPS: u64 = 2 * (THROUGHPUTS + 1 + RUNS);

/// How many calls a run has: few where each waits for the one before, and else enough that most of
/// them have as many beside them as they should.
fn calls(outstanding: usize) -> u32 {
    if outstanding < 16 { 20_000 } else { 60_000 }
}

fn pool(guests: &Guests, workers: usize) -> Result<(WorkerProcedureCall, Add)> {
    let wpc = WorkerProcedureCall::new(Options {
        // All may wait for one worker.
        max_pending_calls_per_worker: 10_000,
        ..Options::default()
    })?;
    wpc.define_worker_function("add", guests.sdk.as_slice())?;
    wpc.start_workers(workers)?;
    wpc.warm_worker_function("add")?;
    let add = wpc.function("add")?;
    Ok((wpc, add))
}

pub(super) fn measure(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Vec<Series>> {
    let mut series = Vec::new();
    for (workers, of_rates, of_times) in [
        (1, "throughput, one worker", "submit to answer, one worker"),
        (2, "throughput, two workers", "submit to answer, two workers"),
    ] {
        let (_wpc, add) = pool(guests, workers)?;
        let rates = COUNTS.map(|count| -> Sampled<'_> {
            let add = &add;
            Box::new(move || load::rate(add, count, calls(count)))
        });
        let (unit, expected) = (Unit::CallsPerSecond, Expected::Kept(0.8));
        let what = What { figure: OUTSTANDING, name: of_rates, unit, expected };
        series.push(by_turns(what, &COUNTS, THROUGHPUTS, rates.into(), tick)?);

        let mut times = vec![Vec::new(); COUNTS.len()];
        for _ in 0..RUNS {
            for (count, times) in COUNTS.into_iter().zip(&mut times) {
                times.extend(load::latencies(&add, count, calls(count))?);
            }
            tick();
        }
        let points = xs(&COUNTS).into_iter().zip(times.into_iter().map(Samples::of)).collect();
        let (unit, expected) = (Unit::Nanoseconds, Expected::Linear);
        let what = What { figure: OUTSTANDING, name: of_times, unit, expected };
        series.push(Series { what, points });
    }
    Ok(series)
}
