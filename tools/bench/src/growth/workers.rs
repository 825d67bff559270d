//! Scaling with the number of workers.

use super::by_turns;
use super::series::{Expected, Series, What};
use crate::child::Task;
use crate::figure::WORKERS;
use crate::guests::{Guests, add, check};
use crate::sampling::{Sampled, batched, timed};
use crate::unit::Unit;
use crate::{load, process};
use anyhow::Result;
use std::time::Instant;

const COUNTS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const STARTS: u64 = 20;
const ROUNDS: u64 = 40;
const THROUGHPUTS: u64 = 11;
const CHILDREN: u64 = 3;
pub(super) const STEPS: u64 = STARTS + ROUNDS + THROUGHPUTS + CHILDREN + 4;

pub(super) fn measure(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Vec<Series>> {
    let what = |name, unit, expected| What { figure: WORKERS, name, unit, expected };
    let stopped = guests.pool(0)?;
    let starts = COUNTS.map(|workers| {
        let stopped = &stopped;
        timed(move || {
            let begun = Instant::now();
            stopped.start_workers(workers)?;
            stopped.warm_worker_function("add")?;
            let took = begun.elapsed();
            stopped.stop_workers();
            Ok(took)
        })
    });
    let (time, rate) = (Unit::Nanoseconds, Unit::CallsPerSecond);
    let up = what("all started and answering", time, Expected::Linear);
    let mut series = vec![by_turns(up, &COUNTS, STARTS, starts.into(), tick)?];

    let pools =
        COUNTS.map(|workers| guests.pool(workers)).into_iter().collect::<Result<Vec<_>>>()?;
    let handles = pools.iter().map(add).collect::<Result<Vec<_>>>()?;
    for wpc in &pools {
        wpc.warm_worker_function("add")?;
    }
    let calls = handles.iter().map(|add| timed(batched(500, move || check(add.call((40, 2))?))));
    let call = what("call, one outstanding", time, Expected::Flat(1.5));
    series.push(by_turns(call, &COUNTS, ROUNDS, calls.collect(), tick)?);
    let rates =
        handles.iter().map(|add| -> Sampled<'_> { Box::new(move || load::rate(add, 64, 50_000)) });
    let throughput = what("throughput, 64 outstanding", rate, Expected::Kept(0.8));
    series.push(by_turns(throughput, &COUNTS, THROUGHPUTS, rates.collect(), tick)?);
    drop((handles, pools));

    let resident = COUNTS.map(|workers| -> Sampled<'_> {
        Box::new(move || process::ask(&Task::Workers { workers }))
    });
    let memory = what("resident, one function used", Unit::Megabytes, Expected::Linear);
    series.push(by_turns(memory, &COUNTS, CHILDREN, resident.into(), tick)?);
    Ok(series)
}
