//! The 12 defects of the Node library, in their order. Each test shows that the defect is absent here.

use crate::support::*;
use std::collections::BTreeMap;
use std::time::Duration;
use wpc_host::{CallOptions, Error, HealthState, Options, PendingCall};

#[test]
fn a_worker_recovers_after_its_only_call_timed_out() {
    let wpc = pool(1);
    define_sdk(&wpc, &["spins", "add"]);
    let options = CallOptions::new().timeout(Duration::from_millis(5));
    for _ in 0..2 {
        timeout_while_running(|| wpc.call_with::<()>("spins", (), &options));
        assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
    }
    wpc.revive_worker_function("spins").unwrap();
    let is_installed =
        |function: &wpc_host::FunctionInformation| function.installed_worker_count == 1;
    assert!(wpc.get_remote_functions().iter().all(is_installed));
    eventually(|| {
        wpc.call::<i32>("add", (1, 2)).unwrap();
        wpc.get_worker_health_states()[0].health_state == HealthState::Ready
    });
}

#[test]
fn a_time_limit_interrupts_the_work_and_stop_does_not_wait_for_it() {
    let forever = Duration::from_secs(86_400);
    let wpc = pool_with(1, Options::default().stop_timeout(forever));
    define_sdk(&wpc, &["spins", "add"]);
    let options = CallOptions::new().timeout(Duration::from_millis(5));
    timeout_while_running(|| wpc.call_with::<()>("spins", (), &options));
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3, "the thread keeps serving");
    wpc.stop_workers();
}

#[test]
fn calls_queued_behind_a_spinning_call_are_served() {
    let wpc = pool(2);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    let calls: Vec<PendingCall<i32>> = (0..50).map(|_| wpc.submit("quick", ()).unwrap()).collect();
    for call in calls {
        assert_eq!(call.wait().unwrap(), 7, "the other worker runs the call");
    }
    assert!(!spinning.is_answered());
    spinning.cancel();
    assert_eq!(code(spinning.wait()), "cancelled");
}

#[test]
fn a_functions_restarts_are_counted_from_its_last_answer() {
    let wpc = pool(1);
    wpc.define_worker_function("f", traps_until_calm()).unwrap();
    for _ in 0..20 {
        wpc.define_worker_constant("calm", &()).unwrap();
        wpc.call::<()>("f", ()).unwrap();
        wpc.undefine_worker_constant("calm");
        assert_eq!(code(wpc.call::<()>("f", ())), "trap");
    }
    wpc.define_worker_constant("calm", &()).unwrap();
    wpc.call::<()>("f", ()).unwrap();
}

#[test]
fn a_workers_restarts_are_counted_from_its_last_answer() {
    failing_subscriber::install();
    let wpc = pool(1);
    wpc.define_worker_function("f", failing_subscriber::logs("panic the host")).unwrap();
    define_sdk(&wpc, &["add"]);
    for _ in 0..6 {
        assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
        assert_eq!(code(wpc.call::<()>("f", ())), "worker_lost");
    }
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
}

#[test]
fn replacing_a_worker_does_not_leak_another() {
    failing_subscriber::install();
    let wpc = pool_with(2, immediate_restarts().max_restarts_per_worker(100));
    let events = Recorder::new(&wpc);
    wpc.define_worker_function("f", failing_subscriber::logs("panic the host")).unwrap();
    define_sdk(&wpc, &["add"]);
    for _ in 0..5 {
        assert_eq!(code(wpc.call::<()>("f", ())), "worker_lost");
        events.wait_for_name("worker_restart_completed");
        assert_eq!(wpc.get_worker_health_states().len(), 2);
        assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
    }
}

#[test]
fn a_rejected_definition_changes_nothing_and_a_retry_is_rejected_again() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    let before = wpc.get_remote_functions();
    for _ in 0..2 {
        assert_eq!(code(wpc.define_worker_function("add", b"nonsense")), "not_wasm");
        assert_eq!(wpc.get_remote_functions(), before);
    }
    assert_eq!(code(wpc.define_worker_function("new", b"nonsense")), "not_wasm");
    assert_eq!(wpc.get_remote_functions(), before);
    wpc.stop_workers();
    wpc.start_workers(1).unwrap();
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
}

#[test]
fn every_change_of_a_constant_is_applied() {
    let wpc = pool(1);
    wpc.define_worker_function("f", wat(&reads_constant("value"))).unwrap();
    let maps =
        [BTreeMap::from([("a", f64::NAN)]), BTreeMap::from([("b", f64::NAN)]), BTreeMap::new()];
    for map in maps {
        wpc.define_worker_constant("value", &map).unwrap();
        let seen: BTreeMap<String, f64> = wpc.call("f", ()).unwrap();
        assert_eq!(
            seen.keys().map(String::as_str).collect::<Vec<_>>(),
            map.keys().copied().collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_graceful_stop_lets_running_calls_finish() {
    let wpc = pool_with(1, Options::default().stop_timeout(TEST_TIMEOUT));
    let events = Recorder::new(&wpc);
    // Counts for between 10 and 100 ms.
    wpc.define_worker_function(
        "f",
        contract(
            r#"(data (i32.const 16) "in")
        (func (export "f") (param i32 i32) (result i64) (local $n i32)
            (call $log (i32.const 2) (i32.const 16) (i32.const 2))
            (loop
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if 0 (i32.lt_u (local.get $n) (i32.const 100000000))))
            i64.const 1)"#,
        ),
    )
    .unwrap();
    let running = wpc.submit::<()>("f", ()).unwrap();
    let queued = wpc.submit::<()>("f", ()).unwrap();
    events.wait_for_log("in");
    wpc.stop_workers();
    assert!(running.is_answered() && queued.is_answered());
    running.wait().unwrap();
    queued.wait().unwrap();
}

#[test]
fn omitted_arguments_are_rejected_and_not_filled_in() {
    let wpc = pool(1);
    define_sdk(&wpc, &["sum", "nothing"]);
    assert_eq!(code(call_encoded(&wpc, "sum", &())), "bad_arguments");
    wpc.call::<()>("nothing", ()).unwrap();
    assert_eq!(code(call_encoded(&wpc, "nothing", &(1_u8,))), "bad_arguments");
}

#[test]
fn a_definition_made_during_start_is_installed_on_every_worker() {
    let wpc = stopped(Options::default());
    let module = guest("sdk");
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| wpc.start_workers(8));
        for name in ["add", "join", "sum"] {
            wpc.define_worker_function(name, module.clone()).unwrap();
        }
        starting.join().unwrap().unwrap();
    });
    for function in wpc.get_remote_functions() {
        assert_eq!(function.installed_worker_count, 8);
    }
    assert_eq!(workers_of_keys::<i32>(&wpc, "add", (1, 2)).len(), 8);
}

#[test]
fn errors_have_codes_and_every_invalid_option_is_reported_at_once() {
    let options = Options::default()
        .call_timeout(Duration::ZERO)
        .max_pending_calls_per_worker(0)
        .restart_base_delay(Duration::from_secs(10));
    let Err(Error::InvalidOptions { problems, .. }) = wpc_host::WorkerProcedureCall::new(options)
    else {
        panic!("they should be rejected")
    };
    assert_eq!(problems.len(), 3, "{problems:?}");
    let wpc = stopped(Options::default());
    let Err(Error::InvalidOptions { problems, .. }) = wpc.start_workers(0) else {
        panic!("it should be rejected")
    };
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(code(wpc.call::<()>("f", ())), "not_running");
}

#[test]
fn a_failed_start_does_not_wait_for_the_stop_timeout() {
    let wpc = stopped(
        Options::default()
            .start_timeout(Duration::from_nanos(1))
            .stop_timeout(Duration::from_secs(86_400)),
    );
    // All 64 threads may be up before the timeout is checked, so try again.
    loop {
        match wpc.start_workers(64) {
            Ok(()) => wpc.stop_workers(),
            Err(Error::StartFailed { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(wpc.get_worker_health_states().is_empty());
}
