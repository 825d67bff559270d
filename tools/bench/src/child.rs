//! What child processes do. Each task answers with one number.

use crate::guests::{Guests, add, check, never_seen};
use crate::process::{resident, resident_once};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Instant;
use wpc_host::{Options, WasmModule, WorkerProcedureCall};

/// How many of the defined functions are called, where there are so many.
pub(crate) const USED: usize = 10;

/// A child's task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Resident MB of a process that has loaded the program and the guests, and done nothing.
    Nothing,
    /// Resident MB with so many workers, each with a sandbox of the SDK's guest.
    Workers {
        /// How many.
        workers: usize,
    },
    /// Resident MB with so many functions defined, ten of them used, and one worker.
    Functions {
        /// How many.
        functions: usize,
        /// Whether each has a module of its own.
        are_distinct: bool,
    },
    /// How many KB more are resident for each live sandbox of the SDK's guest, pages that they share counted once.
    Sandbox,
    /// How many bytes more are resident for each function of 10,000 that is not used.
    IdleFunction,
    /// How many nanoseconds from making the pool to the first answer.
    StartUp {
        /// How many modules of the SDK's guest's size are defined before.
        modules: u32,
        /// Where compiled code is kept.
        cache: Option<PathBuf>,
    },
}

const MEGABYTE: f64 = 1024.0 * 1024.0;

impl Task {
    pub(crate) fn run(&self) -> Result<f64> {
        let guests = Guests::read()?;
        match self {
            Self::Nothing => Ok(resident()? / MEGABYTE),
            Self::Workers { workers } => {
                let wpc = WorkerProcedureCall::new(Options::default())?;
                wpc.define_worker_function("add", guests.sdk.as_slice())?;
                wpc.start_workers(*workers)?;
                wpc.warm_worker_function("add")?;
                check(add(&wpc)?.call((40, 2))?)?;
                Ok(resident()? / MEGABYTE)
            }
            Self::Functions { functions, are_distinct } => {
                let wpc = functions_of(&guests, *functions, *are_distinct)?;
                call_each(&wpc, 0..USED.min(*functions))?;
                Ok(resident()? / MEGABYTE)
            }
            Self::Sandbox => resident_by_sandbox(&guests),
            Self::IdleFunction => resident_by_function(&guests),
            Self::StartUp { modules, cache } => start_up(&guests, *modules, cache.clone()),
        }
    }
}

/// A pool of one worker with functions `add0`, `add1` and so on.
pub(crate) fn functions_of(
    guests: &Guests,
    functions: usize,
    are_distinct: bool,
) -> Result<WorkerProcedureCall> {
    let wpc = WorkerProcedureCall::new(Options::default())?;
    wpc.start_workers(1)?;
    define(&wpc, &guests.bare, 0..functions, are_distinct)?;
    Ok(wpc)
}

fn define(
    wpc: &WorkerProcedureCall,
    wasm: &[u8],
    numbers: std::ops::Range<usize>,
    are_distinct: bool,
) -> Result<()> {
    // Clones share the bytes.
    let module = WasmModule::new(wasm).export("add");
    for at in numbers {
        let module = if are_distinct {
            WasmModule::new(never_seen(wasm, at as u64)).export("add")
        } else {
            module.clone()
        };
        wpc.define_worker_function(&format!("add{at}"), module)?;
    }
    Ok(())
}

fn call_each(wpc: &WorkerProcedureCall, numbers: std::ops::Range<usize>) -> Result<()> {
    for at in numbers {
        check(wpc.call(&format!("add{at}"), (40, 2))?)?;
    }
    Ok(())
}

fn resident_by_sandbox(guests: &Guests) -> Result<f64> {
    // The first warm up what all share.
    const FIRST: usize = 10;
    const MORE: usize = 400;
    let wpc = WorkerProcedureCall::new(Options::default())?;
    wpc.start_workers(1)?;
    define(&wpc, &guests.sdk, 0..FIRST + MORE, false)?;
    call_each(&wpc, 0..FIRST)?;
    let before = resident_once()?;
    call_each(&wpc, FIRST..FIRST + MORE)?;
    let alive = wpc.get_sandbox_usage().live_instances;
    ensure!(alive == (FIRST + MORE) as u64, "{alive} sandboxes are alive");
    Ok((resident_once()? - before) / MORE as f64 / 1024.0)
}

fn resident_by_function(guests: &Guests) -> Result<f64> {
    const ALL: usize = 10_000;
    let wpc = functions_of(guests, USED, false)?;
    call_each(&wpc, 0..USED)?;
    let before = resident()?;
    define(&wpc, &guests.bare, USED..ALL, false)?;
    call_each(&wpc, 0..USED)?;
    Ok((resident()? - before) / (ALL - USED) as f64)
}

fn start_up(guests: &Guests, modules: u32, cache: Option<PathBuf>) -> Result<f64> {
    let copies: Vec<_> = (0..modules).map(|at| never_seen(&guests.sdk, at.into())).collect();
    let begun = Instant::now();
    let wpc = WorkerProcedureCall::new(Options { compile_cache: cache, ..Options::default() })?;
    for (at, copy) in copies.into_iter().enumerate() {
        wpc.define_worker_function(&format!("add{at}"), WasmModule::new(copy).export("add"))?;
    }
    wpc.start_workers(1)?;
    call_each(&wpc, 0..1)?;
    Ok(begun.elapsed().as_secs_f64() * 1e9)
}
