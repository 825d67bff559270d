//! Scaling with the length of a chain of dependencies, each of which calls the next.

use super::by_turns;
use super::series::{Expected, Series, What};
use crate::figure::DEPENDENCIES;
use crate::guests::Guests;
use crate::sampling::{Sampled, batched, timed};
use crate::unit::Unit;
use anyhow::{Result, ensure};
use std::time::Instant;
use wpc_host::{Function, Options, WasmModule, WorkerProcedureCall};

const LENGTHS: [usize; 5] = [1, 2, 4, 8, 16];
const ROUNDS: u64 = 40;
pub(super) const STEPS: u64 = 5 * (ROUNDS + 1);

/// The last dependency of every chain.
const DEEPEST: &str = r#"(module (func (export "f") (result i32) i32.const 1))"#;

/// A dependency that adds one to the result of the next.
fn link(next: usize) -> Result<Vec<u8>> {
    Ok(wat::parse_str(format!(
        r#"(module (import "d{next}" "f" (func $f (result i32)))
            (func (export "f") (result i32) (i32.add (call $f) (i32.const 1))))"#
    ))?)
}

/// A pool with a chain of this length below a function `f`, and below `fresh`, which has a new sandbox for each call.
fn chain(length: usize) -> Result<WorkerProcedureCall> {
    let wpc = WorkerProcedureCall::new(Options::default())?;
    wpc.define_worker_dependency("d1", wat::parse_str(DEEPEST)?)?;
    for at in 2..=length {
        wpc.define_worker_dependency(&format!("d{at}"), link(at - 1)?)?;
    }
    let module = WasmModule::new(link(length)?).export("f");
    wpc.define_worker_function("f", module.clone())?;
    wpc.define_worker_function("fresh", module.isolate_calls())?;
    wpc.start_workers(1)?;
    Ok(wpc)
}

/// One chain with its functions.
struct Chain {
    wpc: WorkerProcedureCall,
    length: usize,
    kept: Function<(), i32>,
    fresh: Function<(), i32>,
}

impl Chain {
    fn new(length: usize) -> Result<Self> {
        let wpc = chain(length)?;
        let (kept, fresh) = (wpc.function("f")?, wpc.function("fresh")?);
        Ok(Self { wpc, length, kept, fresh })
    }

    fn check(&self, answer: i32) -> Result<()> {
        ensure!(
            usize::try_from(answer)? == self.length + 1,
            "{} links returned {answer}",
            self.length
        );
        Ok(())
    }

    fn on_a_worker(&self) -> Sampled<'_> {
        timed(batched(300, move || self.check(self.kept.call(())?)))
    }

    fn here<'a>(&'a self, function: &'a Function<(), i32>, batch: u32) -> Sampled<'a> {
        let mut here = self.wpc.local_worker();
        timed(batched(batch, move || self.check(here.call_function(function, ())?)))
    }

    fn defining_above(&self) -> Sampled<'_> {
        timed(move || {
            let module = WasmModule::new(link(self.length)?).export("f");
            let begun = Instant::now();
            self.wpc.define_worker_function("f", module)?;
            Ok(begun.elapsed())
        })
    }

    fn defining_deepest(&self) -> Sampled<'_> {
        timed(move || {
            let deepest = wat::parse_str(DEEPEST)?;
            let begun = Instant::now();
            self.wpc.define_worker_dependency("d1", deepest)?;
            Ok(begun.elapsed())
        })
    }
}

pub(super) fn measure(_: &Guests, tick: &mut dyn FnMut()) -> Result<Vec<Series>> {
    let chains = LENGTHS.map(Chain::new).into_iter().collect::<Result<Vec<_>>>()?;
    let mut growth = |name, expected, measures| {
        let what = What { figure: DEPENDENCIES, name, unit: Unit::Nanoseconds, expected };
        by_turns(what, &LENGTHS, ROUNDS, measures, tick)
    };
    let linear = Expected::Linear;
    let calls = chains.iter().map(Chain::on_a_worker);
    let on_a_worker = growth("call, on a worker", Expected::Flat(1.5), calls.collect())?;
    let calls = chains.iter().map(|chain| chain.here(&chain.kept, 2_000));
    let here = growth("call, on the caller's thread", linear, calls.collect())?;
    let calls = chains.iter().map(|chain| chain.here(&chain.fresh, 50));
    let name = "call in a new sandbox, on the caller's thread";
    let in_new_ones = growth(name, linear, calls.collect())?;
    let defining = chains.iter().map(Chain::defining_above);
    let above = growth("defining the function again", linear, defining.collect())?;
    let defining = chains.iter().map(Chain::defining_deepest);
    let deepest = growth("defining the deepest dependency again", linear, defining.collect())?;
    Ok(vec![on_a_worker, here, in_new_ones, above, deepest])
}
