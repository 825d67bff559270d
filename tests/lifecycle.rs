//! Start, stop, restart and drop of a pool.

use crate::support::*;
use std::time::Duration;
use wpc_host::{Error, HealthState, Limits, Options, PendingCall};

/// Stops a pool while the restart of one of its workers is delayed. Returns whether a worker was started after the stop was
/// reported.
fn starts_a_worker_during_a_stop() -> bool {
    let delay = Duration::from_millis(200);
    let options = Options::default()
        .restart_base_delay(delay)
        .restart_max_delay(delay)
        .restart_jitter(Duration::ZERO)
        .stop_timeout(Duration::from_millis(1))
        .unresponsive_worker_grace(3 * delay);
    let wpc = pool_with(2, options);
    let (gate, running) = define_blocking(&wpc, "stuck", Limits::default());
    wpc.define_worker_function("f", failing_subscriber::logs("panic the host")).unwrap();
    let mut events = wpc.subscribe(1_000);
    // The stop waits for this call's worker longer than the other worker's restart is delayed.
    let stuck = wpc.submit::<()>("stuck", ()).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    assert_eq!(code(wpc.call::<()>("f", ())), "worker_lost");
    while events.next_timeout(TEST_TIMEOUT).unwrap().event_name() != "worker_restart_scheduled" {}
    wpc.stop_workers();
    let names: Vec<_> =
        std::iter::from_fn(|| events.try_next()).map(|event| event.event_name()).collect();
    let stop = names.iter().position(|name| *name == "worker_shutdown_requested").unwrap();
    gate.open();
    drop(stuck);
    names[stop..].contains(&"worker_spawned")
}

#[test]
fn no_worker_is_started_after_a_stop_has_begun_to_end_them() {
    failing_subscriber::install();
    // On a busy machine, the restart may be due after the stop is reported, and before it begins to end the workers.
    eventually(|| !starts_a_worker_during_a_stop());
}

#[test]
fn a_pool_starts_again_with_its_definitions_and_new_workers() {
    let wpc = pool_with(2, Options::default().unresponsive_worker_grace(TEST_TIMEOUT));
    define_sdk(&wpc, &["add"]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
        let states = wpc.get_worker_health_states();
        assert!(states.iter().all(|state| state.health_state == HealthState::Ready));
        assert!(
            states.iter().all(|state| seen.insert(state.worker_id)),
            "worker ids are never reused"
        );
        wpc.stop_workers();
        assert_eq!(wpc.get_remote_functions()[0].installed_worker_count, 0);
        wpc.start_workers(2).unwrap();
    }
}

#[test]
fn a_started_pool_cannot_be_started() {
    let wpc = pool(1);
    assert_eq!(code(wpc.start_workers(1)), "already_started");
    wpc.stop_workers();
    wpc.start_workers(1).unwrap();
}

#[test]
fn a_stopped_pool_rejects_calls_and_accepts_definitions() {
    let wpc = stopped(Options::default());
    assert_eq!(code(wpc.call::<()>("f", ())), "not_running");
    define_sdk(&wpc, &["add"]);
    wpc.define_worker_constant("A", &1).unwrap();
    assert_eq!(code(wpc.call::<()>("add", ())), "not_running");
    wpc.stop_workers();
}

#[test]
fn a_stop_interrupts_running_calls_and_answers_queued_ones() {
    let wpc = pool_with(1, Options::default().stop_timeout(Duration::from_millis(20)));
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let running = spin(&wpc, &events);
    let waiting: Vec<PendingCall<i32>> =
        (0..10).map(|_| wpc.submit("quick", ()).unwrap()).collect();
    wpc.stop_workers();
    assert!(matches!(running.wait(), Err(Error::Stopped { ran: true, .. })));
    for call in waiting {
        // The worker may begin one of them before the stop has taken it out of the queue.
        assert!(matches!(call.wait(), Err(Error::Stopped { .. })));
    }
    wpc.start_workers(1).unwrap();
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
}

#[test]
fn concurrent_stops_and_starts_all_return() {
    let wpc = pool(2);
    define_sdk(&wpc, &["add"]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    wpc.stop_workers();
                    // Another thread may have been faster.
                    let _ = wpc.start_workers(2);
                    let result = wpc.call::<i32>("add", (1, 2));
                    assert!(
                        matches!(result, Ok(3) | Err(Error::NotRunning | Error::Stopped { .. })),
                        "{result:?}"
                    );
                }
            });
        }
    });
    wpc.stop_workers();
    wpc.start_workers(1).unwrap();
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
}

#[test]
fn dropping_the_last_handle_interrupts_every_call() {
    let wpc = pool_with(1, Options::default().stop_timeout(Duration::from_secs(86_400)));
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let call = spin(&wpc, &events);
    drop(wpc);
    assert!(matches!(call.wait(), Err(Error::Stopped { ran: true, .. })));
}

#[test]
fn dropping_the_last_handle_does_not_wait_for_blocked_embedder_code() {
    let options = Options::default()
        .stop_timeout(Duration::from_secs(86_400))
        .unresponsive_worker_grace(Duration::from_millis(1));
    let wpc = pool_with(1, options);
    let (gate, running) = define_blocking(&wpc, "f", Limits::default());
    let call = wpc.submit::<()>("f", ()).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    let listener = gate.clone();
    wpc.on_worker_event(move |_| listener.wait()).unwrap();
    drop(wpc);
    assert!(matches!(call.wait(), Err(Error::Stopped { ran: true, .. })));
    // Both are blocked until now.
    gate.open();
}

#[test]
fn a_handle_is_usable_from_many_threads() {
    let wpc = pool(2);
    define_sdk(&wpc, &["add", "constant"]);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let wpc = wpc.clone();
            scope.spawn(move || {
                let name = format!("C{thread}");
                for round in 0..50 {
                    wpc.define_worker_constant(&name, &round.to_string()).unwrap();
                    assert_eq!(
                        wpc.call::<String>("constant", (&name,)).unwrap(),
                        round.to_string()
                    );
                    assert_eq!(wpc.call::<i32>("add", (thread, round)).unwrap(), thread + round);
                }
            });
        }
    });
    // A call that the supervisor moves to another worker holds a slot of both for a moment.
    eventually(|| wpc.get_worker_health_states().iter().all(|state| state.pending_call_count == 0));
}

#[test]
fn redefinitions_under_load_are_applied_in_order_and_lose_no_call() {
    let version =
        |n: u32| wat(&format!(r#"(module (func (export "f") (result i32) i32.const {n}))"#));
    let wpc = pool(2);
    wpc.define_worker_function("f", version(0)).unwrap();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 40 {
                        let now = wpc.call::<i32>("f", ()).unwrap();
                        assert!(now >= last, "an older version answers after a newer one");
                        last = now;
                    }
                })
            })
            .collect();
        for n in 1..=40 {
            wpc.define_worker_function("f", version(n)).unwrap();
        }
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

#[test]
fn warming_instantiates_a_sandbox_on_every_worker() {
    let wpc = pool(3);
    let events = Recorder::new(&wpc);
    // Its start function logs that it runs.
    let module = wat(r#"(module
        (import "wpc" "wpc_log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 1) (data (i32.const 0) "made")
        (func $start (call $log (i32.const 2) (i32.const 0) (i32.const 4))) (start $start)
        (func (export "f") (result i32) i32.const 1))"#);
    wpc.define_worker_function("f", module).unwrap();
    wpc.warm_worker_function("f").unwrap();
    let workers: std::collections::BTreeSet<_> =
        (0..3).map(|_| events.wait_for_log("made").worker_id).collect();
    assert_eq!(workers.len(), 3);
    for _ in 0..6 {
        assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 1);
    }
    define_sdk(&wpc, &["speak"]);
    wpc.call::<()>("speak", ("marker",)).unwrap();
    let next = events.wait_for_name("guest_log");
    assert!(
        matches!(&next.details, wpc_host::EventDetails::GuestLog { message, .. } if message == "marker"),
        "no further sandbox is created"
    );

    let failing = wat(r#"(module (func $start unreachable) (start $start) (func (export "f")))"#);
    wpc.define_worker_function("f", failing).unwrap();
    assert_eq!(code(wpc.warm_worker_function("f")), "initialisation");
    assert_eq!(code(wpc.warm_worker_function("undefined")), "function_not_defined");
    wpc.stop_workers();
    assert_eq!(code(wpc.warm_worker_function("f")), "not_running");
}

#[test]
fn a_warmed_function_has_its_own_fuel_in_its_first_call() {
    let wpc = pool_with(1, immediate_restarts());
    let limits = wpc_host::Limits::default().fuel(100_000);
    wpc.define_worker_function("add", guest("sdk").limits(limits)).unwrap();
    wpc.warm_worker_function("add").unwrap();
    let options = wpc_host::CallOptions::new().fuel(3);
    assert!(matches!(
        wpc.call_with::<i32>("add", (1, 2), &options),
        Err(Error::OutOfFuel { limit: 3, .. })
    ));
}
