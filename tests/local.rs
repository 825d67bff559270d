//! Calls on the caller's own thread behave as on the pool's workers.

use crate::support::*;
use std::sync::Arc;
use std::time::Duration;
use wpc_host::{CallOptions, Error, EventDetails, Limits, LocalWorker, Options};

/// A function `count` that counts its calls.
fn counter() -> wpc_host::WasmModule {
    wat(r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "count") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            global.get $n))"#)
}

fn count(here: &mut LocalWorker) -> i32 {
    here.call("count", ()).unwrap()
}

#[test]
fn calls_by_name_and_by_handle_return_values_errors_and_bytes() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add", "join", "fails", "echo_bytes"]);
    let mut here = wpc.local_worker();
    assert_eq!(here.call::<i32>("add", (40, 2)).unwrap(), 42);
    assert_eq!(here.call::<String>("join", ("a", "b")).unwrap(), "ab");
    let add = wpc.function::<(i32, i32), i32>("add").unwrap();
    for n in 0..1_000 {
        assert_eq!(here.call_function(&add, (n, 1)).unwrap(), n + 1);
    }
    let large = vec![7_u8; 1 << 20];
    assert_eq!(here.call::<Vec<u8>>("echo_bytes", (&large,)).unwrap(), large);
    let Err(Error::Guest { error, .. }) = here.call::<()>("fails", (-3,)) else {
        panic!("the call should return an error")
    };
    assert_eq!(error.name, "TooSmall");
    assert_eq!(code(here.call::<i32>("undefined", ())), "function_not_defined");
    assert_eq!(code(here.call::<i32>("add", (1,))), "signature_mismatch");
    assert_eq!(here.call::<i32>("add", (1, 2)).unwrap(), 3, "the sandbox still works");
}

/// Arguments are written directly into the guest's buffer if they fit.
#[test]
fn arguments_of_any_length_arrive() {
    let wpc = pool(1);
    define_sdk(&wpc, &["join"]);
    let join = |here: &mut LocalWorker, size| {
        let text = "x".repeat(size);
        assert_eq!(here.call::<String>("join", (&text, "y")).unwrap(), text + "y");
    };
    let mut here = wpc.local_worker();
    for size in [0, 1, 1015, 1030, 100_000, 5_000_000, 10] {
        join(&mut here, size);
    }
    // Around the end of the buffer, which grows if an argument does not fit.
    for size in 1015..1030 {
        join(&mut wpc.local_worker(), size);
    }
    // A function of numbers has no buffer.
    wpc.define_worker_function("count", counter()).unwrap();
    assert_eq!(count(&mut here), 1);
    assert_eq!(code(here.call::<i32>("count", (1,))), "signature_mismatch");
}

#[test]
fn invalid_arguments_are_rejected_before_the_function_is_called() {
    struct Broken;
    impl serde::Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it is broken"))
        }
    }
    let wpc = pool(1);
    let limits = Limits::default().arguments(10);
    for name in ["count", "join", "fails"] {
        wpc.define_worker_function(name, guest("sdk").export(name).limits(limits.clone())).unwrap();
    }
    let mut here = wpc.local_worker();
    assert_eq!(here.call::<u64>("count", ()).unwrap(), 1);
    let events = Recorder::new(&wpc);
    let Err(Error::ArgumentsTooLarge { limit, found, .. }) =
        here.call::<String>("join", ("0123456789", ""))
    else {
        panic!("the arguments should be too large")
    };
    assert_eq!((limit, found), (10, 12));
    assert_eq!(code(here.call::<String>("join", ("a", Broken))), "arguments_encode");
    assert_eq!(here.call::<u64>("count", ()).unwrap(), 2, "the sandbox is the same");
    // Rejected calls emit no event, so this is the first one.
    assert_eq!(code(here.call::<()>("fails", (3,))), "guest_error");
    let failed = events.wait_for_name("call_execution_failed").details;
    let EventDetails::CallExecutionFailed { function_name, .. } = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(function_name, "fails");
}

#[test]
fn a_handle_of_another_pool_is_rejected() {
    let (wpc, other) = (pool(1), pool(1));
    define_sdk(&wpc, &["add"]);
    define_sdk(&other, &["add"]);
    let [add, others] = [&wpc, &other].map(|wpc| wpc.function::<(i32, i32), i32>("add").unwrap());
    let mut here = wpc.local_worker();
    assert_eq!(here.call_function(&add, (1, 2)).unwrap(), 3);
    assert_eq!(code(here.call_function(&others, (1, 2))), "invalid_call_options");
    assert_eq!(here.call_function(&add, (1, 2)).unwrap(), 3);
}

#[test]
fn a_local_worker_has_its_own_sandboxes_and_reports_the_function_hash() {
    let wpc = pool(1);
    let defined = wpc.define_worker_function("count", counter()).unwrap();
    assert_eq!(wpc.call::<i32>("count", ()).unwrap(), 1);
    let (mut here, mut other) = (wpc.local_worker(), wpc.local_worker());
    assert_eq!((count(&mut here), count(&mut here), count(&mut other)), (1, 2, 1));
    assert_eq!(wpc.call::<i32>("count", ()).unwrap(), 2);
    let answer = here.call_with::<i32>("count", (), &CallOptions::new()).unwrap();
    assert_eq!(answer.metadata.function_hash_sha1, defined.function_hash_sha1);
    assert_eq!(Some(answer.metadata.worker_id), here.id());
    let pinned = CallOptions::new().pin("0".repeat(40).parse().unwrap());
    assert_eq!(code(here.call_with::<i32>("count", (), &pinned)), "pin_mismatch");
    let live = wpc.get_sandbox_usage().live_instances;
    drop((here, other));
    assert_eq!(wpc.get_sandbox_usage().live_instances, live - 2);
}

#[test]
fn the_next_call_uses_a_redefinition_or_a_new_constant() {
    let wpc = pool(1);
    define_sdk(&wpc, &["constant"]);
    wpc.define_worker_function("count", counter()).unwrap();
    let mut here = wpc.local_worker();
    let handle = wpc.function::<(), i32>("count").unwrap();
    assert_eq!((count(&mut here), count(&mut here)), (1, 2));
    wpc.define_worker_function(
        "count",
        wat(r#"(module (func (export "count") (result i32) i32.const 100))"#),
    )
    .unwrap();
    assert_eq!((count(&mut here), here.call_function(&handle, ()).unwrap()), (100, 100));
    assert_eq!(wpc.get_sandbox_usage().live_instances, 1, "the old sandbox is dropped");
    for word in ["one", "two"] {
        wpc.define_worker_constant("WORD", word).unwrap();
        assert_eq!(here.call::<String>("constant", ("WORD",)).unwrap(), word);
    }
    wpc.undefine_worker_function("count");
    assert_eq!(code(here.call_function(&handle, ())), "function_not_defined");
}

#[test]
fn limits_apply_and_a_failure_affects_only_its_function() {
    let wpc = pool(1);
    wpc.define_worker_module(spinner()).unwrap();
    wpc.define_worker_function("count", counter()).unwrap();
    let fuel = Limits::default().fuel(1_000);
    wpc.define_worker_function("burns", spinner().export("spins").limits(fuel)).unwrap();
    let mut here = wpc.local_worker();
    assert_eq!(count(&mut here), 1);
    let limit = CallOptions::new().timeout(Duration::from_millis(20));
    assert_eq!(code(here.call_with::<()>("spins", (), &limit)), "timeout");
    assert_eq!(here.call::<i32>("quick", ()).unwrap(), 7);
    assert_eq!(code(here.call::<()>("burns", ())), "out_of_fuel");
    assert_eq!(count(&mut here), 2, "the other function keeps its state");
}

#[test]
fn a_function_with_an_open_circuit_breaker_here_is_called_on_the_pool() {
    let options = Options::default().max_restarts_per_worker(0).restart_jitter(Duration::ZERO);
    let wpc = pool_with(1, options);
    let module = wat(r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "f") (param $fails i32) (result i32)
            (if (local.get $fails) (then unreachable))
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            global.get $n))"#);
    wpc.define_worker_function("f", module).unwrap();
    let events = Recorder::new(&wpc);
    let mut here = wpc.local_worker();
    assert_eq!(code(here.call::<i32>("f", (1,))), "trap");
    let opened = events.wait_for_name("circuit_opened");
    assert_eq!(opened.worker_id, here.id());
    let answer = here.call_with::<i32>("f", (0,), &CallOptions::new()).unwrap();
    assert_ne!(Some(answer.metadata.worker_id), here.id());
    assert!(wpc.revive_worker_function("f").unwrap());
    let answer = here.call_with::<i32>("f", (0,), &CallOptions::new()).unwrap();
    assert_eq!(Some(answer.metadata.worker_id), here.id());
}

#[test]
fn events_and_log_lines_name_the_local_worker() {
    let wpc = pool(1);
    define_sdk(&wpc, &["speak", "panics"]);
    let events = Recorder::new(&wpc);
    let mut here = wpc.local_worker();
    here.call::<()>("speak", ("hello",)).unwrap();
    assert_eq!(events.wait_for_log("hello").worker_id, here.id());
    assert_eq!(code(here.call::<()>("panics", ("why",))), "trap");
    let failed =
        events.wait_for(|event| matches!(event.details, EventDetails::CallExecutionFailed { .. }));
    assert_eq!(failed.worker_id, here.id());
    let id = here.id();
    drop(here);
    assert_eq!(events.wait_for_name("worker_exited").worker_id, id);
}

#[test]
fn a_stop_waits_for_a_local_call_and_then_interrupts_it() {
    let options = Options::default()
        .stop_timeout(Duration::from_millis(1))
        .unresponsive_worker_grace(TEST_TIMEOUT);
    let wpc = pool_with(1, options);
    wpc.define_worker_module(spinner()).unwrap();
    let events = Recorder::new(&wpc);
    let mut here = wpc.local_worker();
    assert_eq!(here.call::<i32>("quick", ()).unwrap(), 7);
    let spinning = std::thread::spawn(move || {
        let ended = here.call::<()>("spins", ());
        (here, ended)
    });
    events.wait_for_log("in");
    wpc.stop_workers();
    let (mut here, ended) = spinning.join().unwrap();
    assert_eq!(code(ended), "stopped");
    assert_eq!(code(here.call::<i32>("quick", ())), "not_running");
    wpc.start_workers(1).unwrap();
    assert_eq!(here.call::<i32>("quick", ()).unwrap(), 7);
}

#[test]
fn a_panicking_host_function_is_a_guest_error() {
    let wpc = pool(1);
    wpc.define_worker_function("count", counter()).unwrap();
    wpc.define_host_function("lookup", |_, (key,): (String,)| -> Result<Option<String>, String> {
        panic!("{key}, intended by the test")
    })
    .unwrap();
    wpc.define_host_function("store", |_, _: (String, String)| Ok::<_, String>(())).unwrap();
    let hosted = guest("hosted").grant_host_function("lookup").grant_host_function("store");
    wpc.define_worker_function("error_of_lookup", hosted).unwrap();
    let mut here = wpc.local_worker();
    assert_eq!(count(&mut here), 1);
    assert!(here.call::<String>("error_of_lookup", ("bad",)).is_ok());
    assert_eq!(count(&mut here), 2);
}

#[test]
fn a_thread_with_a_small_stack_is_rejected() {
    let wpc = pool(1);
    wpc.define_worker_function("count", counter()).unwrap();
    let wpc = Arc::new(wpc);
    let small = {
        let wpc = Arc::clone(&wpc);
        std::thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || code(wpc.local_worker().call::<i32>("count", ())))
    };
    assert_eq!(small.unwrap().join().unwrap(), "invalid_call_options");
    // Unbounded recursion is a failure of the guest on any thread.
    wpc.define_worker_function("deep", wat(r#"(module (func $f (export "deep") call $f))"#))
        .unwrap();
    assert_eq!(code(wpc.local_worker().call::<()>("deep", ())), "stack_overflow");
}

#[test]
fn local_calls_can_be_isolated() {
    let wpc = pool(1);
    wpc.define_worker_function("count", counter().isolate_calls()).unwrap();
    let mut here = wpc.local_worker();
    assert_eq!((count(&mut here), count(&mut here)), (1, 1));
}
