//! Events: their order, their shape, and the isolation of listeners.

use crate::support::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use wpc_host::{
    CallOptions, Error, ErrorCode, EventDetails, EventSource, FailureSeverities, HealthState,
    Options, Severity,
};

/// Options with which no worker is reported as degraded because its thread waits for a core.
fn only_own_events() -> Options {
    Options::default().unresponsive_worker_grace(TEST_TIMEOUT)
}

#[test]
fn a_start_and_a_stop_report_each_step_in_order() {
    let wpc = stopped(Options::default());
    let events = Recorder::new(&wpc);
    wpc.start_workers(1).unwrap();
    let mut names = Vec::new();
    loop {
        let event = events.wait_for(|_| true);
        assert!(event.worker_id.is_some());
        names.push(event.event_name());
        // A worker takes calls before it reports that it is ready.
        if event.event_name() == "worker_ready" {
            wpc.stop_workers();
        }
        let is_last = matches!(
            event.details,
            EventDetails::WorkerHealthStateChanged { health_state: HealthState::Stopped, .. }
        );
        if is_last {
            break;
        }
    }
    assert_eq!(
        names,
        [
            "worker_spawned",
            "worker_health_state_changed",
            "worker_ready",
            "worker_shutdown_requested",
            "worker_exited",
            "worker_health_state_changed"
        ]
    );
}

#[test]
fn a_failure_and_its_recovery_report_each_step_in_order() {
    let wpc = pool_with(1, immediate_restarts().unresponsive_worker_grace(TEST_TIMEOUT));
    wpc.define_worker_function("f", traps_until_calm()).unwrap();
    let events = Recorder::new(&wpc);
    assert_eq!(code(wpc.call::<()>("f", ())), "trap");
    wpc.define_worker_constant("calm", &()).unwrap();
    wpc.call::<()>("f", ()).unwrap();
    events.wait_for_name("call_execution_failed");
    let failed = events.wait_for_name("sandbox_failed");
    assert_eq!((failed.source, failed.severity), (EventSource::Worker, Severity::Warn));
    assert_eq!(failed.error.unwrap().stack, "at function 2");
    let scheduled = events.wait_for_name("sandbox_restart_scheduled");
    assert_eq!(scheduled.correlation_id, failed.correlation_id);
    let EventDetails::SandboxRestartScheduled { restart_attempt, .. } = scheduled.details else {
        panic!()
    };
    assert_eq!(restart_attempt, 1);
    let degraded = events.wait_for_name("worker_health_state_changed");
    let EventDetails::WorkerHealthStateChanged { health_state, reason } = degraded.details else {
        panic!()
    };
    assert_eq!(
        (health_state, reason.as_deref()),
        (HealthState::Degraded, Some("function \"f\" backs off"))
    );
    let recovered = events.wait_for_name("sandbox_recovered");
    assert_ne!(recovered.correlation_id, failed.correlation_id);
    let ready = events.wait_for_name("worker_health_state_changed");
    assert!(matches!(
        ready.details,
        EventDetails::WorkerHealthStateChanged { health_state: HealthState::Ready, .. }
    ));
    assert!(ready.event_id > recovered.event_id);
}

#[test]
fn a_panicking_listener_is_reported_to_the_others_and_stays_registered() {
    let wpc = pool(1);
    define_sdk(&wpc, &["speak"]);
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heard);
    wpc.on_worker_event(move |event| {
        if matches!(event.details, EventDetails::GuestLog { .. }) {
            counter.fetch_add(1, Ordering::SeqCst);
            panic!("intended by the test");
        }
    })
    .unwrap();
    let events = Recorder::new(&wpc);
    for _ in 0..2 {
        wpc.call::<()>("speak", ("x",)).unwrap();
        events.wait_for_name("listener_panicked");
    }
    assert_eq!(heard.load(Ordering::SeqCst), 2);
}

#[test]
fn a_blocked_listener_loses_events_but_delays_no_calls() {
    let wpc = pool_with(1, only_own_events().max_waiting_events(4));
    define_sdk(&wpc, &["speak", "add"]);
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (entered, has_entered) = channel();
    let (sender, counts) = channel();
    let held = Arc::clone(&gate);
    wpc.on_worker_event(move |event| {
        if let EventDetails::EventsDropped { count } = event.details {
            let _ = sender.send(count);
        }
        let _ = entered.send(());
        let open = held.0.lock().unwrap();
        drop(held.1.wait_while(open, |open| !*open));
    })
    .unwrap();
    wpc.call::<()>("speak", ("first",)).unwrap();
    has_entered.recv_timeout(TEST_TIMEOUT).unwrap();
    for _ in 0..20 {
        wpc.call::<()>("speak", ("more",)).unwrap();
        assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
    }
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert_eq!(counts.recv_timeout(TEST_TIMEOUT).unwrap(), 16, "of 20 events, 4 were queued");
}

#[test]
fn a_removed_listener_receives_no_more_events() {
    let wpc = pool(1);
    define_sdk(&wpc, &["speak"]);
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heard);
    let listener = wpc
        .on_worker_event(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
    assert!(wpc.off_worker_event(listener));
    assert!(!wpc.off_worker_event(listener), "the listener is removed");
    let others = Recorder::new(&wpc);
    wpc.call::<()>("speak", ("x",)).unwrap();
    others.wait_for_log("x");
    assert_eq!(heard.load(Ordering::SeqCst), 0);
}

#[test]
fn a_listener_may_use_the_pool_and_drop_it_last() {
    let wpc = pool(1);
    define_sdk(&wpc, &["speak", "add"]);
    let (send, receive) = channel();
    let inner = Mutex::new(Some(wpc.clone()));
    let listener = wpc
        .on_worker_event(move |event| {
            if matches!(event.details, EventDetails::GuestLog { .. })
                && let Some(wpc) = inner.lock().unwrap().take()
            {
                let _ = send.send(wpc.call::<i32>("add", (1, 2)).unwrap());
            }
        })
        .unwrap();
    wpc.call::<()>("speak", ("x",)).unwrap();
    assert_eq!(receive.recv_timeout(TEST_TIMEOUT).unwrap(), 3);
    wpc.off_worker_event(listener);
}

#[test]
fn every_finished_call_is_observed_with_its_durations() {
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_module(spinner()).unwrap();
    let (send, finished) = std::sync::mpsc::channel();
    let send = std::sync::Mutex::new(send);
    wpc.observe_finished_calls(move |call| send.lock().unwrap().send(call.clone()).unwrap());
    let answer = wpc.submit::<i32>("quick", ()).unwrap().wait_answer().unwrap();
    let call = finished.recv_timeout(TEST_TIMEOUT).unwrap();
    assert_eq!((&*call.function_name, call.error), ("quick", None));
    assert_eq!(call.function_hash_sha1, answer.metadata.function_hash_sha1);
    assert_eq!(call.worker_id, answer.metadata.worker_id);
    let limit = CallOptions::new().timeout(Duration::from_millis(20));
    let mut id = None;
    timeout_while_running(|| {
        let spinning = wpc.submit_with::<()>("spins", (), &limit).unwrap();
        id = Some(spinning.id());
        spinning.wait()
    });
    let call = finished.recv_timeout(TEST_TIMEOUT).unwrap();
    assert_eq!((Some(call.call_id), call.error), (id, Some(ErrorCode::Timeout)));
    assert!(call.queued + call.ran >= Duration::from_millis(20));
    assert_eq!(wpc.local_worker().call::<i32>("quick", ()).unwrap(), 7);
    assert_eq!(finished.recv_timeout(TEST_TIMEOUT).unwrap().queued, Duration::ZERO);
    // A panicking observer has no effect on calls, and a removed one is not called.
    wpc.observe_finished_calls(|_| panic!("intended by the test"));
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
    wpc.stop_observing_finished_calls();
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
    assert!(finished.try_recv().is_err());
}

#[test]
fn a_worker_whose_observer_does_not_return_is_degraded_meanwhile() {
    let wpc = pool_with(1, Options::default().unresponsive_worker_grace(Duration::from_millis(1)));
    wpc.define_worker_module(spinner()).unwrap();
    let gate = Gate::default();
    let own_gate = gate.clone();
    wpc.observe_finished_calls(move |_| own_gate.wait());
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
    let health = || wpc.get_worker_health_states()[0].health_state;
    eventually(|| health() == HealthState::Degraded);
    gate.open();
    eventually(|| health() == HealthState::Ready);
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
    assert_eq!(wpc.metrics().worker_restarts, 0);
}

#[test]
fn the_severity_of_a_failed_call_depends_on_its_error() {
    let severities = FailureSeverities::new().limit(Severity::Error);
    let wpc = pool_with(1, immediate_restarts().failure_severities(severities));
    let events = Recorder::new(&wpc);
    let error_of = |function: &str, limit: Duration| {
        let options = CallOptions::new().timeout(limit);
        let call = || wpc.call_with::<()>(function, (), &options).unwrap_err();
        // On a busy machine, the limit may pass before the call begins, which is not reported.
        while matches!(call(), Error::Timeout { ran: false, .. }) {}
        let event = events.wait_for_name("call_execution_failed");
        (event.error.unwrap().code, event.severity)
    };
    wpc.define_worker_module(spinner()).unwrap();
    wpc.define_worker_function("errs", replies("\\01\\01E\\01m\\00", 6).export("f")).unwrap();
    wpc.define_worker_function("traps", wat(r#"(module (func (export "f") unreachable))"#))
        .unwrap();
    assert_eq!(error_of("errs", TEST_TIMEOUT), (ErrorCode::Guest, Severity::Info));
    assert_eq!(error_of("spins", Duration::from_millis(20)), (ErrorCode::Timeout, Severity::Error));
    assert_eq!(error_of("traps", TEST_TIMEOUT), (ErrorCode::Trap, Severity::Error));
}

/// A pool whose function `speak` emits one event for each call.
fn speaker() -> wpc_host::WorkerProcedureCall {
    let wpc = pool_with(1, only_own_events());
    define_sdk(&wpc, &["speak"]);
    wpc
}

/// The line that a guest logged.
fn line(event: Option<wpc_host::WorkerEvent>) -> String {
    match event.map(|event| event.details) {
        Some(EventDetails::GuestLog { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_subscription_yields_events_in_order_from_its_start_on() {
    let wpc = speaker();
    wpc.call::<()>("speak", ("before",)).unwrap();
    let mut events = wpc.subscribe(8);
    assert_eq!(events.try_next().map(|event| event.event_id), None);
    for text in ["one", "two", "three"] {
        wpc.call::<()>("speak", (text,)).unwrap();
    }
    assert_eq!(line(events.try_next()), "one");
    assert_eq!(line(events.next_timeout(TEST_TIMEOUT)), "two");
    assert_eq!(line(events.next_blocking()), "three");
    assert_eq!(events.next_timeout(Duration::from_millis(1)).map(|event| event.event_id), None);
    assert_eq!((events.lagged(), events.has_ended()), (0, false));
}

#[test]
fn a_subscriber_that_lags_loses_and_counts_the_newest_events_and_delays_no_other() {
    let wpc = speaker();
    let (mut slow, mut fast) = (wpc.subscribe(2), wpc.subscribe(100));
    for number in 0..10 {
        wpc.call::<()>("speak", (number.to_string(),)).unwrap();
    }
    assert_eq!((slow.lagged(), fast.lagged()), (8, 0));
    assert_eq!([line(slow.next_blocking()), line(slow.next_blocking())], ["0", "1"]);
    let lines: Vec<_> = (0..10).map(|_| line(fast.next_blocking())).collect();
    assert_eq!(lines[9], "9");
    wpc.call::<()>("speak", ("after",)).unwrap();
    assert_eq!((line(slow.next_blocking()), slow.lagged()), ("after".to_owned(), 8));
}

#[test]
fn a_subscription_of_capacity_zero_holds_one_event() {
    let wpc = speaker();
    let mut events = wpc.subscribe(0);
    wpc.call::<()>("speak", ("one",)).unwrap();
    wpc.call::<()>("speak", ("two",)).unwrap();
    assert_eq!((line(events.try_next()), events.lagged()), ("one".to_owned(), 1));
}

#[test]
fn a_waiting_subscriber_is_woken_by_an_event_and_by_the_end_of_the_pool() {
    let wpc = speaker();
    let mut events = wpc.subscribe(100);
    let (sender, received) = channel();
    let subscriber = std::thread::spawn(move || {
        while let Some(event) = events.next_blocking() {
            sender.send(event.event_name()).unwrap();
        }
        events.has_ended() && events.next_blocking().is_none()
    });
    wpc.call::<()>("speak", ("x",)).unwrap();
    assert_eq!(received.recv_timeout(TEST_TIMEOUT).unwrap(), "guest_log");
    // The subscription does not keep the pool alive, and a stop does not end it.
    wpc.stop_workers();
    wpc.start_workers(1).unwrap();
    drop(wpc);
    let mut last = "guest_log";
    while let Ok(name) = received.recv_timeout(TEST_TIMEOUT) {
        last = name;
    }
    assert_eq!(last, "worker_health_state_changed");
    assert!(subscriber.join().unwrap(), "a subscription that has ended yields nothing more");
}

#[test]
fn a_subscription_is_a_stream() {
    use futures::StreamExt as _;
    let wpc = speaker();
    let events = wpc.subscribe(100);
    let lines = std::thread::spawn(move || {
        let lines = events.filter_map(|event| async {
            let EventDetails::GuestLog { message, .. } = event.details else { return None };
            Some(message)
        });
        futures::executor::block_on(lines.collect::<Vec<_>>())
    });
    for text in ["one", "two"] {
        wpc.call::<()>("speak", (text,)).unwrap();
    }
    drop(wpc);
    assert_eq!(lines.join().unwrap(), ["one", "two"]);
}

#[test]
fn a_dropped_subscription_receives_nothing_and_the_others_do() {
    let wpc = speaker();
    let (dropped, mut other) = (wpc.subscribe(1), wpc.subscribe(1));
    drop(dropped);
    wpc.call::<()>("speak", ("x",)).unwrap();
    assert_eq!((line(other.next_blocking()), other.lagged()), ("x".to_owned(), 0));
}
