//! Scaling with the number of defined functions, ten of which are used.

use super::by_turns;
use super::series::{Expected, Series, What};
use crate::child::{Task, USED, functions_of};
use crate::figure::FUNCTIONS;
use crate::guests::{Add, Guests, check, never_seen};
use crate::process;
use crate::sampling::{Sampled, batched, timed};
use crate::unit::Unit;
use anyhow::Result;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;
use wpc_host::{WasmModule, WorkerProcedureCall};

const COUNTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
/// The number of compilations is limited by their duration.
const DISTINCT: [usize; 4] = [1, 10, 100, 1_000];
const ROUNDS: u64 = 40;
const COMPILATIONS: u64 = 20;
const CHILDREN: u64 = 3;
pub(super) const STEPS: u64 = 3 * (ROUNDS + 1) + ROUNDS + 1 + COMPILATIONS + 1 + 2 * (CHILDREN + 1);

/// Calls the used functions in turn.
fn round<'a>(used: usize, mut call: impl FnMut(usize) -> Result<i32> + 'a) -> Sampled<'a> {
    let mut at = 0;
    timed(batched(500, move || {
        at = (at + 1) % used;
        check(call(at)?)
    }))
}

/// Defines one more function. It is undefined again outside the measured time.
fn defining<'a>(
    wpc: &'a WorkerProcedureCall,
    mut module: impl FnMut() -> WasmModule + 'a,
) -> Sampled<'a> {
    timed(move || {
        let module = module();
        let begun = Instant::now();
        wpc.define_worker_function("one_more", module)?;
        let took = begun.elapsed();
        wpc.undefine_worker_function("one_more");
        Ok(took)
    })
}

pub(super) fn measure(guests: &Guests, tick: &mut dyn FnMut()) -> Result<Vec<Series>> {
    let pools = COUNTS.map(|count| functions_of(guests, count, false));
    let pools = pools.into_iter().collect::<Result<Vec<_>>>()?;
    let handles: Vec<Vec<Add>> = pools
        .iter()
        .zip(COUNTS)
        .map(|(wpc, count)| {
            let used = (0..USED.min(count)).map(|at| Ok(wpc.function(&format!("add{at}"))?));
            used.collect()
        })
        .collect::<Result<_>>()?;
    let names: &Vec<_> = &(0..USED).map(|at| format!("add{at}")).collect();
    let each = || pools.iter().zip(&handles);

    let by_handle =
        each().map(|(_, used)| round(used.len(), move |at| Ok(used[at].call((40, 2))?)));
    let named =
        each().map(|(wpc, used)| round(used.len(), move |at| Ok(wpc.call(&names[at], (40, 2))?)));
    let here = each().map(|(wpc, used)| {
        let mut here = wpc.local_worker();
        round(used.len(), move |at| Ok(here.call_function(&used[at], (40, 2))?))
    });
    let compiled = &WasmModule::new(guests.bare.as_slice()).export("add");
    let defining_one = each().map(|(wpc, _)| defining(wpc, move || compiled.clone()));

    let time = |name| What {
        figure: FUNCTIONS,
        name,
        unit: Unit::Nanoseconds,
        expected: Expected::Flat(1.5),
    };
    let mut series = vec![
        by_turns(time("call by handle, on a worker"), &COUNTS, ROUNDS, by_handle.collect(), tick)?,
        by_turns(time("call by name, on a worker"), &COUNTS, ROUNDS, named.collect(), tick)?,
        by_turns(
            time("call by handle, on the caller's thread"),
            &COUNTS,
            ROUNDS,
            here.collect(),
            tick,
        )?,
        by_turns(
            time("defining one more, its module compiled"),
            &COUNTS,
            ROUNDS,
            defining_one.collect(),
            tick,
        )?,
    ];
    drop((handles, pools));

    let pools = DISTINCT.map(|count| functions_of(guests, count, true));
    let pools = pools.into_iter().collect::<Result<Vec<_>>>()?;
    let number = Rc::new(Cell::new(1 << 32));
    let defining_one = pools.iter().map(|wpc| {
        let number = Rc::clone(&number);
        defining(wpc, move || {
            number.set(number.get() + 1);
            WasmModule::new(never_seen(&guests.bare, number.get())).export("add")
        })
    });
    let what = time("defining one more, each with its own module");
    series.push(by_turns(what, &DISTINCT, COMPILATIONS, defining_one.collect(), tick)?);
    drop(pools);

    for (name, counts, are_distinct) in [
        ("resident, all from one module", COUNTS.as_slice(), false),
        ("resident, each with its own module", DISTINCT.as_slice(), true),
    ] {
        let (unit, expected) = (Unit::Megabytes, Expected::Linear);
        let what = What { figure: FUNCTIONS, name, unit, expected };
        let resident = counts.iter().map(|functions| -> Sampled<'_> {
            let task = Task::Functions { functions: *functions, are_distinct };
            Box::new(move || process::ask(&task))
        });
        series.push(by_turns(what, counts, CHILDREN, resident.collect(), tick)?);
    }
    Ok(series)
}
