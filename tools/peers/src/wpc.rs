//! wpc: typed handles and default options.

use crate::contestant::{ADDED, Contestant, Load, Work, check_echo, check_sum, payload, timed};
use crate::wait::Wait;
use crate::waiting::Waiting;
use anyhow::{Result, ensure};
use std::collections::VecDeque;
use std::time::Duration;
use wpc_host::{
    Function, Limits, LocalWorker, Options, PendingCall, WasmModule, WorkerProcedureCall,
};

type Add = Function<(i32, i32), i32>;
type Echo = Function<(Vec<u8>,), Vec<u8>>;

/// Shared by the pool and the local worker. The guest uses the SDK, and every call has a time limit: both are the
/// defaults for users of wpc.
struct Functions {
    wpc: WorkerProcedureCall,
    add: Add,
    fresh: Add,
    echo: Echo,
}

impl Functions {
    fn define(guest: &[u8], workers: usize) -> Result<Self> {
        let wpc = WorkerProcedureCall::new(Options::default())?;
        wpc.define_worker_module(guest)?;
        wpc.define_worker_function("fresh", WasmModule::new(guest).export("add").isolate_calls())?;
        wpc.start_workers(workers)?;
        let (add, fresh) = (wpc.function("add")?, wpc.function("fresh")?);
        Ok(Self { echo: wpc.function("echo_bytes")?, wpc, add, fresh })
    }
}

/// The pool.
pub(crate) struct Pool(Functions);

impl Pool {
    pub(crate) fn start(guest: &[u8], workers: usize) -> Result<Self> {
        let functions = Functions::define(guest, workers)?;
        // Each worker instantiates its sandbox now and not in the first calls.
        functions.wpc.warm_worker_function("add")?;
        Ok(Self(functions))
    }

    /// Calls with numbers. With one outstanding call, calls are blocking. Otherwise calls are submitted, and the oldest
    /// is awaited.
    fn sums(&self, function: &Add, load: Load) -> Result<()> {
        if load.outstanding == 1 {
            return load
                .numbers()
                .try_for_each(|number| check_sum(number, function.call((number, ADDED))?));
        }
        let mut calls: VecDeque<(i32, PendingCall<i32>)> =
            VecDeque::with_capacity(load.outstanding);
        for number in load.numbers() {
            if calls.len() == load.outstanding
                && let Some((number, call)) = calls.pop_front()
            {
                check_sum(number, call.wait()?)?;
            }
            calls.push_back((number, function.submit((number, ADDED))?));
        }
        calls.into_iter().try_for_each(|(number, call)| check_sum(number, call.wait()?))
    }

    fn echoes(&self, bytes: &[u8], load: Load) -> Result<()> {
        let echo = &self.0.echo;
        let mut calls: VecDeque<PendingCall<Vec<u8>>> = VecDeque::with_capacity(load.outstanding);
        for _ in 0..load.calls {
            if load.outstanding == 1 {
                check_echo(bytes, &echo.call((bytes,))?)?;
                continue;
            }
            if calls.len() == load.outstanding
                && let Some(call) = calls.pop_front()
            {
                check_echo(bytes, &call.wait()?)?;
            }
            calls.push_back(echo.submit((bytes,))?);
        }
        calls.into_iter().try_for_each(|call| check_echo(bytes, &call.wait()?))
    }
}

impl Contestant for Pool {
    fn series(&self) -> &'static str {
        "wpc"
    }

    fn run(&mut self, load: Load) -> Result<Duration> {
        let Functions { wpc, add, fresh, .. } = &self.0;
        match load.work {
            Work::Add => timed(|| self.sums(add, load)),
            Work::Fresh => timed(|| self.sums(fresh, load)),
            Work::Echo(len) => {
                let bytes = payload(len);
                timed(|| self.echoes(&bytes, load))
            }
            Work::AfterTrap => load
                .numbers()
                .map(|number| {
                    ensure!(
                        wpc.call::<()>("panics", ("intended",)).is_err(),
                        "the call should trap"
                    );
                    timed(|| check_sum(number, add.call((number, ADDED))?))
                })
                .sum(),
        }
    }
}

/// The worker on the caller's thread.
pub(crate) struct Local {
    functions: Functions,
    here: LocalWorker,
}

impl Local {
    pub(crate) fn start(guest: &[u8]) -> Result<Self> {
        // A local worker needs a pool with at least one worker.
        let functions = Functions::define(guest, 1)?;
        let here = functions.wpc.local_worker();
        Ok(Self { functions, here })
    }
}

impl Contestant for Local {
    fn series(&self) -> &'static str {
        "wpc, caller's thread"
    }

    fn run(&mut self, load: Load) -> Result<Duration> {
        let Self { functions: Functions { add, fresh, echo, .. }, here } = self;
        let mut sum = |function: &Add, number| {
            check_sum(number, here.call_function(function, (number, ADDED))?)
        };
        match load.work {
            Work::Add => timed(|| load.numbers().try_for_each(|number| sum(add, number))),
            Work::Fresh => timed(|| load.numbers().try_for_each(|number| sum(fresh, number))),
            Work::Echo(len) => {
                let bytes = payload(len);
                timed(|| {
                    (0..load.calls).try_for_each(|_| {
                        check_echo(&bytes, &here.call_function(echo, (bytes.as_slice(),))?)
                    })
                })
            }
            Work::AfterTrap => load
                .numbers()
                .map(|number| {
                    ensure!(
                        here.call::<()>("panics", ("intended",)).is_err(),
                        "the call should trap"
                    );
                    timed(|| check_sum(number, here.call_function(add, (number, ADDED))?))
                })
                .sum(),
        }
    }
}

/// A pool whose guest calls an async host function.
pub(crate) struct Suspending(WorkerProcedureCall);

const SUSPENDING: &str = r#"(module
    (import "wpc-host" "waits" (func $waits (param i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (func (export "waits")
        (drop (call $waits (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 64)))))"#;

impl Suspending {
    pub(crate) fn start(wait: &Wait, most: u32, workers: usize) -> Result<Self> {
        let options = Options::default().max_live_instances(most).max_suspended_instances(most);
        let wpc = WorkerProcedureCall::new(options)?;
        let wait = wait.clone();
        wpc.define_async_host_function("waits", move |_, (): ()| {
            let wait = wait.clone();
            async move {
                wait.ended().await;
                Ok::<_, String>(())
            }
        })?;
        let limits = Limits::default().max_concurrent_calls(most as usize);
        let module = WasmModule::new(wat::parse_str(SUSPENDING)?).grant_host_function("waits");
        wpc.define_worker_function("waits", module.limits(limits))?;
        wpc.start_workers(workers)?;
        Ok(Self(wpc))
    }
}

impl Waiting for Suspending {
    fn run(&mut self, calls: u32, all_wait: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let calls: Vec<PendingCall<()>> =
            (0..calls).map(|_| self.0.submit("waits", ())).collect::<Result<_, _>>()?;
        all_wait()?;
        calls.into_iter().try_for_each(|call| Ok(call.wait()?))
    }
}
