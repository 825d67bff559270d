//! Host functions: grants, types, errors, context.

mod blocking;

use crate::support::*;
use std::collections::HashMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wpc_host::{CallOptions, Error, Grant, HostContext, Options, WasmModule, WorkerProcedureCall};

type Store = Arc<Mutex<HashMap<String, String>>>;

fn hosted() -> WasmModule {
    guest("hosted").grant_host_function("lookup").grant_host_function("store")
}

fn with_store(wpc: &WorkerProcedureCall) -> Store {
    let store = Store::default();
    let shared = Arc::clone(&store);
    wpc.define_host_function("lookup", move |_, (key,): (String,)| {
        Ok::<_, String>(shared.lock().unwrap().get(&key).cloned())
    })
    .unwrap();
    let shared = Arc::clone(&store);
    wpc.define_host_function("store", move |_, (key, value): (String, String)| {
        shared.lock().unwrap().insert(key, value);
        Ok::<_, String>(())
    })
    .unwrap();
    store
}

#[test]
fn guests_call_the_embedders_functions_with_types() {
    let wpc = pool(2);
    let store = with_store(&wpc);
    store.lock().unwrap().insert("a".to_owned(), "one".to_owned());
    wpc.define_worker_module(hosted()).unwrap();
    assert!(wpc.call::<bool>("copy", ("a", "b")).unwrap());
    assert!(!wpc.call::<bool>("copy", ("missing", "c")).unwrap());
    assert_eq!(store.lock().unwrap().get("b").unwrap(), "one");
}

#[test]
fn a_module_without_the_grant_for_a_host_function_is_rejected_with_the_grant() {
    let wpc = stopped(Options::default());
    with_store(&wpc);
    let error =
        wpc.define_worker_module(guest("hosted").grant_host_function("lookup")).unwrap_err();
    let Error::NotGranted { module, name, grant, .. } = &error else { panic!("{error}") };
    assert_eq!((module.as_str(), name.as_str()), ("wpc-host", "store"));
    assert_eq!(grant, &Grant::HostFunction("store".to_owned()));
}

#[test]
fn a_call_is_rejected_while_a_required_host_function_is_missing() {
    let wpc = pool(1);
    wpc.define_worker_module(hosted()).unwrap();
    let Err(Error::HostFunctionNotDefined { host_function, .. }) =
        wpc.call::<bool>("copy", ("a", "b"))
    else {
        panic!("the call should be rejected")
    };
    assert_eq!(host_function, "lookup");
    with_store(&wpc);
    assert!(!wpc.call::<bool>("copy", ("a", "b")).unwrap());
    assert!(wpc.undefine_host_function("store"));
    assert!(!wpc.undefine_host_function("store"));
    assert_eq!(code(wpc.call::<bool>("copy", ("a", "b"))), "host_function_not_defined");
}

#[test]
fn errors_and_panics_reach_the_guest_as_values() {
    let wpc = pool(1);
    with_store(&wpc);
    wpc.define_worker_module(hosted()).unwrap();
    wpc.define_host_function(
        "lookup",
        |_, (key,): (String,)| -> Result<Option<String>, std::num::ParseIntError> {
            assert_ne!(key, "panic", "intended by the test");
            key.parse::<u8>().map(|number| Some(number.to_string()))
        },
    )
    .unwrap();
    let error = |key: &str| wpc.call::<String>("error_of_lookup", (key,)).unwrap();
    assert_eq!(
        [error("7"), error("x"), error("panic")],
        ["none", "ParseIntError", "HostFunctionPanicked"]
    );

    // Called with arguments other than those that it takes.
    wpc.define_untyped_host_function("lookup", |_, (_, _): (String, u8)| {
        Ok::<_, String>(Some("x"))
    })
    .unwrap();
    assert_eq!(error("x"), "BadArguments");
    assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0);
}

#[test]
fn a_host_function_receives_the_context_of_its_call() {
    let wpc = pool(1);
    let (send, receive) = sync_channel(1);
    wpc.define_host_function("h", move |context: &HostContext, (): ()| {
        send.send((
            context.call_id(),
            context.function_name().to_owned(),
            context.worker_id(),
            context.deadline(),
        ))
        .map_err(|error| error.to_string())
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    let before = Instant::now();
    let call = wpc
        .submit_with::<()>("f", (), &CallOptions::new().timeout(Duration::from_secs(60)))
        .unwrap();
    let id = call.id();
    let worker = call.wait_answer().unwrap().metadata.worker_id;
    let seen = receive.recv_timeout(TEST_TIMEOUT).unwrap();
    assert_eq!((seen.0, seen.1.as_str(), seen.2), (id, "f", worker));
    assert!(seen.3 >= before + Duration::from_secs(60));
}

#[test]
fn a_replaced_host_function_may_use_the_pool_in_drop() {
    struct Uses(WorkerProcedureCall);
    impl Drop for Uses {
        fn drop(&mut self) {
            self.0.undefine_worker_constant("A");
        }
    }
    let wpc = stopped(Options::default());
    let uses = Uses(wpc.clone());
    wpc.define_host_function("h", move |_, (): ()| {
        let _ = &uses;
        Ok::<_, String>(())
    })
    .unwrap();
    wpc.define_worker_constant("A", &1).unwrap();
    wpc.define_host_function("h", |_, (): ()| Ok::<_, String>(())).unwrap();
    assert!(wpc.get_worker_constants().is_empty());
}
