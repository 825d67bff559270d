//! Failures, restarts, circuit breakers, and unresponsive workers.

use crate::support::*;
use std::time::Duration;
use wpc_host::{CallOptions, Error, EventDetails, HealthState, Limits, Options, PendingCall};

/// Options with restart delays that are longer than a test.
fn long_restarts() -> Options {
    Options::default()
        .restart_base_delay(Duration::from_secs(3600))
        .restart_max_delay(Duration::from_secs(3600))
        .circuit_breaker_cool_down(Duration::from_secs(3600))
}

#[test]
fn a_function_that_answered_before_restarts_at_once_after_a_trap() {
    for module in [traps_until_calm(), traps_until_calm().isolate_calls()] {
        let wpc = pool_with(1, long_restarts());
        wpc.define_worker_function("f", module).unwrap();
        for _ in 0..10 {
            wpc.define_worker_constant("calm", &()).unwrap();
            wpc.call::<()>("f", ()).unwrap();
            wpc.undefine_worker_constant("calm");
            assert_eq!(code(wpc.call::<()>("f", ())), "trap");
        }
    }
}

#[test]
fn a_function_in_backoff_does_not_affect_other_functions() {
    let wpc = pool_with(1, long_restarts());
    define_sdk(&wpc, &["count"]);
    wpc.define_worker_function("f", traps_until_calm()).unwrap();
    assert_eq!(wpc.call::<u64>("count", ()).unwrap(), 1);
    assert_eq!(code(wpc.call::<()>("f", ())), "trap");
    assert_eq!(wpc.get_worker_health_states()[0].health_state, HealthState::Degraded);
    assert_eq!(wpc.call::<u64>("count", ()).unwrap(), 2);

    // Calls to the function wait, up to their own time limit.
    let options = CallOptions::new().timeout(Duration::from_millis(5));
    let result = pollster::block_on(wpc.submit_with::<()>("f", (), &options).unwrap());
    assert!(matches!(result, Err(Error::Timeout { ran: false, .. })), "{result:?}");
    let installed = |name: &str| {
        wpc.get_remote_functions().iter().find(|f| f.name == name).unwrap().installed_worker_count
    };
    assert_eq!((installed("f"), installed("count")), (0, 1));
}

#[test]
fn calls_go_to_other_workers_during_backoff() {
    let wpc = pool_with(3, long_restarts());
    wpc.define_worker_function("f", traps_until_calm()).unwrap();
    assert_eq!(code(wpc.call::<()>("f", ())), "trap");
    wpc.define_worker_constant("calm", &()).unwrap();
    let used = workers_of_keys::<()>(&wpc, "f", ());
    let backs_off = wpc.get_worker_health_states().into_iter().find(|worker| {
        worker.health_state == HealthState::Degraded && !used.contains(&worker.worker_id)
    });
    assert_eq!((used.len(), backs_off.is_some()), (2, true));
}

#[test]
fn calls_that_wait_for_a_restart_are_served_afterwards() {
    let delay = Duration::from_millis(20);
    let options = Options::default().restart_base_delay(delay).restart_max_delay(delay);
    let wpc = pool_with(1, options);
    wpc.define_worker_function("f", traps_until_calm()).unwrap();
    assert_eq!(code(wpc.call::<()>("f", ())), "trap");
    wpc.define_worker_constant("calm", &()).unwrap();
    let calls: Vec<PendingCall<()>> = (0..10).map(|_| wpc.submit("f", ()).unwrap()).collect();
    for call in calls {
        call.wait().unwrap();
    }
    // A worker whose thread waits for a core is reported as degraded meanwhile.
    eventually(|| wpc.get_worker_health_states()[0].health_state == HealthState::Ready);
}

#[test]
fn a_function_that_keeps_failing_opens_its_circuit_breaker_with_time_and_reason() {
    let wpc = pool_with(1, immediate_restarts());
    let events = Recorder::new(&wpc);
    wpc.define_worker_function("f", traps_until_calm()).unwrap();
    for _ in 0..4 {
        assert_eq!(code(wpc.call::<()>("f", ())), "trap");
    }
    let opened = events.wait_for_name("circuit_opened");
    assert!(matches!(opened.details, EventDetails::CircuitOpened { restart_attempts: 3, .. }));
    let error = wpc.call::<()>("f", ()).unwrap_err();
    let Error::CircuitOpen { function, last_failure: Some(cause), .. } = &error else {
        panic!("the circuit breaker should be open: {error}")
    };
    assert_eq!((function.as_str(), cause.code().as_str()), ("f", "trap"));
    assert_eq!(source_code(&error), Some("trap"));
}

#[test]
fn an_open_circuit_breaker_closes_by_redefinition_revival_or_trial() {
    let open_breaker = |wpc: &wpc_host::WorkerProcedureCall| {
        wpc.undefine_worker_constant("calm");
        eventually(|| code(wpc.call::<()>("f", ())) == "circuit_open");
        wpc.define_worker_constant("calm", &()).unwrap();
    };
    let wpc = pool_with(2, long_restarts().restart_on_failure(false));
    wpc.define_worker_function("f", traps_until_calm()).unwrap();
    open_breaker(&wpc);
    wpc.define_worker_function("f", traps_until_calm()).unwrap();
    wpc.call::<()>("f", ()).unwrap();

    open_breaker(&wpc);
    assert!(wpc.revive_worker_function("f").unwrap());
    assert!(!wpc.revive_worker_function("f").unwrap(), "the circuit breaker is closed");
    wpc.call::<()>("f", ()).unwrap();

    let cool_down = Duration::from_millis(10);
    let wpc = pool_with(
        1,
        long_restarts().restart_on_failure(false).circuit_breaker_cool_down(cool_down),
    );
    let events = Recorder::new(&wpc);
    wpc.define_worker_function("f", traps_until_calm()).unwrap();
    assert_eq!(code(wpc.call::<()>("f", ())), "trap");
    wpc.define_worker_constant("calm", &()).unwrap();
    eventually(|| code_of(wpc.call::<()>("f", ())) != Some("circuit_open"));
    events.wait_for_name("sandbox_revived");
    events.wait_for_name("sandbox_recovered");
    wpc.call::<()>("f", ()).unwrap();
    assert_eq!(code(wpc.revive_worker_function("undefined")), "function_not_defined");
}

/// The code of the error that `error` returns as its source.
fn source_code(error: &Error) -> Option<&'static str> {
    let source = std::error::Error::source(error)?.downcast_ref::<Error>()?;
    Some(source.code().as_str())
}

fn code_of<T>(result: Result<T, Error>) -> Option<&'static str> {
    result.err().map(|error| error.code().as_str())
}

#[test]
fn a_timeout_does_not_interrupt_another_running_call() {
    let wpc = pool(2);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let patient = spin(&wpc, &events);
    for _ in 0..5 {
        let options = CallOptions::new().timeout(Duration::from_millis(5));
        assert_eq!(code(wpc.call_with::<()>("spins", (), &options)), "timeout");
        wpc.revive_worker_function("spins").unwrap();
        assert!(!patient.is_answered(), "the deadline applies to one call only");
    }
    patient.cancel();
    assert_eq!(code(patient.wait()), "cancelled");
}

#[test]
fn a_panicked_worker_is_replaced_and_its_queue_is_redispatched() {
    failing_subscriber::install();
    let wpc = pool_with(1, immediate_restarts());
    let events = Recorder::new(&wpc);
    wpc.define_worker_function("f", failing_subscriber::logs("panic the host")).unwrap();
    define_sdk(&wpc, &["add"]);
    let panics = wpc.submit::<()>("f", ()).unwrap();
    let queued: Vec<PendingCall<i32>> =
        (0..20).map(|number| wpc.submit("add", (number, 0)).unwrap()).collect();
    let Err(Error::WorkerLost { ran, .. }) = panics.wait() else {
        panic!("the call should end with its worker")
    };
    assert!(ran);
    for (number, call) in (0..).zip(queued) {
        assert_eq!(call.wait().unwrap(), number);
    }
    for step in [
        "worker_error",
        "worker_health_state_changed",
        "worker_exited",
        "worker_restart_scheduled",
        "worker_spawned",
        "worker_restart_completed",
    ] {
        events.wait_for_name(step);
    }
    let states = wpc.get_worker_health_states();
    assert_eq!((states.len(), states[0].slot, states[0].restarts), (1, 0, 1));
}

#[test]
fn an_unresponsive_worker_is_reported_as_restarting_until_it_is_replaced() {
    failing_subscriber::install();
    let options =
        long_restarts().restart_jitter(Duration::ZERO).unresponsive_worker_grace(TEST_TIMEOUT);
    let wpc = pool_with(2, options);
    let events = Recorder::new(&wpc);
    wpc.define_worker_function("f", failing_subscriber::logs("panic the host")).unwrap();
    assert_eq!(code(wpc.call::<()>("f", ())), "worker_lost");
    events.wait_for_name("worker_restart_scheduled");
    let states: Vec<_> =
        wpc.get_worker_health_states().iter().map(|state| state.health_state).collect();
    assert!(
        states.contains(&HealthState::Restarting) && states.contains(&HealthState::Ready),
        "{states:?}"
    );
    wpc.stop_workers();
}

#[test]
fn an_unresponsive_worker_is_abandoned_after_its_limit_and_grace() {
    failing_subscriber::install();
    let wpc =
        pool_with(1, immediate_restarts().unresponsive_worker_grace(Duration::from_millis(20)));
    let limits = Limits::default().timeout(Duration::from_millis(100));
    let logs = failing_subscriber::logs("block the host").limits(limits);
    wpc.define_worker_function("f", logs).unwrap();
    define_sdk(&wpc, &["add"]);
    let events = Recorder::new(&wpc);
    // The caller is answered at its time limit. The worker is abandoned only after the grace period.
    let behind = loop {
        let silent = wpc.submit::<()>("f", ()).unwrap();
        let behind = wpc.submit::<i32>("add", (1, 2)).unwrap();
        match pollster::block_on(silent).unwrap_err() {
            Error::Timeout { .. } | Error::WorkerLost { .. } => {}
            other => panic!("{other}"),
        }
        // On a busy machine, the limit may pass before the guest writes its line.
        if failing_subscriber::has_blocked() {
            break behind;
        }
    };
    let failed = events.wait_for_name("worker_error");
    let EventDetails::WorkerError { message } = failed.details else {
        panic!("the event should have the reason")
    };
    assert!(message.contains("did not return"), "{message}");
    assert_eq!(behind.wait().unwrap(), 3);
    assert_eq!(wpc.get_worker_health_states().len(), 1);
    failing_subscriber::unblock();
}

#[test]
fn the_limit_of_a_definition_protects_its_worker_after_a_redefinition_too() {
    let wpc =
        pool_with(1, immediate_restarts().unresponsive_worker_grace(Duration::from_millis(1)));
    let limits = || Limits::default().timeout(TEST_TIMEOUT);
    let (gate, running) = define_blocking(&wpc, "f", limits());
    let call = wpc.submit::<()>("f", ()).unwrap();
    running.recv_timeout(TEST_TIMEOUT).unwrap();
    wpc.define_worker_function("f", spinner().export("quick").limits(limits())).unwrap();
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    assert_eq!(wpc.metrics().worker_restarts, 0);
    gate.open();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 7);
    assert_eq!(wpc.get_worker_health_states()[0].restarts, 0, "the worker was not replaced");
}

#[test]
fn a_worker_that_keeps_failing_is_not_restarted_and_calls_are_rejected_at_once() {
    failing_subscriber::install();
    let wpc = pool_with(1, immediate_restarts().max_restarts_per_worker(0));
    let events = Recorder::new(&wpc);
    wpc.define_worker_function("f", failing_subscriber::logs("panic the host")).unwrap();
    assert_eq!(code(wpc.call::<()>("f", ())), "worker_lost");
    events.wait_for_name("worker_restart_exhausted");
    assert_eq!(code(wpc.call::<()>("f", ())), "no_ready_workers");
    let states = wpc.get_worker_health_states();
    assert_eq!(
        (states.len(), states[0].health_state),
        (1, HealthState::Stopped),
        "the worker is still listed"
    );
    wpc.stop_workers();
    assert!(wpc.get_worker_health_states().is_empty());
    wpc.start_workers(1).unwrap();
    define_sdk(&wpc, &["add"]);
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
}

#[test]
fn an_exhausted_worker_is_restarted_after_its_cool_down() {
    failing_subscriber::install();
    let options = immediate_restarts()
        .max_restarts_per_worker(0)
        .circuit_breaker_cool_down(Duration::from_millis(1));
    let wpc = pool_with(1, options);
    let events = Recorder::new(&wpc);
    define_sdk(&wpc, &["add"]);
    wpc.define_worker_function("f", failing_subscriber::logs("panic the host")).unwrap();
    assert_eq!(code(wpc.call::<()>("f", ())), "worker_lost");
    events.wait_for_name("worker_restart_exhausted");
    events.wait_for_name("worker_restart_completed");
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
}

#[test]
fn limits_chosen_by_a_caller_do_not_count_as_failures_of_the_function() {
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_module(spinner()).unwrap();
    let limits = Limits::default().fuel(1_000_000);
    let counts = wat(r#"(module (func (export "counts") (param i32) (result i32) (local i32)
        (loop (br_if 0 (i32.lt_u
            (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (local.get 0))))
        (local.get 1)))"#);
    wpc.define_worker_function("counts", counts.limits(limits)).unwrap();
    for _ in 0..10 {
        let short = CallOptions::new().timeout(Duration::from_millis(1));
        assert_eq!(code(wpc.call_with::<()>("spins", (), &short)), "timeout");
        let little = CallOptions::new().fuel(100);
        assert_eq!(code(wpc.call_with::<i32>("counts", (1_000,), &little)), "out_of_fuel");
    }
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
    assert_eq!(wpc.call::<i32>("counts", (1_000,)).unwrap(), 1_000);
    // Exceeding a limit of the definition counts as a failure.
    for _ in 0..4 {
        assert_eq!(code(wpc.call::<i32>("counts", (1_000_000,))), "out_of_fuel");
    }
    assert_eq!(code(wpc.call::<i32>("counts", (1_000,))), "circuit_open");
}

/// One worker has more calls than it can run in their time limits: some time out in its queue, some shortly after their start.
#[test]
fn calls_that_time_out_because_they_waited_do_not_count_as_failures_of_the_function() {
    let options =
        long_restarts().max_restarts_per_worker(0).unresponsive_worker_grace(TEST_TIMEOUT);
    let limits = Limits::default().timeout(Duration::from_millis(400));
    let shorter = CallOptions::new().timeout(Duration::from_millis(300));
    let long = CallOptions::new().timeout(TEST_TIMEOUT);
    let error_of =
        |call: Result<PendingCall<()>, Error>| call.and_then(PendingCall::wait).unwrap_err();
    // On a busy machine, a call may run for its whole limit, because it was submitted too late or its worker stopped it too
    // late. Then another pool is used.
    eventually(|| {
        let wpc = pool_with(1, options.clone());
        wpc.define_worker_module(spinner().limits(limits.clone())).unwrap();
        let is_closed = || match wpc.call_with::<i32>("quick", (), &long) {
            Ok(7) => true,
            Err(Error::CircuitOpen { .. }) => false,
            other => panic!("{other:?}"),
        };
        let first = wpc.submit_with::<()>("spins", (), &shorter);
        let behind = [(); 5].map(|()| wpc.submit::<()>("spins", ()));
        error_of(first);
        let has_begun = |error: &Error| matches!(error, Error::Timeout { ran: true, .. });
        let started = behind.map(error_of).iter().any(has_begun);
        if !started || !is_closed() {
            return false;
        }
        // A call that ran for the whole limit counts, unless it began too late.
        eventually(|| {
            assert_eq!(code(wpc.call::<()>("spins", ())), "timeout");
            !is_closed()
        });
        true
    });
}

/// A module with the functions `traps` and `good`.
fn siblings() -> wpc_host::WasmModule {
    wat(r#"(module
        (func (export "traps") unreachable)
        (func (export "good") (result i32) i32.const 7))"#)
}

#[test]
fn functions_of_one_module_share_a_sandbox_and_a_queued_call_names_the_failure() {
    let wpc = pool_with(1, long_restarts());
    wpc.define_worker_module(siblings()).unwrap();
    assert_eq!(code(wpc.call::<()>("traps", ())), "trap");
    let limit = CallOptions::new().timeout(Duration::from_millis(20));
    let error = wpc.call_with::<i32>("good", (), &limit).unwrap_err();
    let Error::Timeout { ran: false, cause: Some(cause), .. } = &error else { panic!("{error}") };
    assert!(matches!(&**cause, Error::Trap { function, .. } if function == "traps"), "{cause}");
    assert_eq!(source_code(&error), Some("trap"));
}

#[test]
fn functions_with_separate_sandboxes_fail_independently() {
    let wpc = pool_with(1, long_restarts());
    wpc.define_worker_module(siblings().separate_sandboxes()).unwrap();
    assert_eq!(code(wpc.call::<()>("traps", ())), "trap");
    assert_eq!(wpc.call::<i32>("good", ()).unwrap(), 7);
}
