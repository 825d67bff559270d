//! The 19 test cases of the Node library, in their order. Where its mechanism does not exist in WebAssembly, the test
//! covers the nearest counterpart and its comment states that.

use crate::support::*;
use std::collections::BTreeMap;
use std::time::Duration;
use wpc_host::{
    CallOptions, Capability, Error, ErrorCode, Options, PendingCall, WorkerProcedureCall,
};

/// How many unanswered calls each worker has.
fn loads(wpc: &WorkerProcedureCall) -> Vec<usize> {
    wpc.get_worker_health_states().iter().map(|worker| worker.pending_call_count).collect()
}

#[test]
fn a_function_defined_before_start_is_installed_at_start() {
    let wpc = stopped(Options::default());
    let defined = wpc.define_worker_function("add", guest("sdk")).unwrap();
    assert_eq!(defined.installed_worker_count, 0);
    wpc.start_workers(2).unwrap();
    assert_eq!(wpc.get_remote_functions()[0].installed_worker_count, 2);
    assert_eq!(wpc.call::<i32>("add", (2, 3)).unwrap(), 5);
}

#[test]
fn a_function_defined_after_start_is_installed_on_every_worker() {
    let wpc = pool(3);
    let defined = wpc.define_worker_function("add", guest("sdk")).unwrap();
    assert_eq!(defined.installed_worker_count, 3);
    assert_eq!(workers_of_keys::<i32>(&wpc, "add", (2, 3)).len(), 3, "each worker answers");
}

#[test]
fn a_function_hash_changes_only_with_its_module() {
    let wpc = pool(1);
    let bytes = wat::parse_str(r#"(module (func (export "f") (result i32) i32.const 1))"#).unwrap();
    let hash = wpc.define_worker_function("g", &bytes).unwrap().function_hash_sha1;
    assert_eq!(hash, wpc_host::FunctionHash::of(&bytes), "it is the hash that `sha1sum` prints");
    let first = wpc.define_worker_function("f", replies("\\00\\02", 2)).unwrap();
    let again = wpc.define_worker_function("f", replies("\\00\\02", 2)).unwrap();
    assert_eq!(first.function_hash_sha1, again.function_hash_sha1);
    let other = wpc.define_worker_function("f", replies("\\00\\04", 2)).unwrap();
    assert_ne!(first.function_hash_sha1, other.function_hash_sha1);
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 2);
}

#[test]
fn a_function_error_arrives_with_name_message_and_stack() {
    let wpc = pool(1);
    define_sdk(&wpc, &["fails"]);
    let Err(Error::Guest { function, error, .. }) = wpc.call::<()>("fails", (3,)) else {
        panic!("the call should fail")
    };
    assert_eq!(function, "fails");
    assert_eq!(error.name, "TooSmall");
    assert_eq!(error.message, "3 is too small");
    assert!(error.stack.starts_with("in fails at sdk/src/lib.rs:"), "{}", error.stack);
}

#[test]
fn an_undefined_function_cannot_be_called() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    assert!(wpc.undefine_worker_function("add"));
    assert!(wpc.get_remote_functions().is_empty());
    assert_eq!(code(wpc.call::<i32>("add", (1, 2))), "function_not_defined");
    assert!(!wpc.undefine_worker_function("add"), "it is not defined any more");
}

#[test]
fn a_call_that_exceeds_its_time_limit_is_rejected() {
    let call_timeout = Duration::from_millis(20);
    let wpc = pool_with(1, immediate_restarts().call_timeout(call_timeout));
    define_sdk(&wpc, &["spins"]);
    let error = timeout_while_running(|| wpc.call::<()>("spins", ()));
    assert!(matches!(error, Error::Timeout { limit, .. } if limit == call_timeout), "{error}");
}

/// In the Node library, the function's source fails to evaluate in the worker. Here, the module does not compile.
#[test]
fn a_failed_definition_is_reported_as_an_event_and_workers_keep_running() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    assert_eq!(code(wpc.define_worker_function("f", b"\0asm\x01\0\0\0\xff")), "invalid_module");
    let event = events.wait_for_name("definition_refused");
    assert_eq!(event.error.unwrap().code, ErrorCode::InvalidModule);
    define_sdk(&wpc, &["add"]);
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
}

#[test]
fn a_call_error_is_reported_and_the_worker_remains_callable() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    define_sdk(&wpc, &["fails", "add"]);
    assert_eq!(code(wpc.call::<()>("fails", (3,))), "guest_error");
    let event = events.wait_for_name("call_execution_failed");
    assert!(event.correlation_id.is_some());
    assert_eq!(event.error.unwrap().name, "TooSmall");
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
}

/// In the Node library, the function leaves a rejected promise unhandled. Here, the guest panics.
#[test]
fn a_guest_panic_is_reported_with_its_message_and_the_worker_survives() {
    let wpc = pool_with(1, immediate_restarts());
    let events = Recorder::new(&wpc);
    define_sdk(&wpc, &["panics", "add"]);
    let Err(Error::Trap { reason, .. }) = wpc.call::<()>("panics", ("planned",)) else {
        panic!("the call should trap")
    };
    assert!(reason.contains("it was planned"), "{reason}");
    assert!(reason.contains("sdk/src/lib.rs:"), "{reason}");
    assert_eq!(events.wait_for_name("sandbox_failed").error.unwrap().code, ErrorCode::Trap);
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3);
}

/// In the Node library, the parent posts messages of the wrong shape. Here, the arguments are invalid bytes.
#[test]
fn malformed_arguments_are_reported_and_the_worker_keeps_running() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    define_sdk(&wpc, &["join", "count"]);
    assert_eq!(wpc.call::<u64>("count", ()).unwrap(), 1);
    for arguments in [(255_u8, 255_u8, 255_u8), (1, 0, 1)] {
        assert_eq!(code(call_encoded(&wpc, "join", &arguments)), "bad_arguments");
        events.wait_for_name("call_execution_failed");
    }
    assert_eq!(wpc.call::<String>("join", ("a", "b")).unwrap(), "ab");
    assert_eq!(wpc.call::<u64>("count", ()).unwrap(), 2, "the sandbox kept its state");
}

#[test]
fn a_dependency_defined_before_start_is_callable_from_a_function() {
    let wpc = stopped(Options::default());
    wpc.define_worker_constant("SERVICE_PREFIX", "api-v1").unwrap();
    wpc.define_worker_dependency("path_dep", guest("path")).unwrap();
    wpc.define_worker_function("WPCFunction1", guest("function1")).unwrap();
    wpc.start_workers(2).unwrap();
    assert_eq!(
        wpc.call::<String>("WPCFunction1", ("/tmp/example.txt",)).unwrap(),
        "api-v1:example.txt"
    );
}

#[test]
fn a_dependency_defined_after_start_is_installed_on_running_workers() {
    let wpc = pool(2);
    wpc.define_worker_function("WPCFunction2", guest("function2")).unwrap();
    assert_eq!(code(wpc.call::<String>("WPCFunction2", ())), "dependency_not_defined");
    wpc.define_worker_dependency("crypto_dep", guest("crypto").grant(Capability::Random)).unwrap();
    assert_eq!(wpc.get_worker_dependencies()[0].installed_worker_count, 2);
    let uuids: std::collections::BTreeSet<String> =
        (0..4).map(|_| wpc.call("WPCFunction2", ()).unwrap()).collect();
    assert_eq!(uuids.len(), 4);
    assert!(uuids.iter().all(|uuid| uuid.len() == 36 && uuid.as_bytes()[14] == b'4'), "{uuids:?}");
}

#[test]
fn undefining_a_dependency_prevents_later_calls() {
    let wpc = pool(1);
    wpc.define_worker_constant("SERVICE_PREFIX", "p").unwrap();
    wpc.define_worker_dependency("path_dep", guest("path")).unwrap();
    wpc.define_worker_function("WPCFunction1", guest("function1")).unwrap();
    assert!(wpc.undefine_worker_dependency("path_dep"));
    let Err(Error::DependencyNotDefined { function, alias, .. }) =
        wpc.call::<String>("WPCFunction1", ("x",))
    else {
        panic!("it should be rejected")
    };
    assert_eq!((function.as_str(), alias.as_str()), ("WPCFunction1", "path_dep"));
}

/// In the Node library, the module specifier cannot be loaded in the worker. Here, an invalid dependency is rejected at
/// once, and one whose start function fails is reported with the worker and the reason.
#[test]
fn a_dependency_failure_names_the_dependency_and_the_worker() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    let refused = wpc.define_worker_dependency("path_dep", b"\0asm\x01\0\0\0\xff").unwrap_err();
    let Error::InvalidModule { what, .. } = &refused else { panic!("{refused}") };
    assert_eq!(what, "the module of dependency \"path_dep\"");

    let failing = r#"(module (func $start unreachable) (start $start) (func (export "one") (result i32) i32.const 1))"#;
    wpc.define_worker_dependency("dep", wat(failing)).unwrap();
    let caller = r#"(module (import "dep" "one" (func $one (result i32))) (func (export "f") (result i32) call $one))"#;
    wpc.define_worker_function("f", wat(caller)).unwrap();
    let Err(Error::Initialisation { function, reason, .. }) = wpc.call::<i32>("f", ()) else {
        panic!("the call should fail")
    };
    assert_eq!(function, "f");
    assert!(
        reason.starts_with("dependency \"dep\": ") && reason.contains("unreachable"),
        "{reason}"
    );
    let event = events.wait_for_name("sandbox_failed");
    assert_eq!(event.worker_id, Some(wpc.get_worker_health_states()[0].worker_id));
}

#[test]
fn a_replaced_worker_serves_calls_with_dependencies_again() {
    failing_subscriber::install();
    let wpc = pool_with(1, immediate_restarts());
    let events = Recorder::new(&wpc);
    wpc.define_worker_constant("SERVICE_PREFIX", "p").unwrap();
    wpc.define_worker_dependency("path_dep", guest("path")).unwrap();
    wpc.define_worker_function("WPCFunction1", guest("function1")).unwrap();
    wpc.define_worker_function("f", failing_subscriber::logs("panic the host")).unwrap();
    assert_eq!(wpc.call::<String>("WPCFunction1", ("/a",)).unwrap(), "p:a");
    let before = wpc.get_worker_health_states()[0].worker_id;

    assert_eq!(code(wpc.call::<()>("f", ())), "worker_lost");

    assert_eq!(wpc.call::<String>("WPCFunction1", ("/a",)).unwrap(), "p:a");
    events.wait_for_name("worker_restart_completed");
    let states = wpc.get_worker_health_states();
    assert_eq!(states.len(), 1);
    assert_ne!(states[0].worker_id, before, "the replacement has a new id");
    assert_eq!(states[0].restart_attempt, 1);
}

#[test]
fn constants_are_defined_and_read_by_functions() {
    let wpc = pool(2);
    define_sdk(&wpc, &["constant"]);
    wpc.define_worker_constant("A", "one").unwrap();
    assert_eq!(wpc.call::<String>("constant", ("A",)).unwrap(), "one");
    wpc.define_worker_constant("A", "two").unwrap();
    for _ in 0..4 {
        assert_eq!(wpc.call::<String>("constant", ("A",)).unwrap(), "two");
    }
    assert_eq!(wpc.get_worker_constants()[0].name, "A");
    assert!(wpc.undefine_worker_constant("A"));
    let Err(Error::Guest { error, .. }) = wpc.call::<String>("constant", ("A",)) else {
        panic!("the call should fail")
    };
    assert_eq!(error.name, "ConstantNotDefined");
}

#[test]
fn parallel_calls_are_balanced_by_least_in_flight() {
    let wpc = pool(3);
    wpc.define_worker_function("spins", spinner()).unwrap();
    let calls: Vec<PendingCall<()>> = (0..30).map(|_| wpc.submit("spins", ()).unwrap()).collect();
    // A call that the supervisor moves to another worker counts for both for a moment.
    eventually(|| loads(&wpc) == [10, 10, 10]);
    drop(calls);
}

#[test]
fn calls_are_rejected_when_every_worker_is_saturated() {
    let wpc = pool_with(2, Options::default().max_pending_calls_per_worker(2));
    wpc.define_worker_function("spins", spinner()).unwrap();
    let calls: Vec<PendingCall<()>> = (0..4).map(|_| wpc.submit("spins", ()).unwrap()).collect();
    // The supervisor may move one of them meanwhile.
    eventually(|| loads(&wpc) == [2, 2] && wpc.metrics().waiting_calls == 0);
    let Err(Error::Saturated { function, limit, .. }) = wpc.call::<()>("spins", ()) else {
        panic!("it should be rejected")
    };
    assert_eq!((function.as_str(), limit), ("spins", 2));
    for call in calls {
        call.cancel();
        assert_eq!(code(call.wait()), "cancelled");
    }
    // Calls get the slots that are free now.
    let options = CallOptions::new().timeout(Duration::from_millis(20)).wait_for_capacity();
    timeout_while_running(|| wpc.call_with::<()>("spins", (), &options));
}

#[test]
fn stop_workers_is_graceful_and_idempotent() {
    let wpc = pool(2);
    define_sdk(&wpc, &["add"]);
    let calls: BTreeMap<i32, PendingCall<i32>> =
        (0..100).map(|number| (number, wpc.submit("add", (number, 1)).unwrap())).collect();
    wpc.stop_workers();
    for (number, call) in calls {
        assert_eq!(call.wait().unwrap(), number + 1, "accepted calls complete");
    }
    wpc.stop_workers();
    assert!(wpc.get_worker_health_states().is_empty());
    assert_eq!(code(wpc.call::<i32>("add", (1, 2))), "not_running");
    wpc.start_workers(1).unwrap();
    assert_eq!(wpc.call::<i32>("add", (1, 2)).unwrap(), 3, "definitions survive a stop");
}
