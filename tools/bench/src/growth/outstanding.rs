//! Scaling with the number of outstanding calls of one caller.

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
/// The number of timed runs.
const RUNS: u64 = 4;
pub(super) const STEPS: u64 = 2 * (THROUGHPUTS + 1 + RUNS);

/// The number of calls of a run: few if calls are sequential, otherwise enough that the intended number is outstanding
/// for most of the run.
fn calls(outstanding: usize) -> u32 {
    if outstanding < 16 { 20_000 } else { 60_000 }
}

fn pool(guests: &Guests, workers: usize) -> Result<(WorkerProcedureCall, Add)> {
    let wpc = WorkerProcedureCall::new(
        Options::default()
            // All calls may be queued for one worker.
            .max_pending_calls_per_worker(10_000),
    )?;
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
