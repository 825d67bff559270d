//! Module instances: who has them, and who gives them up for others.

use crate::support::*;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use wpc_host::{CallOptions, Error, Limits, Options, WorkerProcedureCall};

fn returns(value: i32) -> wpc_host::WasmModule {
    wat(&format!(r#"(module (func (export "get") (result i32) i32.const {value}))"#))
}

/// Defines `f0`, `f1`, ... and calls each once.
fn define_live(wpc: &WorkerProcedureCall, count: i32) {
    for value in 0..count {
        wpc.define_worker_function(&format!("f{value}"), returns(value).export("get")).unwrap();
        assert_eq!(wpc.call::<i32>(&format!("f{value}"), ()).unwrap(), value);
    }
}

/// Loses workers at once, and replaces them however many are lost.
fn quick_to_lose(max_live_instances: u32) -> Options {
    Options {
        lost_worker_grace: Duration::from_millis(1),
        max_restarts_per_worker: 10_000,
        max_live_instances,
        ..hasty()
    }
}

/// A definition's own limit, after which a worker that does not react is lost.
fn short() -> Limits {
    Limits { time: Some(Duration::from_millis(1)), ..Limits::default() }
}

/// Cancels a call of `stuck` that runs: its worker does not come back from it.
fn abandon_a_worker(wpc: &WorkerProcedureCall, running: &Receiver<()>) {
    let long = CallOptions::new().time_limit(PATIENCE);
    let stuck = wpc.submit_with::<()>("stuck", (), &long).unwrap();
    running.recv_timeout(PATIENCE).unwrap();
    stuck.cancel();
    assert_eq!(code(stuck.wait()), "cancelled");
}

#[test]
fn an_abandoned_thread_keeps_no_instances_but_those_of_its_call() {
    let wpc = pool_with(1, quick_to_lose(8));
    define_live(&wpc, 7);
    let (gate, running) = define_stuck(&wpc, "stuck", short());
    let events = Recorder::new(&wpc);
    abandon_a_worker(&wpc, &running);
    events.wait_for_name("worker_restart_completed");
    for value in 0..7 {
        assert_eq!(wpc.call::<i32>(&format!("f{value}"), ()).unwrap(), value);
    }
    gate.open();
}

#[test]
fn a_local_worker_gets_instances_that_lie_idle_on_workers() {
    let wpc = pool_with(2, Options { max_live_instances: 4, ..Options::default() });
    define_live(&wpc, 8);
    let mut here = wpc.local_worker();
    for value in 0..8 {
        assert_eq!(here.call::<i32>(&format!("f{value}"), ()).unwrap(), value);
    }
}

#[test]
fn idle_workers_give_up_even_the_sandbox_they_used_last() {
    let wpc = pool_with(1, Options { max_live_instances: 1, ..Options::default() });
    define_live(&wpc, 1);
    assert_eq!(wpc.local_worker().call::<i32>("f0", ()).unwrap(), 0);
    assert_eq!(wpc.call::<i32>("f0", ()).unwrap(), 0);
}

#[test]
fn instances_that_running_calls_use_are_not_to_be_had() {
    let wpc = pool_with(1, Options { max_live_instances: 1, ..Options::default() });
    define_live(&wpc, 1);
    let (gate, running) = define_stuck(&wpc, "stuck", short());
    let long = CallOptions::new().time_limit(PATIENCE);
    let stuck = wpc.submit_with::<()>("stuck", (), &long).unwrap();
    running.recv_timeout(PATIENCE).unwrap();
    let error = wpc.local_worker().call::<i32>("f0", ()).unwrap_err();
    assert!(matches!(error, Error::InstancesInUse { needed: 1, limit: 1, .. }), "{error}");
    assert!(error.retry_can_help());
    gate.open();
    stuck.wait().unwrap();
    assert_eq!(wpc.local_worker().call::<i32>("f0", ()).unwrap(), 0);
}

#[test]
fn a_sandbox_may_take_more_than_one_workers_share() {
    let wpc = pool_with(4, Options { max_live_instances: 4, ..Options::default() });
    wpc.define_worker_dependency("base", returns(1)).unwrap();
    let user = wat(r#"(module (import "base" "get" (func $get (result i32)))
        (func (export "f") (result i32) call $get))"#);
    wpc.define_worker_function("f", user).unwrap();
    for key in 0..16 {
        let options = CallOptions::new().affinity(key);
        assert_eq!(wpc.call_with::<i32>("f", (), &options).unwrap(), 1);
    }
}

#[test]
fn with_as_many_abandoned_threads_as_there_may_be_calls_are_refused_at_once() {
    let wpc = pool_with(1, quick_to_lose(1_000));
    define_live(&wpc, 1);
    let (gate, running) = define_stuck(&wpc, "stuck", short());
    let events = Recorder::new(&wpc);
    for abandoned in 1..=64 {
        abandon_a_worker(&wpc, &running);
        events.wait_for_name("worker_error");
        if abandoned < 64 {
            events.wait_for_name("worker_restart_completed");
        }
    }
    let limit = CallOptions::new().time_limit(Duration::from_secs(3600));
    assert_eq!(code(wpc.call_with::<i32>("f0", (), &limit)), "no_ready_workers");
    gate.open();
    events.wait_for_name("worker_restart_completed");
    assert_eq!(wpc.call_with::<i32>("f0", (), &limit).unwrap(), 0);
}
