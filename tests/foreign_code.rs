//! Embedder code that the pool runs: wakers, listeners and host functions that block or panic.

use crate::support::*;
use std::future::Future;
use std::panic::panic_any;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use wpc_host::{CallOptions, Limits, Output, PendingCall, Wasi, WorkerProcedureCall};

/// A panic payload that panics again when it is dropped.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic_any("dropped");
    }
}

/// A waker that blocks its thread until the gate is opened.
struct Blocks(Gate);

impl Wake for Blocks {
    fn wake(self: Arc<Self>) {
        self.0.wait();
    }
}

/// A waker that sends a message.
struct Reports(Mutex<Sender<()>>);

impl Wake for Reports {
    fn wake(self: Arc<Self>) {
        // The test may have ended.
        let _ = self.0.lock().unwrap().send(());
    }
}

#[test]
fn a_blocking_waker_delays_no_other_time_limit() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    // Both are queued behind the running call, and their limits pass there.
    let limit = CallOptions::new().timeout(Duration::from_millis(20));
    let (gate, (woken, wakes)) = (Gate::default(), channel());
    let blocks = Arc::new(Blocks(gate.clone()));
    let wakers = [
        Waker::from(Arc::clone(&blocks)),
        Waker::from(Arc::clone(&blocks)),
        Waker::from(Arc::new(Reports(Mutex::new(woken)))),
    ];
    let mut calls = loop {
        let mut calls = wakers
            .each_ref()
            .map(|_| Box::pin(wpc.submit_with::<i32>("quick", (), &limit).unwrap().answer()));
        let mut polls = calls.iter_mut().zip(&wakers);
        // On a busy machine, a limit may pass before the call is polled.
        if polls
            .all(|(call, waker)| call.as_mut().poll(&mut Context::from_waker(waker)).is_pending())
        {
            break calls;
        }
    };
    wakes.recv_timeout(TEST_TIMEOUT).unwrap();
    let answer = calls[2].as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(answer) = answer else { panic!("the call should be answered") };
    assert_eq!(code(answer), "timeout");
    gate.open();
    spinning.cancel();
}

/// Checks that calls end at their time limit although every worker may be busy.
fn limits_are_kept(wpc: &WorkerProcedureCall) {
    let limit = CallOptions::new().timeout(Duration::from_millis(20));
    for _ in 0..3 {
        let call = wpc.submit_with::<()>("spins", (), &limit).unwrap();
        answered(&call);
        assert_eq!(code(call.wait()), "timeout");
    }
}

/// Waits until the call is answered. It never is if the supervisor's thread is blocked.
#[track_caller]
fn answered<R>(call: &PendingCall<R>) {
    eventually(|| call.is_answered());
}

#[test]
fn a_blocking_subscriber_delays_no_other_time_limit() {
    failing_subscriber::install();
    let wpc =
        pool_with(2, immediate_restarts().unresponsive_worker_grace(Duration::from_millis(20)));
    wpc.define_worker_module(spinner()).unwrap();
    let limits = Limits::default().timeout(Duration::from_millis(20));
    let (gate, running) = define_blocking(&wpc, failing_subscriber::BLOCKING_FUNCTION, limits);
    let limit = CallOptions::new().timeout(TEST_TIMEOUT);
    let name = failing_subscriber::BLOCKING_FUNCTION;
    let stuck = wpc.submit_with::<()>(name, (), &limit).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    stuck.cancel();
    // The supervisor's report about the function, when it abandons the worker, blocks the subscriber.
    failing_subscriber::wait_for_blocked_report();
    answered(&stuck);
    limits_are_kept(&wpc);
    failing_subscriber::release_report();
    gate.open();
}

/// Sends a message when it is dropped, and blocks that thread until the gate is opened.
pub(crate) struct BlocksWhenDropped(pub(crate) Gate, pub(crate) Mutex<Sender<()>>);

impl Drop for BlocksWhenDropped {
    fn drop(&mut self) {
        self.1.lock().unwrap().send(()).unwrap();
        self.0.wait();
    }
}

impl std::io::Write for BlocksWhenDropped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_blocks_in_drop_delays_no_other_time_limit() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let (gate, (dropped, drops)) = (Gate::default(), channel());
    let output = Output::writer(BlocksWhenDropped(gate.clone(), Mutex::new(dropped)));
    let granted = writes().grant_wasi(Wasi::minimal().stdout(output));
    wpc.define_worker_function("writes", granted).unwrap();
    let spinning = spin(&wpc, &events);
    let queued = wpc.submit::<i32>("writes", ()).unwrap();
    // The definition is dropped with its last call, which the supervisor takes out of the queue.
    assert!(wpc.undefine_worker_function("writes"));
    queued.cancel();
    drops.recv_timeout(TEST_TIMEOUT).unwrap();
    limits_are_kept(&wpc);
    gate.open();
    spinning.cancel();
}

#[test]
fn a_host_function_that_blocks_in_drop_delays_only_its_removal() {
    let wpc = pool(1);
    let (gate, (dropped, drops)) = (Gate::default(), channel());
    let captured = BlocksWhenDropped(gate.clone(), Mutex::new(dropped));
    wpc.define_host_function("waits", move |_, (): ()| {
        let _ = &captured;
        Ok::<_, String>(())
    })
    .unwrap();
    let replaced = {
        let wpc = wpc.clone();
        // A redefinition drops the previous function.
        on_a_thread(move || drop(define_blocking(&wpc, "stuck", Limits::default())))
    };
    drops.recv_timeout(TEST_TIMEOUT).unwrap();
    wpc.define_worker_module(spinner()).unwrap();
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
    limits_are_kept(&wpc);
    gate.open();
    replaced.join().unwrap();
}

fn on_a_thread(run: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    #[expect(clippy::disallowed_methods, reason = "a thread of the embedder")]
    std::thread::spawn(run)
}

#[test]
fn a_panic_whose_payload_panics_on_drop_is_contained() {
    let wpc = pool(1);
    wpc.on_worker_event(|_| panic_any(PanicsWhenDropped)).unwrap();
    let events = Recorder::new(&wpc);
    wpc.define_host_function("waits", |_, (): ()| -> Result<(), String> {
        panic_any(PanicsWhenDropped)
    })
    .unwrap();
    let module = wat(r#"(module
        (import "wpc-host" "waits" (func $waits (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (func (export "f") (result i64)
            (call $waits (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))"#);
    wpc.define_worker_function("f", module.grant_host_function("waits")).unwrap();
    let length: i64 = wpc.call("f", ()).unwrap();
    assert!(length > 0, "the guest receives an error");
    for health in wpc.get_worker_health_states() {
        assert_eq!(health.restart_attempt, 0, "no worker is replaced");
    }
    // The first listener panics at each event, and the second one still receives it.
    assert_eq!(code(wpc.define_worker_function("g", b"".as_slice())), "not_wasm");
    events.wait_for_name("listener_panicked");
    events.wait_for_name("definition_refused");
}

#[test]
fn workers_start_although_a_subscriber_panics() {
    failing_subscriber::install();
    failing_subscriber::PANICS_AT_START.store(true, Ordering::SeqCst);
    let wpc = pool(2);
    failing_subscriber::PANICS_AT_START.store(false, Ordering::SeqCst);
    wpc.define_worker_function("quick", spinner()).unwrap();
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
}

/// A module that writes `hello` to its standard output.
pub(crate) fn writes() -> wpc_host::WasmModule {
    wat(r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\08\00\00\00\05\00\00\00hello")
        (func (export "writes") (result i32)
            (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32))))"#)
}
