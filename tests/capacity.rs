//! Module instances: which sandboxes hold them, and which are evicted for others.

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

/// Abandons unresponsive workers at once and replaces any number of them.
fn abandons_at_once(max_live_instances: u32) -> Options {
    immediate_restarts()
        .unresponsive_worker_grace(Duration::from_millis(1))
        .max_restarts_per_worker(10_000)
        .max_live_instances(max_live_instances)
}

/// A limit of the definition's own, after which a worker that does not react is abandoned.
fn short() -> Limits {
    Limits::default().timeout(Duration::from_millis(1))
}

/// Cancels a running call to `stuck`, from which its worker does not return.
fn abandon_a_worker(wpc: &WorkerProcedureCall, running: &Receiver<()>) {
    let long = CallOptions::new().timeout(TEST_TIMEOUT);
    let stuck = wpc.submit_with::<()>("stuck", (), &long).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    stuck.cancel();
    assert_eq!(code(stuck.wait()), "cancelled");
}

#[test]
fn an_abandoned_thread_keeps_only_the_instances_of_its_call() {
    let wpc = pool_with(1, abandons_at_once(8));
    define_live(&wpc, 7);
    let (gate, running) = define_blocking(&wpc, "stuck", short());
    let events = Recorder::new(&wpc);
    abandon_a_worker(&wpc, &running);
    events.wait_for_name("worker_restart_completed");
    for value in 0..7 {
        assert_eq!(wpc.call::<i32>(&format!("f{value}"), ()).unwrap(), value);
    }
    gate.open();
}

#[test]
fn a_local_worker_reclaims_idle_instances_of_workers() {
    let wpc = pool_with(2, Options::default().max_live_instances(4));
    define_live(&wpc, 8);
    let mut here = wpc.local_worker();
    for value in 0..8 {
        assert_eq!(here.call::<i32>(&format!("f{value}"), ()).unwrap(), value);
    }
}

#[test]
fn idle_workers_release_even_their_most_recent_sandbox() {
    let wpc = pool_with(1, Options::default().max_live_instances(1));
    define_live(&wpc, 1);
    let here = || wpc.local_worker().call::<i32>("f0", ());
    assert_eq!(with_instances(here).unwrap(), 0);
    assert_eq!(wpc.call::<i32>("f0", ()).unwrap(), 0);
}

#[test]
fn instances_of_running_calls_are_not_reclaimed() {
    let wpc = pool_with(1, Options::default().max_live_instances(1));
    define_live(&wpc, 1);
    let (gate, running) = define_blocking(&wpc, "stuck", short());
    let long = CallOptions::new().timeout(TEST_TIMEOUT);
    let stuck = wpc.submit_with::<()>("stuck", (), &long).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    let error = wpc.local_worker().call::<i32>("f0", ()).unwrap_err();
    assert!(matches!(error, Error::InstancesInUse { needed: 1, limit: 1, .. }), "{error}");
    assert!(error.retry_can_help());
    gate.open();
    stuck.wait().unwrap();
    let here = || wpc.local_worker().call::<i32>("f0", ());
    assert_eq!(with_instances(here).unwrap(), 0);
}

#[test]
fn waiting_for_instances_past_the_time_limit_is_not_a_failure_of_the_function() {
    let wpc = pool_with(1, Options::default().max_live_instances(1));
    let (gate, running) = define_blocking(&wpc, "stuck", Limits::default());
    let waits = returns(0).export("get").limits(short());
    wpc.define_worker_function("waits", waits).unwrap();
    let stuck = wpc.submit::<()>("stuck", ()).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    let result = wpc.local_worker().call::<i32>("waits", ());
    assert!(matches!(result, Err(Error::Timeout { ran: false, .. })), "{result:?}");
    let metrics = wpc.metrics().functions.into_iter().find(|function| function.name == "waits");
    assert_eq!(metrics.unwrap().sandbox_failures, 0);
    gate.open();
    stuck.wait().unwrap();
}

#[test]
fn no_idle_sandbox_is_dropped_for_a_call_that_gets_no_instances() {
    let wpc = pool_with(1, Options::default().max_live_instances(3));
    define_sdk(&wpc, &["count"]);
    wpc.define_worker_dependency("one", returns(1)).unwrap();
    wpc.define_worker_dependency("two", returns(2)).unwrap();
    let large = wat(r#"(module
        (import "one" "get" (func $one (result i32))) (import "two" "get" (func $two (result i32)))
        (func (export "f") (result i32) (i32.add (call $one) (call $two))))"#);
    wpc.define_worker_function("large", large.export("f")).unwrap();
    let (gate, running) = define_blocking(&wpc, "stuck", Limits::default());
    let stuck = wpc.submit::<()>("stuck", ()).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    let mut here = wpc.local_worker();
    assert_eq!(here.call::<u64>("count", ()).unwrap(), 1);
    assert_eq!(code(here.call::<i32>("large", ())), "instances_in_use");
    assert_eq!(here.call::<u64>("count", ()).unwrap(), 2, "its sandbox is still there");
    gate.open();
    stuck.wait().unwrap();
    assert_eq!(with_instances(|| here.call::<i32>("large", ())).unwrap(), 3);
}

#[test]
fn a_sandbox_may_exceed_the_share_of_one_worker() {
    let wpc = pool_with(4, Options::default().max_live_instances(4));
    wpc.define_worker_dependency("base", returns(1)).unwrap();
    let user = wat(r#"(module (import "base" "get" (func $get (result i32)))
        (func (export "f") (result i32) call $get))"#);
    wpc.define_worker_function("f", user).unwrap();
    for key in 0..16 {
        let options = CallOptions::new().affinity(key);
        let call = || wpc.call_with::<i32>("f", (), &options);
        assert_eq!(with_instances(call).unwrap(), 1);
    }
}

#[test]
fn calls_are_rejected_at_once_when_the_limit_of_abandoned_threads_is_reached() {
    let wpc = pool_with(1, abandons_at_once(1_000));
    define_live(&wpc, 1);
    let (gate, running) = define_blocking(&wpc, "stuck", short());
    let events = Recorder::new(&wpc);
    for abandoned in 1..=64 {
        abandon_a_worker(&wpc, &running);
        events.wait_for_name("worker_error");
        if abandoned < 64 {
            events.wait_for_name("worker_restart_completed");
        }
    }
    let limit = CallOptions::new().timeout(Duration::from_secs(3600));
    assert_eq!(code(wpc.call_with::<i32>("f0", (), &limit)), "no_ready_workers");
    gate.open();
    events.wait_for_name("worker_restart_completed");
    assert_eq!(wpc.call_with::<i32>("f0", (), &limit).unwrap(), 0);
}
