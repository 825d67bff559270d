//! Calls as callers see them: blocking, async and submitted; their options; their outcomes.

use crate::support::*;
use std::time::Duration;
use wpc_host::{CallOptions, Error, FunctionHash, Limits, PendingCall};

#[test]
fn a_call_can_be_awaited_without_any_runtime() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    let sum: i32 = pollster::block_on(async {
        let one: i32 = wpc.call_async("add", (1, 2)).await?;
        let two = wpc.submit::<i32>("add", (one, 10))?.answer().await?;
        Ok::<_, Error>(two.value)
    })
    .unwrap();
    assert_eq!(sum, 13);
}

#[test]
fn an_awaited_call_times_out_while_it_is_queued_behind_another() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    let options = CallOptions::new().timeout(Duration::from_millis(5));
    let waiting = wpc.submit_with::<i32>("quick", (), &options).unwrap();
    let result = pollster::block_on(waiting);
    assert!(matches!(result, Err(Error::Timeout { ran: false, .. })), "{result:?}");
    assert!(!spinning.is_answered());
}

#[test]
fn an_awaited_call_times_out_while_it_is_queued_behind_many_short_ones() {
    let wpc = pool(1);
    // Each runs for less than a millisecond, so two ticks never observe the same call.
    wpc.define_worker_function("f", wat(r#"(module (func (export "f") (local $n i32)
        (loop (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $n) (i32.const 300000))))))"#)).unwrap();
    let options = CallOptions::new().timeout(Duration::from_millis(5));
    // It does not wait for the calls before it. On a busy machine, these may have ended when it is submitted, or when the
    // last of them is looked at.
    eventually(|| {
        let before: Vec<PendingCall<()>> =
            (0..9_000).map(|_| wpc.submit("f", ()).unwrap()).collect();
        let result = pollster::block_on(wpc.submit_with::<()>("f", (), &options).unwrap());
        matches!(result, Err(Error::Timeout { ran: false, .. })) && !before[8_999].is_answered()
    });
}

#[test]
fn many_submitted_calls_are_collected_in_any_order() {
    let wpc = pool(2);
    define_sdk(&wpc, &["add"]);
    let mut calls: Vec<(i32, PendingCall<i32>)> =
        (0..1000).map(|number| (number, wpc.submit("add", (number, 1)).unwrap())).collect();
    calls.reverse();
    for (number, call) in calls {
        assert_eq!(call.wait().unwrap(), number + 1);
    }
}

#[test]
fn cancelling_a_running_call_interrupts_it_and_its_worker_keeps_serving() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    for _ in 0..10 {
        let call = spin(&wpc, &events);
        let handle = call.cancel_handle();
        handle.cancel();
        let Err(Error::Cancelled { ran, .. }) = call.wait() else {
            panic!("the call should be cancelled")
        };
        assert!(ran);
        assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
    }
    // A cancellation is not a failure of the function. The marker is the last event.
    define_sdk(&wpc, &["speak"]);
    wpc.call::<()>("speak", ("marker",)).unwrap();
    let marker = events.wait_for(|event| {
        assert_ne!(event.event_name(), "sandbox_failed");
        matches!(&event.details, wpc_host::EventDetails::GuestLog { message, .. } if message == "marker")
    });
    assert_eq!(marker.event_name(), "guest_log");
}

#[test]
fn cancelling_a_queued_call_ends_it_at_once() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    let spinning = spin(&wpc, &events);
    let waiting = wpc.submit::<i32>("quick", ()).unwrap();
    waiting.cancel();
    let Err(Error::Cancelled { ran, .. }) = waiting.wait() else {
        panic!("the call should be cancelled")
    };
    assert!(!ran);
    drop(spinning);
}

#[test]
fn dropping_a_call_cancels_it() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    drop(spin(&wpc, &events));
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
}

#[test]
fn cancelling_an_answered_call_changes_nothing() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    let call = wpc.submit::<i32>("add", (1, 2)).unwrap();
    eventually(|| call.is_answered());
    call.cancel();
    assert_eq!(call.wait().unwrap(), 3);
}

#[test]
fn a_call_uses_its_own_time_limit_then_the_definitions_then_the_pools() {
    let wpc = pool_with(1, immediate_restarts().call_timeout(Duration::from_millis(30)));
    let limit = |result: Result<(), Error>| match result {
        Err(Error::Timeout { limit, .. }) => limit.as_millis(),
        other => panic!("{other:?}"),
    };
    wpc.define_worker_function("spins", guest("sdk")).unwrap();
    assert_eq!(limit(wpc.call("spins", ())), 30);
    let limits = Limits::default().timeout(Duration::from_millis(20));
    wpc.define_worker_function("spins", guest("sdk").limits(limits)).unwrap();
    assert_eq!(limit(wpc.call("spins", ())), 20);
    let options = CallOptions::new().timeout(Duration::from_millis(10));
    assert_eq!(limit(wpc.call_with("spins", (), &options)), 10);
}

#[test]
fn a_pinned_call_is_answered_by_the_pinned_version_only() {
    let wpc = pool(1);
    let module = wat(r#"(module (func (export "f") (result i32) i32.const 1))"#);
    let hash: FunctionHash = wpc.define_worker_function("f", module).unwrap().function_hash_sha1;
    let pinned = CallOptions::new().pin(hash);
    let answer = wpc.submit_with::<i32>("f", (), &pinned).unwrap().wait_answer().unwrap();
    assert_eq!((answer.value, answer.metadata.function_hash_sha1), (1, hash));

    wpc.define_worker_function(
        "f",
        wat(r#"(module (func (export "f") (result i32) i32.const 2))"#),
    )
    .unwrap();
    let Err(Error::PinMismatch { expected, found, .. }) = wpc.call_with::<i32>("f", (), &pinned)
    else {
        panic!("the pin should not match")
    };
    assert_eq!(expected, hash);
    assert_ne!(found, hash);
}

#[test]
fn a_call_that_exceeds_its_fuel_ends_and_its_use_is_reported() {
    let wpc = pool_with(1, immediate_restarts());
    let limits = Limits::default().fuel(100_000);
    for function in ["add", "spins"] {
        wpc.define_worker_function(function, guest("sdk").limits(limits.clone())).unwrap();
    }
    let answer = wpc.submit::<i32>("add", (1, 2)).unwrap().wait_answer().unwrap();
    let used = answer.metadata.fuel_used.unwrap();
    assert!((1..100_000).contains(&used), "{used}");
    let again = wpc.submit::<i32>("add", (1, 2)).unwrap().wait_answer().unwrap();
    let once_more = wpc.submit::<i32>("add", (1, 2)).unwrap().wait_answer().unwrap();
    assert_eq!(
        again.metadata.fuel_used, once_more.metadata.fuel_used,
        "the same work uses the same fuel"
    );

    let Err(Error::OutOfFuel { limit, .. }) = wpc.call::<()>("spins", ()) else {
        panic!("the fuel should run out")
    };
    assert_eq!(limit, 100_000);
    let Err(Error::OutOfFuel { limit, .. }) =
        wpc.call_with::<i32>("add", (1, 2), &CallOptions::new().fuel(3))
    else {
        panic!("the fuel should run out")
    };
    assert_eq!(limit, 3);
}

#[test]
fn fuel_for_an_unmetered_function_is_rejected_with_a_remedy() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    let error = wpc.call_with::<i32>("add", (1, 2), &CallOptions::new().fuel(3)).unwrap_err();
    let Error::InvalidCallOptions { problem, .. } = &error else { panic!("{error}") };
    assert!(problem.contains("Limits::fuel"), "{problem}");
    let answer = wpc.submit::<i32>("add", (1, 2)).unwrap().wait_answer().unwrap();
    assert_eq!(answer.metadata.fuel_used, None);
}

#[test]
fn a_metered_function_still_obeys_its_time_limit() {
    let wpc = pool(1);
    let limits = Limits::default().fuel(u64::MAX / 2);
    wpc.define_worker_function("spins", guest("sdk").limits(limits)).unwrap();
    let options = CallOptions::new().timeout(Duration::from_millis(5));
    assert_eq!(code(wpc.call_with::<()>("spins", (), &options)), "timeout");
}

#[test]
fn invalid_time_limits_are_rejected() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    for limit in [Duration::ZERO, Duration::MAX] {
        let result = wpc.call_with::<i32>("add", (1, 2), &CallOptions::new().timeout(limit));
        assert_eq!(code(result), "invalid_call_options");
    }
}

#[test]
fn a_typed_handle_checks_its_types_once_and_reports_the_expected_type() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add", "join", "opaque"]);
    assert_eq!(wpc.function::<(i32, i32), i32>("add").unwrap().call((1, 2)).unwrap(), 3);

    let Err(Error::SignatureMismatch { part, expected, found, .. }) =
        wpc.function::<(i32, String), i32>("add")
    else {
        panic!("the types should not match")
    };
    assert_eq!(
        (part.as_str(), expected.as_str(), found.as_str()),
        ("parameter 2", "`i32`", "`String`")
    );
    let error = wpc.function::<(i32, i32), Option<String>>("add").unwrap_err();
    let Error::SignatureMismatch { part, found, .. } = &error else { panic!("{error}") };
    assert_eq!((part.as_str(), found.as_str()), ("result", "`Option<String>`"));
    assert_eq!(code(wpc.function::<(i32,), i32>("add").map(|_| ())), "signature_mismatch");
    assert_eq!(code(wpc.function::<(), ()>("undefined").map(|_| ())), "function_not_defined");
    // A type without a schema is not checked.
    assert_eq!(wpc.function::<(u8,), u8>("opaque").unwrap().call((4,)).unwrap(), 5);
}

#[test]
fn a_typed_handle_takes_borrowed_arguments_and_follows_redefinitions() {
    let wpc = pool(1);
    define_sdk(&wpc, &["join"]);
    let join = wpc.function::<(String, String), String>("join").unwrap();
    let owned = "b".to_owned();
    assert_eq!(join.call(("a", &owned)).unwrap(), "ab");
    wpc.undefine_worker_function("join");
    assert_eq!(code(join.call(("a", "b"))), "function_not_defined");
    wpc.define_worker_function("join", guest("sdk").export("join")).unwrap();
    assert_eq!(pollster::block_on(join.clone().call_async(("a", "b"))).unwrap(), "ab");
}

#[test]
fn a_result_type_mismatch_names_both_types() {
    let wpc = pool(1);
    define_sdk(&wpc, &["join"]);
    let Err(Error::SignatureMismatch { part, expected, found, .. }) =
        wpc.call::<u8>("join", ("a", "b"))
    else {
        panic!("the types should not match")
    };
    assert_eq!((part.as_str(), expected.as_str(), found.as_str()), ("result", "`String`", "`u8`"));
}

#[test]
fn arguments_beyond_the_limit_are_rejected_before_they_are_sent() {
    let wpc = pool(1);
    let limits = Limits::default().arguments(10);
    wpc.define_worker_function("join", guest("sdk").limits(limits)).unwrap();
    let Err(Error::ArgumentsTooLarge { limit, found, .. }) =
        wpc.call::<String>("join", ("0123456789", ""))
    else {
        panic!("the arguments should be too large")
    };
    assert_eq!((limit, found), (10, 12));
}

#[test]
fn a_result_beyond_the_limit_is_rejected_and_the_worker_keeps_serving() {
    let wpc = pool(1);
    let limits = Limits::default().result(10);
    wpc.define_worker_function("join", guest("sdk").limits(limits)).unwrap();
    assert_eq!(wpc.call::<String>("join", ("a", "b")).unwrap(), "ab");
    let Err(Error::ResultTooLarge { limit, found, .. }) =
        wpc.call::<String>("join", ("0123456789", ""))
    else {
        panic!("the result should be too large")
    };
    assert_eq!((limit, found), (10, 12));
    assert_eq!(wpc.call::<String>("join", ("a", "b")).unwrap(), "ab");
}

#[test]
fn payloads_may_be_larger_than_the_first_buffer() {
    let wpc = pool(1);
    define_sdk(&wpc, &["join", "count"]);
    for size in [0, 1, 1023, 1024, 1025, 100_000, 5_000_000, 10] {
        let text = "x".repeat(size);
        let joined: String = wpc.call("join", (&text, "y")).unwrap();
        assert_eq!(joined.len(), size + 1);
    }
}

#[test]
fn the_same_call_returns_the_same_value_and_uses_the_same_fuel_in_any_pool() {
    let run = || {
        let wpc = pool(1);
        let limits = Limits::default().fuel(1_000_000);
        for function in ["join", "sum"] {
            wpc.define_worker_function(function, guest("sdk").limits(limits.clone())).unwrap();
        }
        let module = wat(r#"(module (func (export "nan") (param f64) (result i64)
            (i64.reinterpret_f64 (f64.div (local.get 0) (local.get 0)))))"#);
        wpc.define_worker_function("nan", module.limits(limits)).unwrap();
        let joined = wpc.submit::<String>("join", ("a", "b")).unwrap().wait_answer().unwrap();
        let sum = wpc.submit::<u64>("sum", (vec![1_u64, 2, 3],)).unwrap().wait_answer().unwrap();
        let nan = wpc.submit::<i64>("nan", (0.0_f64,)).unwrap().wait_answer().unwrap();
        let fuel = [joined.metadata.fuel_used, sum.metadata.fuel_used, nan.metadata.fuel_used];
        (joined.value, sum.value, nan.value, fuel)
    };
    let first = run();
    assert_eq!(run(), first);
    assert!(first.3.iter().all(|fuel| fuel.is_some_and(|fuel| fuel > 0)), "{:?}", first.3);
}

#[test]
fn fuel_is_reported_for_every_outcome() {
    let wpc = pool_with(1, immediate_restarts());
    let limits = Limits::default().fuel(1_000_000);
    let module = wat(r#"(module
            (func (export "good"))
            (func (export "traps") unreachable)
            (func (export "uses_up") (loop br 0)))"#);
    wpc.define_worker_module(module.limits(limits)).unwrap();
    wpc.define_worker_function("free", wat(r#"(module (func (export "free")))"#)).unwrap();
    let metered = |name: &str| {
        let (result, fuel) = wpc.submit::<()>(name, ()).unwrap().wait_metered();
        (result.map_err(|error| error.code().as_str()), fuel)
    };
    assert!(matches!(metered("good"), (Ok(()), Some(1..100))));
    assert!(matches!(metered("traps"), (Err("trap"), Some(1..100))));
    let (result, fuel) = metered("uses_up");
    assert_eq!((result, fuel), (Err("out_of_fuel"), Some(1_000_000)));
    assert_eq!(metered("free"), (Ok(()), None));
}
