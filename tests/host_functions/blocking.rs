//! Host functions that take a long time or never return: time limits, cancels, and workers that are replaced.

use crate::support::*;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use wpc_host::{CallOptions, Error, HostContext, Limits, Options, WorkerProcedureCall};

#[test]
fn a_slow_host_function_that_checks_its_deadline_delays_neither_caller_nor_worker() {
    let wpc = pool_with(1, Options::default().unresponsive_worker_grace(TEST_TIMEOUT));
    define_sdk(&wpc, &["add"]);
    let (begin, begun) = sync_channel(1);
    let (saw, seen) = sync_channel(1);
    let gate = Gate::default();
    let closed = gate.clone();
    wpc.define_host_function("h", move |context: &HostContext, (): ()| {
        begin.send(()).unwrap();
        closed.wait();
        saw.send(context.should_end()).unwrap();
        Ok::<_, String>(())
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    let options = CallOptions::new().timeout(Duration::from_millis(20));
    timeout_in_host_function(&begun, || {
        pollster::block_on(wpc.submit_with::<()>("f", (), &options).unwrap())
    });
    // The host function continues only now. Its worker was not replaced.
    gate.open();
    assert!(
        seen.recv_timeout(TEST_TIMEOUT).unwrap(),
        "the host function can check whether its call should end"
    );
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
    assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0);
}

#[test]
fn a_call_times_out_although_its_host_function_returns_late() {
    let wpc = pool(1);
    wpc.define_host_function("h", |context: &HostContext, (): ()| {
        while !context.should_end() {
            std::thread::yield_now();
        }
        Ok::<_, String>(())
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    let options = CallOptions::new().timeout(Duration::from_millis(20));
    for _ in 0..3 {
        timeout_while_running(|| wpc.call_with::<()>("f", (), &options));
        wpc.revive_worker_function("f").unwrap();
    }
}

#[test]
fn an_async_host_function_is_dropped_when_its_call_ends() {
    struct Dropped(std::sync::mpsc::SyncSender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let wpc = pool_with(1, immediate_restarts());
    define_sdk(&wpc, &["add"]);
    wpc.define_async_host_function("h", |_, (): ()| async {
        let mut polls = 0;
        std::future::poll_fn(move |context| {
            polls += 1;
            context.waker().wake_by_ref();
            if polls == 3 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        Ok::<_, String>(7_u8)
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    assert_eq!(wpc.call::<u8>("f", ()).unwrap(), 7);

    let (begin, begun) = sync_channel(1);
    let (drops, dropped) = sync_channel(2);
    wpc.define_async_host_function("h", move |_, (): ()| {
        let _ = begin.try_send(());
        let guard = Dropped(drops.clone());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Ok::<_, String>(())
        }
    })
    .unwrap();
    let call = wpc.submit::<()>("f", ()).unwrap();
    begun.recv_timeout(TEST_TIMEOUT).unwrap();
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    dropped.recv_timeout(TEST_TIMEOUT).unwrap();
    let options = CallOptions::new().timeout(Duration::from_millis(20));
    timeout_in_host_function(&begun, || wpc.call_with::<()>("f", (), &options));
    dropped.recv_timeout(TEST_TIMEOUT).unwrap();
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
    assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0);
}

#[test]
fn a_stop_cancels_an_async_host_function_without_abandoning_its_worker() {
    let day = Duration::from_secs(86_400);
    let wpc = pool_with(
        1,
        Options::default()
            .stop_timeout(Duration::from_millis(20))
            .unresponsive_worker_grace(TEST_TIMEOUT),
    );
    let (entered, has_entered) = sync_channel(1);
    wpc.define_async_host_function("h", move |_, (): ()| {
        let _ = entered.send(());
        async {
            std::future::pending::<()>().await;
            Ok::<_, String>(())
        }
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    let events = Recorder::new(&wpc);
    let call = wpc.submit_with::<()>("f", (), &CallOptions::new().timeout(day)).unwrap();
    has_entered.recv_timeout(TEST_TIMEOUT).unwrap();
    wpc.stop_workers();
    assert!(matches!(call.wait(), Err(Error::Stopped { ran: true, .. })));
    events.wait_for(|event| {
        assert_ne!(event.event_name(), "worker_error", "no worker is abandoned");
        event.event_name() == "worker_exited"
    });
}

#[test]
fn cancelling_a_call_whose_host_function_blocks_answers_it_at_once() {
    let wpc = pool(1);
    let (gate, running) = define_blocking(&wpc, "f", Limits::default());
    let call = wpc.submit::<()>("f", ()).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    call.cancel();
    // The host function continues only after the answer.
    assert!(matches!(call.wait(), Err(Error::Cancelled { ran: true, .. })));
    gate.open();
    wpc.call::<()>("f", ()).unwrap();
    assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0);
}

/// A pool with a function `f` that reports that it runs, and does not return before the gate is opened.
fn stuck_at_a_gate(
    workers: usize,
    options: Options,
) -> (WorkerProcedureCall, Gate, std::sync::mpsc::Receiver<()>) {
    let wpc = pool_with(workers, options);
    let (gate, running) = define_blocking(&wpc, "f", Limits::default());
    (wpc, gate, running)
}

#[test]
fn a_host_function_that_keeps_blocking_workers_opens_the_circuit_breaker() {
    let options = immediate_restarts()
        .call_timeout(Duration::from_millis(5))
        .unresponsive_worker_grace(Duration::from_millis(1))
        .max_restarts_per_worker(2);
    let (wpc, gate, running) = stuck_at_a_gate(2, options);
    let events = Recorder::new(&wpc);
    define_sdk(&wpc, &["add"]);
    // A limit that other calls keep on a busy machine.
    let long = CallOptions::new().timeout(TEST_TIMEOUT);
    let adds = || wpc.call_with::<i32>("add", (1, 2), &long).unwrap();
    let mut failed_workers = 0;
    loop {
        match wpc.call::<()>("f", ()).unwrap_err() {
            Error::CircuitOpen { .. } => break,
            Error::Timeout { .. } | Error::WorkerLost { .. } => {
                // Otherwise the call waited during the backoff of its function, or its guest was stopped before it called
                // the host function, so no worker failed.
                if running.try_recv().is_ok() {
                    let error = events.wait_for_name("worker_error");
                    assert!(error.correlation_id.is_some(), "the event names the call");
                    failed_workers += 1;
                }
            }
            other => panic!("{other}"),
        }
        assert_eq!(adds(), 3);
        assert!(failed_workers <= 3, "the circuit breaker opens after two restarts");
    }
    gate.open();
    assert_eq!(adds(), 3);
    assert!(wpc.revive_worker_function("f").unwrap());
    wpc.call_with::<()>("f", (), &long).unwrap();
}

#[test]
fn a_callers_short_limit_or_cancel_neither_replaces_a_worker_nor_counts_as_a_failure() {
    let options = immediate_restarts()
        .unresponsive_worker_grace(Duration::from_millis(1))
        .max_restarts_per_worker(0);
    let (wpc, gate, running) = stuck_at_a_gate(2, options);
    let limit = CallOptions::new().timeout(Duration::from_millis(50));
    // Both workers wait in the host function. One caller chose a short limit, the other one cancels.
    timeout_in_host_function(&running, || wpc.call_with::<()>("f", (), &limit));
    let cancelled = wpc.submit::<()>("f", ()).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    cancelled.cancel();
    assert_eq!(code(cancelled.wait()), "cancelled");
    // The supervisor checks once a millisecond: a hundred checks are later than the grace.
    let limit = CallOptions::new().timeout(Duration::from_millis(100));
    assert_eq!(code(wpc.call_with::<()>("f", (), &limit)), "timeout");
    let restarts =
        || wpc.get_worker_health_states().iter().map(|worker| worker.restart_attempt).sum::<u32>();
    assert_eq!(restarts(), 0);
    gate.open();
    wpc.call::<()>("f", ()).unwrap();
    assert_eq!(restarts(), 0);
}

#[test]
fn a_worker_is_replaced_if_a_host_function_outlives_a_cancelled_call() {
    let options = immediate_restarts()
        .call_timeout(Duration::from_millis(5))
        .unresponsive_worker_grace(Duration::from_millis(1));
    let (wpc, gate, running) = stuck_at_a_gate(1, options);
    let events = Recorder::new(&wpc);
    define_sdk(&wpc, &["add"]);
    let limit = CallOptions::new().timeout(Duration::from_secs(3600));
    let call = wpc.submit_with::<()>("f", (), &limit).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    let behind = wpc.submit_with::<i32>("add", (1, 2), &limit).unwrap();
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    assert_eq!(behind.wait().unwrap(), 3, "the replacement runs the queued call");
    events.wait_for_name("worker_restart_completed");
    gate.open();
}

#[test]
fn an_abandoned_thread_that_ends_late_leaves_the_circuit_breaker_open() {
    let options = immediate_restarts()
        .call_timeout(Duration::from_millis(5))
        .unresponsive_worker_grace(Duration::from_millis(1))
        .max_restarts_per_worker(0);
    let (wpc, gate, running) = stuck_at_a_gate(2, options);
    let events = Recorder::new(&wpc);
    let limit = CallOptions::new().timeout(TEST_TIMEOUT);
    let call = wpc.submit_with::<()>("f", (), &limit).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    events.wait_for_name("circuit_opened");
    gate.open();
    // The abandoned thread ends, and the cool-down of one minute has only begun.
    eventually(|| wpc.get_sandbox_usage().live_instances == 0);
    assert_eq!(code(wpc.call_with::<()>("f", (), &limit)), "circuit_open");
}
