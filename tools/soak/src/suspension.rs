//! An attack on suspended calls: thousands at once, which are woken although nothing has changed, cancelled, dropped, stopped,
//! or never woken.

use crate::Usage;
use crate::attacks::ANSWER_TIMEOUT;
use anyhow::{Result, ensure};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use wpc_host::{CallOptions, Error, Limits, Options, PendingCall, WasmModule, WorkerProcedureCall};

const CALLS: usize = 2_000;

/// How often all suspended calls of a round are woken although they cannot continue.
const WAKES_IN_VAIN: usize = 5;

/// Futures wait until it is opened, and keep their wakers here.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    async fn opened(self) {
        poll_fn(|task| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(task.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Opens or closes the gate, and wakes everything that waits.
    fn set(&self, is_open: bool) {
        let wakers = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = is_open;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Calls that are suspended end as they should, each once, and nothing of them is left.
pub(crate) fn suspends(duration: Duration) -> Result<Usage> {
    let options = Options::default().stop_timeout(Duration::from_millis(20));
    let wpc = WorkerProcedureCall::new(options)?;
    let gate = Gate::default();
    let its_own = gate.clone();
    wpc.define_async_host_function("waits", move |_, (): ()| {
        let opened = its_own.clone().opened();
        async move {
            opened.await;
            Ok::<_, String>(())
        }
    })?;
    let module = wat::parse_str(
        r#"(module
            (import "wpc-host" "waits" (func $waits (param i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            (func (export "f")
                (drop (call $waits (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 64)))))"#,
    )?;
    let limits = Limits::default().time_slice(Duration::from_millis(1));
    let waits = WasmModule::new(module).grant_host_function("waits").limits(limits);
    wpc.define_worker_function("f", waits)?;
    let add = r#"(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))"#;
    wpc.define_worker_function("add", wat::parse_str(add)?)?;
    wpc.start_workers(2)?;
    let before = Usage::now()?;
    let (end, mut rounds, mut stopped) = (Instant::now() + duration, 0_u64, 0_u64);
    while Instant::now() < end {
        gate.set(false);
        let calls = submit(&wpc, rounds)?;
        for _ in 0..WAKES_IN_VAIN {
            gate.set(false);
            ensure!(wpc.call::<i32>("add", (40, 2))? == 42, "another function is delayed or wrong");
        }
        for (number, call) in calls.iter().enumerate() {
            if number % 4 == 1 {
                call.cancel();
            }
        }
        if rounds % 4 == 3 {
            wpc.stop_workers();
            wpc.start_workers(2)?;
        } else {
            gate.set(true);
        }
        stopped += check(calls)?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        while wpc.metrics().suspended_calls > 0 {
            ensure!(Instant::now() < deadline, "calls that have ended are still suspended");
            std::thread::yield_now();
        }
        rounds += 1;
    }
    wpc.stop_workers();
    println!(
        "{CALLS} suspended calls in each of {rounds} rounds: each ended once, {stopped} by a stop"
    );
    Ok(before)
}

/// Submits the calls of a round, of which every fourth is dropped at once.
fn submit(wpc: &WorkerProcedureCall, round: u64) -> Result<Vec<PendingCall<()>>> {
    let mut calls = Vec::new();
    for number in 0..CALLS {
        let options = match number % 4 {
            2 => CallOptions::new().timeout(Duration::from_millis(1 + round % 50)),
            _ => CallOptions::new(),
        };
        let call = wpc.submit_with::<()>("f", (), &options)?;
        if number % 4 != 3 {
            calls.push(call);
        }
    }
    Ok(calls)
}

/// Waits for all calls. Returns how many a stop has ended.
fn check(calls: Vec<PendingCall<()>>) -> Result<u64> {
    let (deadline, mut stopped) = (Instant::now() + ANSWER_TIMEOUT, 0);
    for call in calls {
        while !call.is_answered() {
            ensure!(Instant::now() < deadline, "a suspended call was not answered");
            std::thread::yield_now();
        }
        match call.wait() {
            Ok(()) | Err(Error::Cancelled { .. } | Error::Timeout { .. }) => {}
            Err(Error::Stopped { .. }) => stopped += 1,
            Err(other) => return Err(other.into()),
        }
    }
    Ok(stopped)
}
