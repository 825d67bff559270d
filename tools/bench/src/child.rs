//! Tasks of child processes. Each returns one number.

use crate::guests::{Guests, add, check, never_seen};
use crate::process::{resident, resident_once};
use crate::waiting::{MOST, Waiting};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Instant;
use wpc_host::{Options, WasmModule, WorkerProcedureCall};

/// The maximum number of defined functions that are called.
pub(crate) const USED: usize = 10;

/// The task of a child process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Resident MB of a process that has only loaded the program and the guests.
    Nothing,
    /// Resident MB with workers that have one sandbox of the SDK's guest each.
    Workers {
        /// The number.
        workers: usize,
    },
    /// Resident MB with one worker and many functions, ten of which are used.
    Functions {
        /// The number.
        functions: usize,
        /// Whether each function has its own module.
        are_distinct: bool,
    },
    /// Resident KB for each additional live sandbox of the SDK's guest. Shared pages count once.
    Sandbox,
    /// Resident bytes for each unused function of 10,000.
    IdleFunction,
    /// Resident KB for each of 10,000 calls that are suspended on two workers.
    Suspended,
    /// Nanoseconds from the first of 10,000 calls, which are all suspended on two workers at once, to the last answer.
    SuspendAndAnswer,
    /// Nanoseconds from the creation of the pool to the first answer.
    StartUp {
        /// The number of modules of the size of the SDK's guest that are defined before.
        modules: u32,
        /// The folder of the compile cache.
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
            Self::Suspended => Waiting::suspend(MOST)?.resident(),
            Self::SuspendAndAnswer => Waiting::suspend(MOST)?.answer(),
            Self::StartUp { modules, cache } => start_up(&guests, *modules, cache.clone()),
        }
    }
}

/// A pool with one worker and functions `add0`, `add1` and so on.
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
    // Clones of a module share its bytes.
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
    // The first sandboxes warm up the memory that all share.
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
    let wpc = WorkerProcedureCall::new(Options::default().compile_cache(cache))?;
    for (at, copy) in copies.into_iter().enumerate() {
        wpc.define_worker_function(&format!("add{at}"), WasmModule::new(copy).export("add"))?;
    }
    wpc.start_workers(1)?;
    call_each(&wpc, 0..1)?;
    Ok(begun.elapsed().as_secs_f64() * 1e9)
}
