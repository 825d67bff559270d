//! Calls that are suspended while they wait for a host function: their workers run other calls meanwhile.

mod sandboxes;

use crate::support::*;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use wpc_host::{
    CallOptions, Error, HostContext, Limits, Options, PendingCall, SuspensionCause,
    WorkerProcedureCall,
};

fn submit(wpc: &WorkerProcedureCall, count: usize) -> Vec<PendingCall<u8>> {
    (0..count).map(|_| wpc.submit::<u8>("f", ()).unwrap()).collect()
}

fn suspended(wpc: &WorkerProcedureCall) -> usize {
    wpc.metrics().suspended_calls
}

#[test]
fn a_worker_runs_other_calls_while_one_is_suspended() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    let gate = define_gate(&wpc);
    wpc.define_worker_function("f", calls_h()).unwrap();
    let calls = submit(&wpc, 20);
    eventually(|| suspended(&wpc) == 20);
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
    assert_eq!(wpc.get_worker_health_states()[0].suspended_call_count, 20);
    gate.open();
    for call in calls {
        assert_eq!(call.wait().unwrap(), 7);
    }
    assert_eq!(suspended(&wpc), 0);
}

#[test]
fn a_function_can_suspend_if_it_imports_an_async_or_blocking_host_function() {
    let wpc = pool(1);
    let can_suspend = || {
        let information = wpc.function_information("f").unwrap();
        let causes = [SuspensionCause::HostFunction("h".to_owned())];
        let expected = if information.can_suspend { &causes[..] } else { &[] };
        assert_eq!(information.suspension_causes, expected);
        information.can_suspend
    };
    wpc.define_worker_function("f", calls_h()).unwrap();
    assert!(!can_suspend(), "the host function is not defined");
    wpc.define_host_function("h", |_, (): ()| Ok::<_, String>(1_u8)).unwrap();
    assert!(!can_suspend(), "the host function runs on the worker's thread");
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 1);
    wpc.define_async_host_function("h", |_, (): ()| async { Ok::<_, String>(2_u8) }).unwrap();
    assert!(can_suspend());
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 2);
    wpc.define_blocking_host_function("h", |_, (): ()| Ok::<_, String>(3_u8)).unwrap();
    assert!(can_suspend());
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 3);
    wpc.define_host_function("h", |_, (): ()| Ok::<_, String>(4_u8)).unwrap();
    assert!(!can_suspend());
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 4);
    wpc.define_worker_function(
        "sliced",
        spinner().limits(Limits::default().time_slice(Duration::from_millis(2))).export("quick"),
    )
    .unwrap();
    let sliced = wpc.function_information("sliced").unwrap();
    let slice = SuspensionCause::TimeSlice(Duration::from_millis(2));
    assert_eq!((sliced.can_suspend, sliced.suspension_causes), (true, vec![slice]));
}

#[test]
fn timers_of_tokio_wake_suspended_calls() {
    let wpc = pool(2);
    wpc.define_async_host_function("h", |_, (): ()| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok::<_, String>(7_u8)
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    // One after the other would take 50 s, longer than their time limit.
    for call in submit(&wpc, 200) {
        assert_eq!(call.wait().unwrap(), 7);
    }
    assert_eq!(wpc.local_worker().call::<u8>("f", ()).unwrap(), 7);
}

#[test]
fn a_suspended_call_ends_at_its_limit_or_cancel_although_its_worker_is_busy() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let gate = define_gate(&wpc);
    wpc.define_worker_function("f", calls_h()).unwrap();
    let cancelled = wpc.submit::<u8>("f", ()).unwrap();
    eventually(|| suspended(&wpc) == 1);
    let limit = CallOptions::new().timeout(Duration::from_millis(500));
    // On a busy machine, the limit may pass before the call is suspended.
    let hasty = loop {
        let hasty = wpc.submit_with::<u8>("f", (), &limit).unwrap();
        eventually(|| suspended(&wpc) == 2 || hasty.is_answered());
        if !hasty.is_answered() {
            break hasty;
        }
    };
    let spinning = spin(&wpc, &events);
    cancelled.cancel();
    assert_eq!(code(cancelled.wait()), "cancelled");
    assert!(matches!(hasty.wait(), Err(Error::Timeout { ran: true, .. })));
    assert!(!spinning.is_answered());
    drop(spinning);
    gate.open();
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 7);
    assert_eq!(suspended(&wpc), 0);
}

#[test]
fn a_call_that_is_suspended_during_a_redefinition_ends_with_the_old_function() {
    let wpc = pool(1);
    let gate = define_gate(&wpc);
    wpc.define_worker_function("f", calls_h()).unwrap();
    let call = wpc.submit::<u8>("f", ()).unwrap();
    eventually(|| suspended(&wpc) == 1);
    wpc.define_worker_function("f", spinner().export("quick")).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 7);
    gate.open();
    assert_eq!(call.wait().unwrap(), 7);
    eventually(|| wpc.get_sandbox_usage().live_instances == 1);
}

#[test]
fn a_stop_waits_for_suspended_calls_and_then_ends_them() {
    let options = Options::default()
        .stop_timeout(Duration::from_millis(30))
        .unresponsive_worker_grace(TEST_TIMEOUT);
    let wpc = pool_with(2, options);
    let gate = define_gate(&wpc);
    wpc.define_worker_function("f", calls_h()).unwrap();
    let calls = submit(&wpc, 50);
    eventually(|| suspended(&wpc) == 50);
    let events = Recorder::new(&wpc);
    wpc.stop_workers();
    for call in calls {
        assert!(matches!(call.wait(), Err(Error::Stopped { ran: true, .. })));
    }
    events.wait_for(|event| {
        assert_ne!(event.event_name(), "worker_error", "no worker is abandoned");
        event.event_name() == "worker_exited"
    });
    assert_eq!(wpc.get_sandbox_usage().live_instances, 0);
    wpc.start_workers(1).unwrap();
    gate.open();
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 7);
}

#[test]
fn suspended_calls_of_an_unresponsive_worker_are_answered() {
    let options = Options::default().unresponsive_worker_grace(Duration::from_millis(20));
    let wpc = pool_with(1, options);
    let gate = define_gate(&wpc);
    wpc.define_worker_function("f", calls_h()).unwrap();
    // The worker is unresponsive if it does not react after this limit.
    let limits = Limits::default().timeout(Duration::from_millis(1));
    let (release, running) = define_blocking(&wpc, "stuck", limits);
    let calls = submit(&wpc, 3);
    eventually(|| suspended(&wpc) == 3);
    let long = CallOptions::new().timeout(TEST_TIMEOUT);
    let stuck = wpc.submit_with::<()>("stuck", (), &long).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    stuck.cancel();
    assert_eq!(code(stuck.wait()), "cancelled");
    for call in calls {
        assert!(matches!(call.wait(), Err(Error::WorkerLost { ran: true, .. })));
    }
    gate.open();
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 7);
    release.open();
}

#[test]
fn a_blocking_host_function_costs_a_helper_thread_but_no_worker() {
    let options = Options::default().max_helper_threads(2);
    let wpc = pool_with(1, options);
    define_sdk(&wpc, &["add"]);
    let gate = Gate::default();
    let closed = gate.clone();
    let (begin, begun) = sync_channel(10);
    wpc.define_blocking_host_function("h", move |context: &HostContext, (): ()| {
        begin.send(()).unwrap();
        if context.correlation_id() == Some("stuck") {
            closed.wait();
        }
        Ok::<_, String>(7_u8)
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    let stuck = CallOptions::new().correlation_id("stuck");
    for abandoned in 1..=3 {
        let call = wpc.submit_with::<u8>("f", (), &stuck).unwrap();
        begun.recv_timeout(TEST_TIMEOUT).unwrap();
        assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
        call.cancel();
        assert!(matches!(call.wait(), Err(Error::Cancelled { ran: true, .. })));
        eventually(|| wpc.metrics().abandoned_helper_threads == abandoned);
    }
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 7);
    gate.open();
    eventually(|| wpc.metrics().abandoned_helper_threads == 0);
    assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0);
}

#[test]
fn a_computation_with_a_time_slice_does_not_hold_the_calls_behind_it() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    define_sdk(&wpc, &["add"]);
    let limits = Limits::default().time_slice(Duration::from_millis(2));
    wpc.define_worker_module(spinner().limits(limits)).unwrap();
    let spinning = spin(&wpc, &events);
    let other = wpc.submit::<()>("spins", ()).unwrap();
    events.wait_for_log("in");
    for _ in 0..20 {
        assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
        assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
    }
    assert!(!spinning.is_answered() && !other.is_answered());
    spinning.cancel();
    assert_eq!(code(spinning.wait()), "cancelled");
    drop(other);
}

#[test]
fn a_pool_has_a_time_slice_for_functions_that_can_suspend() {
    let wpc = pool_with(1, Options::default().time_slice(Duration::from_millis(2)));
    define_gate(&wpc).open();
    // It calls the host and then computes for ever.
    let guest = r#"(module
        (import "wpc-host" "h" (func $h (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (func (export "f")
            (drop (call $h (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 64)))
            (loop br 0)))"#;
    wpc.define_worker_function("f", wat(guest).grant_host_function("h")).unwrap();
    wpc.define_worker_function("quick", spinner().export("quick")).unwrap();
    let causes = wpc.function_information("f").unwrap().suspension_causes;
    assert!(causes.contains(&SuspensionCause::TimeSlice(Duration::from_millis(2))), "{causes:?}");
    assert!(!wpc.function_information("quick").unwrap().can_suspend);
    let computing = wpc.submit::<()>("f", ()).unwrap();
    eventually(|| suspended(&wpc) == 1);
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
    assert!(!computing.is_answered());
}

#[test]
fn a_dependency_can_suspend_its_user() {
    let wpc = pool(1);
    let gate = define_gate(&wpc);
    wpc.define_worker_dependency("waiter", calls_h()).unwrap();
    let user = wat(r#"(module
        (import "wpc:waiter" "f" (func $f (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 2)
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "user") (param i32 i32) (result i64)
            (i64.or (pack 65536 0)
                (call $f (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 1024)))))"#);
    wpc.define_worker_function("user", user).unwrap();
    assert!(wpc.function_information("user").unwrap().can_suspend);
    let calls: Vec<_> = (0..5).map(|_| wpc.submit::<u8>("user", ()).unwrap()).collect();
    eventually(|| suspended(&wpc) == 5);
    gate.open();
    for call in calls {
        assert_eq!(call.wait().unwrap(), 7);
    }
}

#[test]
fn a_future_that_panics_fails_only_its_call() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let wpc = pool(1);
    wpc.define_async_host_function("h", |_, (): ()| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if true {
            panic!("polled");
        }
        Ok::<_, String>(())
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    assert_eq!(code(wpc.call::<u8>("f", ())), "guest_error");
    wpc.define_async_host_function("h", |_, (): ()| {
        let guard = PanicsWhenDropped;
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Ok::<_, String>(())
        }
    })
    .unwrap();
    let call = wpc.submit::<()>("f", ()).unwrap();
    eventually(|| suspended(&wpc) == 1);
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    wpc.define_host_function("h", |_, (): ()| Ok::<_, String>(1_u8)).unwrap();
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 1);
    assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0);
}

#[test]
fn a_call_that_was_suspended_is_freed_when_it_has_ended() {
    let wpc = pool(1);
    let gate = define_gate(&wpc);
    wpc.define_worker_function("f", calls_h()).unwrap();
    let id: Arc<str> = "a call".into();
    let options = CallOptions::new().correlation_id(Arc::clone(&id));
    let call = wpc.submit_with::<u8>("f", (), &options).unwrap();
    eventually(|| suspended(&wpc) == 1);
    gate.open();
    eventually(|| call.is_answered());
    // A request to end a call that has ended does nothing.
    call.cancel();
    drop((call, options));
    eventually(|| Arc::strong_count(&id) == 1);
}

#[test]
fn futures_are_dropped_within_the_runtime() {
    struct Guard(std::sync::mpsc::SyncSender<bool>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.send(tokio::runtime::Handle::try_current().is_ok()).unwrap();
        }
    }
    let wpc = pool(1);
    let (send, receive) = sync_channel(1);
    wpc.define_async_host_function("h", move |_, (): ()| {
        let guard = Guard(send.clone());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Ok::<_, String>(())
        }
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    let call = wpc.submit::<()>("f", ()).unwrap();
    eventually(|| suspended(&wpc) == 1);
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    assert!(receive.recv_timeout(TEST_TIMEOUT).unwrap());
}

#[test]
fn an_async_host_function_can_be_removed_and_defined_again() {
    let wpc = pool(1);
    let gate = define_gate(&wpc);
    gate.open();
    wpc.define_worker_function("f", calls_h()).unwrap();
    assert!(wpc.undefine_host_function("h"));
    assert_eq!(code(wpc.call::<u8>("f", ())), "host_function_not_defined");
    wpc.define_host_function("h", |_, (): ()| Ok::<_, String>(1_u8)).unwrap();
    assert!(!wpc.function_information("f").unwrap().can_suspend);
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 1);
}

#[test]
fn calls_that_fail_together_count_as_one_failure() {
    let limits = Limits::default().timeout(Duration::from_secs(1));
    // On a busy machine, the limit may pass before all are suspended. Then another pool is used.
    eventually(|| {
        let wpc = pool_with(1, immediate_restarts().max_restarts_per_worker(2));
        let gate = define_gate(&wpc);
        wpc.define_worker_function("f", calls_h().limits(limits.clone())).unwrap();
        let calls = submit(&wpc, 10);
        eventually(|| suspended(&wpc) == 10 || calls[0].is_answered());
        if calls[0].is_answered() {
            return false;
        }
        for call in calls {
            assert!(matches!(call.wait(), Err(Error::Timeout { ran: true, .. })));
        }
        // Their callers are answered first.
        eventually(|| wpc.get_sandbox_usage().live_instances == 0);
        gate.open();
        let long = CallOptions::new().timeout(TEST_TIMEOUT);
        let answer = wpc.call_with::<u8>("f", (), &long);
        assert_eq!(answer.unwrap(), 7, "the circuit breaker is closed");
        true
    });
}
