//! Sandboxes of calls that are suspended: how many there are, and what waits for them.

use super::{define_gate, submit, suspended};
use crate::support::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wpc_host::{CallOptions, Error, Limits, Options};

#[test]
fn concurrent_calls_have_sandboxes_of_their_own_up_to_a_limit() {
    let wpc = pool(1);
    let gate = define_gate(&wpc);
    let limits = Limits::default().max_concurrent_calls(3);
    wpc.define_worker_function("f", calls_h().limits(limits)).unwrap();
    let calls = submit(&wpc, 10);
    eventually(|| suspended(&wpc) == 3);
    let health = &wpc.get_worker_health_states()[0];
    assert_eq!((health.pending_call_count, health.suspended_call_count), (10, 3));
    assert_eq!(wpc.get_sandbox_usage().live_instances, 3);
    calls[9].cancel();
    gate.open();
    for (number, call) in calls.into_iter().enumerate() {
        match number {
            9 => assert_eq!(code(call.wait()), "cancelled"),
            _ => assert_eq!(call.wait().unwrap(), 7),
        }
    }
    assert_eq!(wpc.get_sandbox_usage().live_instances, 1, "surplus sandboxes are dropped");
}

#[test]
fn calls_wait_for_instances_that_suspended_calls_use() {
    let wpc = pool_with(1, Options::default().max_live_instances(2));
    let gate = define_gate(&wpc);
    wpc.define_worker_function("f", calls_h()).unwrap();
    let calls = submit(&wpc, 6);
    eventually(|| gate.waiting() == 2);
    gate.open();
    for call in calls {
        assert_eq!(call.wait().unwrap(), 7);
    }
}

#[test]
fn the_time_limit_of_a_call_that_waits_for_a_sandbox_ends_it() {
    let wpc = pool(1);
    let gate = define_gate(&wpc);
    let limits = Limits::default().max_concurrent_calls(1);
    wpc.define_worker_function("f", calls_h().limits(limits)).unwrap();
    let first = wpc.submit::<u8>("f", ()).unwrap();
    eventually(|| suspended(&wpc) == 1);
    // Its caller does not wait, so only the pool can end it.
    let options = CallOptions::new().timeout(Duration::from_millis(200));
    let second = wpc.submit_with::<u8>("f", (), &options).unwrap();
    let third = wpc.submit::<u8>("f", ()).unwrap();
    eventually(|| second.is_answered());
    assert!(matches!(second.wait(), Err(Error::Timeout { ran: false, .. })));
    gate.open();
    assert_eq!(first.wait().unwrap(), 7);
    assert_eq!(third.wait().unwrap(), 7);
}

#[test]
fn calls_that_would_wait_for_a_sandbox_go_to_another_worker() {
    let wpc = pool(2);
    let gate = define_gate(&wpc);
    let limits = Limits::default().max_concurrent_calls(1);
    wpc.define_worker_function("f", calls_h().limits(limits)).unwrap();
    let calls = submit(&wpc, 4);
    eventually(|| suspended(&wpc) == 2);
    gate.open();
    for call in calls {
        assert_eq!(call.wait().unwrap(), 7);
    }
}

#[test]
fn instances_that_other_workers_free_are_used_by_calls_that_wait() {
    let wpc = pool_with(2, Options::default().max_live_instances(2));
    let gate = define_gate(&wpc);
    wpc.define_worker_function("f", calls_h()).unwrap();
    // More calls than instances, on both workers.
    let calls = submit(&wpc, 8);
    eventually(|| suspended(&wpc) == 2);
    gate.open();
    for call in calls {
        assert_eq!(call.wait().unwrap(), 7);
    }
}

#[test]
fn suspended_calls_leave_instances_for_other_functions() {
    let options = Options::default().max_live_instances(4).max_suspended_instances(2);
    let wpc = pool_with(2, options);
    define_sdk(&wpc, &["add"]);
    let gate = define_gate(&wpc);
    wpc.define_worker_function("f", calls_h()).unwrap();
    let calls = submit(&wpc, 10);
    eventually(|| suspended(&wpc) == 2);
    for _ in 0..10 {
        assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
    }
    assert_eq!(suspended(&wpc), 2);
    gate.open();
    for call in calls {
        assert_eq!(call.wait().unwrap(), 7);
    }
    // More instances than such calls may use at once.
    wpc.define_worker_dependency("one", calls_h()).unwrap();
    wpc.define_worker_dependency("two", calls_h()).unwrap();
    let user = r#"(module
        (import "wpc:one" "f" (func (param i32 i32 i32 i32) (result i64)))
        (import "wpc:two" "f" (func (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1) (func (export "user")))"#;
    let refused = wpc.define_worker_function("user", wat(user)).unwrap_err();
    assert!(matches!(refused, Error::TooManyInstances { needed: 3, limit: 2, .. }), "{refused}");
}

#[test]
fn calls_that_wait_for_instances_begin_in_their_order_whatever_their_function() {
    // The supervisor inspects the calls that wait now and then. Calls that can begin at that moment may begin in another
    // order. Then another pool is used.
    eventually(|| order_of_calls_that_wait_for_instances() == [0, 1, 2, 3, 4, 5, 6, 7]);
}

/// The numbers of eight calls to two functions in the order in which they begin, one at a time.
fn order_of_calls_that_wait_for_instances() -> Vec<usize> {
    let options = Options::default().max_live_instances(4).max_suspended_instances(1);
    let wpc = pool_with(1, options);
    let (gate, begun) = (AsyncGate::default(), Arc::<Mutex<Vec<usize>>>::default());
    let (closed, order) = (gate.clone(), Arc::clone(&begun));
    wpc.define_async_host_function("h", move |context, (): ()| {
        let number = context.correlation_id().unwrap().parse().unwrap();
        order.lock().unwrap().push(number);
        let opened = closed.clone().opened();
        async move {
            opened.await;
            Ok::<_, String>(7_u8)
        }
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    wpc.define_worker_function("g", calls_h().export("f")).unwrap();
    let submit = |number: usize| {
        let options = CallOptions::new().correlation_id(number.to_string());
        let name = if number.is_multiple_of(2) { "f" } else { "g" };
        wpc.submit_with::<u8>(name, (), &options).unwrap()
    };
    let calls: Vec<_> = (0..8).map(submit).collect();
    eventually(|| suspended(&wpc) == 1);
    gate.open();
    for call in calls {
        assert_eq!(call.wait().unwrap(), 7);
    }
    std::mem::take(&mut *begun.lock().unwrap())
}

#[test]
fn a_warm_up_that_ends_suspended_does_not_count_as_a_call() {
    let wpc = pool_with(1, Options::default().stop_timeout(Duration::from_millis(20)));
    let gate = define_gate(&wpc);
    let waits = wat(r#"(module
        (import "wpc-host" "h" (func $h (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (func $start (drop (call $h (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 64))))
        (start $start)
        (func (export "f")))"#);
    wpc.define_worker_function("f", waits.grant_host_function("h")).unwrap();
    let warm = wpc.warm_worker_function_async("f");
    eventually(|| suspended(&wpc) == 1);
    wpc.stop_workers();
    assert_eq!(code(pollster::block_on(warm)), "stopped");
    let calls = wpc.metrics().functions[0].calls.total();
    assert_eq!((gate.waiting(), calls), (1, 0));
}
