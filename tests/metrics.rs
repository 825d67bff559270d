//! The snapshot of a pool's metrics: what counts, when, and where.

use crate::support::*;
use std::time::Duration;
use wpc_host::{
    CallOptions, ErrorCode, FunctionMetrics, Latencies, Limits, Options, PendingCall, PoolMetrics,
    WorkerProcedureCall,
};

fn of(wpc: &WorkerProcedureCall, name: &str) -> FunctionMetrics {
    let functions = wpc.metrics().functions;
    functions.into_iter().find(|function| function.name == name).unwrap()
}

fn failed(wpc: &WorkerProcedureCall, name: &str, code: ErrorCode) -> u64 {
    of(wpc, name).calls.failed.get(&code).copied().unwrap_or_default()
}

#[test]
fn a_new_pool_has_no_calls_and_is_saturated() {
    let metrics = stopped(Options::default()).metrics();
    assert_eq!((metrics.calls.total(), metrics.pending_call_limit), (0, 0));
    assert_eq!(metrics.saturation(), 1.0);
    assert_eq!((metrics.functions, metrics.workers), (vec![], vec![]));
}

#[test]
fn a_snapshot_reads_back_from_json() {
    let wpc = pool(2);
    wpc.collect_latencies(true);
    define_sdk(&wpc, &["add", "fails"]);
    wpc.call::<i32>("add", (1, 2)).unwrap();
    wpc.call::<()>("fails", (1,)).unwrap_err();
    let metrics = wpc.metrics();
    let json = serde_json::to_string(&metrics).unwrap();
    assert_eq!(serde_json::from_str::<PoolMetrics>(&json).unwrap(), metrics);
}

#[test]
fn a_call_that_was_answered_while_it_ran_counts_and_is_observed_as_answered() {
    let wpc = pool(1);
    let (send, observed) = std::sync::mpsc::channel();
    wpc.observe_finished_calls(move |call| send.send(call.error).unwrap());
    let (gate, running) = define_blocking(&wpc, "stuck", Limits::default());
    let short = CallOptions::new().timeout(Duration::from_millis(200));
    let mut calls = 0;
    // On a busy machine, the limit may pass before the guest calls the host function.
    let call = loop {
        let call = wpc.submit_with::<()>("stuck", (), &short).unwrap();
        calls += 1;
        eventually(|| call.is_answered());
        if running.try_recv().is_ok() {
            break call;
        }
    };
    // The worker would answer that it was cancelled.
    call.cancel();
    gate.open();
    assert_eq!(observed.recv_timeout(TEST_TIMEOUT).unwrap(), Some(ErrorCode::Timeout));
    eventually(|| of(&wpc, "stuck").calls.total() == calls);
    assert_eq!(of(&wpc, "stuck").calls.failed, [(ErrorCode::Timeout, calls)].into());
}

#[test]
fn calls_count_by_outcome_for_their_function_and_for_the_pool() {
    let wpc = pool(2);
    define_sdk(&wpc, &["add", "fails"]);
    wpc.define_worker_function("traps", wat(r#"(module (func (export "f") unreachable))"#))
        .unwrap();
    let calls: Vec<PendingCall<i32>> =
        (0..100).map(|number| wpc.submit("add", (number, 0)).unwrap()).collect();
    for call in calls {
        call.wait().unwrap();
    }
    let mut here = wpc.local_worker();
    for _ in 0..10 {
        here.call::<i32>("add", (1, 2)).unwrap();
        here.call::<()>("fails", (1,)).unwrap_err();
        wpc.call::<()>("fails", (1,)).unwrap_err();
    }
    wpc.call::<()>("traps", ()).unwrap_err();
    assert_eq!(of(&wpc, "add").calls.succeeded, 110);
    assert_eq!(of(&wpc, "add").calls.failed, [].into());
    assert_eq!(of(&wpc, "fails").calls.failed, [(ErrorCode::Guest, 20)].into());
    assert_eq!(of(&wpc, "traps").calls.failed, [(ErrorCode::Trap, 1)].into());
    let metrics = wpc.metrics();
    assert_eq!(metrics.calls.succeeded, 110);
    assert_eq!(metrics.calls.failed, [(ErrorCode::Guest, 20), (ErrorCode::Trap, 1)].into());
    assert_eq!(metrics.calls.total(), 131);
}

#[test]
fn refused_calls_count_by_their_code() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    let mut here = wpc.local_worker();
    for _ in 0..2 {
        wpc.call::<i32>("add", (1_u8, 2)).unwrap_err();
        here.call::<i32>("add", (1_u8, 2)).unwrap_err();
    }
    wpc.call::<i32>("nothing_of_this_name", ()).unwrap_err();
    here.call::<i32>("nothing_of_this_name", ()).unwrap_err();
    wpc.call_json("add", &[]).unwrap_err();
    wpc.call_with::<i32>("add", (1, 2), &CallOptions::new().fuel(1)).unwrap_err();
    wpc.stop_workers();
    wpc.call::<i32>("add", (1, 2)).unwrap_err();
    here.call::<i32>("add", (1, 2)).unwrap_err();
    let calls = of(&wpc, "add").calls;
    assert_eq!(calls.succeeded, 0);
    assert_eq!(calls.failed[&ErrorCode::SignatureMismatch], 4);
    assert_eq!(calls.failed[&ErrorCode::InvalidCallOptions], 1);
    assert_eq!(calls.failed[&ErrorCode::NotRunning], 2);
    assert_eq!(calls.failed.values().sum::<u64>(), 8, "{calls:?}");
    let calls = wpc.metrics().calls;
    assert_eq!((calls.failed[&ErrorCode::FunctionNotDefined], calls.total()), (2, 10));
}

#[test]
fn calls_that_end_in_a_queue_count_when_their_slot_is_freed() {
    let wpc = pool_with(1, Options::default().max_pending_calls_per_worker(2));
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    let cancelled = wpc.submit::<i32>("quick", ()).unwrap();
    let metrics = wpc.metrics();
    assert_eq!((metrics.pending_calls, metrics.pending_call_limit), (2, 2));
    assert_eq!(metrics.saturation(), 1.0);
    assert_eq!(code(wpc.submit::<i32>("quick", ()).map(|_| ())), "saturated");
    cancelled.cancel();
    let short = CallOptions::new().wait_for_capacity().timeout(Duration::from_millis(5));
    let expired = wpc.submit_with::<i32>("quick", (), &short).unwrap();
    assert_eq!(code(expired.wait()), "timeout");
    drop(spinning);
    eventually(|| of(&wpc, "quick").calls.total() == 3);
    for code in [ErrorCode::Cancelled, ErrorCode::Timeout, ErrorCode::Saturated] {
        assert_eq!(failed(&wpc, "quick", code), 1, "{code}");
    }
    eventually(|| failed(&wpc, "spins", ErrorCode::Cancelled) == 1);
    assert_eq!(wpc.metrics().calls.total(), 4);
}

#[test]
fn waiting_calls_are_a_gauge() {
    let wpc = pool_with(1, Options::default().max_pending_calls_per_worker(1));
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    let wait = CallOptions::new().wait_for_capacity();
    let waiting = wpc.submit_with::<i32>("quick", (), &wait).unwrap();
    eventually(|| wpc.metrics().waiting_calls == 1);
    drop(spinning);
    assert_eq!(waiting.wait().unwrap(), 7);
    eventually(|| wpc.metrics().waiting_calls == 0);
    assert_eq!(of(&wpc, "quick").calls.succeeded, 1);
}

#[test]
fn warm_ups_do_not_count() {
    let wpc = pool(2);
    define_sdk(&wpc, &["add"]);
    wpc.warm_worker_function("add").unwrap();
    assert_eq!(wpc.metrics().calls.total(), 0);
    let function = of(&wpc, "add");
    assert_eq!((function.live_sandboxes, function.breakers.closed), (2, 2));
}

#[test]
fn fuel_is_summed_whatever_the_outcome() {
    let wpc = pool_with(1, immediate_restarts());
    let limits = Limits::default().fuel(100_000);
    wpc.define_worker_module(guest("sdk").limits(limits)).unwrap();
    let answer = wpc.submit::<i32>("add", (1, 2)).unwrap().wait_answer().unwrap();
    let used = answer.metadata.fuel_used.unwrap();
    assert_eq!(of(&wpc, "add").fuel_used, used);
    assert_eq!(code(wpc.call::<()>("spins", ())), "out_of_fuel");
    let spent = of(&wpc, "spins").fuel_used;
    assert!(spent >= 99_000, "{spent}");
    assert_eq!(wpc.metrics().fuel_used, used + spent);
}

#[test]
fn counters_continue_across_redefinitions_restarts_and_stops() {
    let wpc = pool_with(1, immediate_restarts());
    define_sdk(&wpc, &["add"]);
    wpc.call::<i32>("add", (1, 2)).unwrap();
    define_sdk(&wpc, &["add"]);
    wpc.call::<i32>("add", (1, 2)).unwrap();
    wpc.stop_workers();
    assert_eq!(of(&wpc, "add").live_sandboxes, 0);
    wpc.start_workers(2).unwrap();
    wpc.call::<i32>("add", (1, 2)).unwrap();
    drop(wpc.local_worker());
    wpc.local_worker().call::<i32>("add", (1, 2)).unwrap();
    assert_eq!(of(&wpc, "add").calls.succeeded, 4);
    assert_eq!(wpc.metrics().calls.succeeded, 4);
}

#[test]
fn an_undefined_function_is_dropped_and_its_calls_stay_in_the_pools_sum() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    wpc.call::<i32>("add", (1, 2)).unwrap();
    assert!(wpc.undefine_worker_function("add"));
    let metrics = wpc.metrics();
    assert_eq!((metrics.functions.len(), metrics.calls.succeeded), (0, 1));
    define_sdk(&wpc, &["add"]);
    wpc.call::<i32>("add", (1, 2)).unwrap();
    assert_eq!((of(&wpc, "add").calls.succeeded, wpc.metrics().calls.succeeded), (1, 2));
}

#[test]
fn failures_of_a_sandbox_and_its_circuit_breaker_are_shown() {
    let wpc = pool_with(1, immediate_restarts().max_restarts_per_worker(1));
    wpc.define_worker_function("f", traps_until_calm()).unwrap();
    assert_eq!(of(&wpc, "f").breakers.closed, 1);
    while code(wpc.call::<()>("f", ())) != "circuit_open" {}
    let function = of(&wpc, "f");
    assert_eq!((function.sandbox_failures, function.breakers.open), (2, 1));
    assert_eq!((function.breakers.closed, function.live_sandboxes), (0, 0));
    assert_eq!(failed(&wpc, "f", ErrorCode::Trap), 2);
    assert!(failed(&wpc, "f", ErrorCode::CircuitOpen) >= 1);
}

#[test]
fn a_replaced_worker_counts_and_so_does_the_call_that_it_ran() {
    failing_subscriber::install();
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_function("f", failing_subscriber::logs("panic the host")).unwrap();
    assert_eq!(code(wpc.call::<()>("f", ())), "worker_lost");
    eventually(|| wpc.metrics().worker_restarts == 1);
    eventually(|| failed(&wpc, "f", ErrorCode::WorkerLost) == 1);
    assert_eq!(wpc.metrics().calls.total(), 1);
}

#[test]
fn an_unresponsive_call_counts_once_although_its_thread_returns_later() {
    let options = immediate_restarts()
        .call_timeout(Duration::from_millis(50))
        .unresponsive_worker_grace(Duration::from_millis(20));
    let wpc = pool_with(1, options);
    let (gate, running) = define_blocking(&wpc, "stuck", Limits::default());
    let long = CallOptions::new().timeout(TEST_TIMEOUT);
    let call = wpc.submit_with::<()>("stuck", (), &long).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    call.cancel();
    call.wait().unwrap_err();
    eventually(|| wpc.metrics().worker_restarts == 1);
    assert_eq!(wpc.metrics().abandoned_threads, 1);
    gate.open();
    eventually(|| wpc.metrics().abandoned_threads == 0);
    assert_eq!(failed(&wpc, "stuck", ErrorCode::Cancelled), 1);
    assert_eq!(wpc.metrics().calls.total(), 1);
}

#[test]
fn sandboxes_and_their_memory_are_gauges() {
    let wpc = pool(1);
    let module = wat(r#"(module (memory 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#);
    wpc.define_worker_function("grow", module).unwrap();
    assert_eq!((of(&wpc, "grow").live_sandboxes, of(&wpc, "grow").memory_bytes), (0, 0));
    assert_eq!(wpc.call::<i32>("grow", (2,)).unwrap(), 1);
    let function = of(&wpc, "grow");
    assert_eq!((function.live_sandboxes, function.memory_bytes), (1, 3 * 65_536));
    wpc.stop_workers();
    assert_eq!((of(&wpc, "grow").live_sandboxes, of(&wpc, "grow").memory_bytes), (0, 0));
}

#[test]
fn latencies_are_collected_on_request() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    wpc.call::<i32>("add", (1, 2)).unwrap();
    assert_eq!(of(&wpc, "add").latencies, Latencies::default());
    wpc.collect_latencies(true);
    let mut here = wpc.local_worker();
    for _ in 0..3 {
        wpc.call::<i32>("add", (1, 2)).unwrap();
    }
    here.call::<i32>("add", (1, 2)).unwrap();
    let latencies = of(&wpc, "add").latencies;
    assert_eq!(latencies.run_time.count(), 4);
    assert_eq!(latencies.queue_wait.count(), 3, "a local call does not wait");
    assert!(latencies.run_time.sum > Duration::ZERO);
    let (bound, count) = latencies.run_time.cumulative().last().unwrap();
    assert_eq!((bound, count), (f64::INFINITY, 4));
    assert_eq!(wpc.metrics().latencies, latencies);
    wpc.collect_latencies(false);
    wpc.call::<i32>("add", (1, 2)).unwrap();
    assert_eq!(of(&wpc, "add").latencies, latencies, "what was collected stays");
}

#[test]
fn a_value_that_its_caller_cannot_decode_counts_on_every_worker_alike() {
    let wpc = pool(1);
    wpc.define_worker_function(
        "f",
        wat(r#"(module (func (export "f") (result i32) i32.const 1))"#),
    )
    .unwrap();
    wpc.call::<String>("f", ()).unwrap_err();
    let on_a_worker = of(&wpc, "f").calls;
    assert_eq!(on_a_worker.total(), 1);
    wpc.local_worker().call::<String>("f", ()).unwrap_err();
    let both = of(&wpc, "f").calls;
    assert_eq!((both.succeeded, both.total()), (2 * on_a_worker.succeeded, 2));
}

#[test]
fn a_call_with_a_late_host_function_counts_as_its_caller_was_answered() {
    let wpc = pool_with(1, Options::default().unresponsive_worker_grace(TEST_TIMEOUT));
    let (gate, running) = define_blocking(&wpc, "late", Limits::default());
    let call = wpc.submit::<()>("late", ()).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    assert_eq!(of(&wpc, "late").calls.total(), 0, "its worker still runs it");
    gate.open();
    eventually(|| failed(&wpc, "late", ErrorCode::Cancelled) == 1);
    assert_eq!(of(&wpc, "late").calls.total(), 1);
}
