//! Calls of guests to other functions of their pool: sandboxes, limits, cancels, traces, failures.

mod definitions;
mod progress;

use crate::support::*;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use wpc_host::{
    CallOptions, Error, Limits, Options, TraceContext, WasmModule, WorkerProcedureCall,
};

/// A function of the fixture `calling`, which may call these functions beside those that the module declares.
fn calling(export: &str, granted: &[&str]) -> WasmModule {
    let module = guest("calling").export(export).grant_function("price").grant_function("nap");
    granted.iter().fold(module, |module, name| module.grant_function(*name))
}

/// Defines `relay` under each of these names. Each of them may call all.
fn define_relays(wpc: &WorkerProcedureCall, names: &[String]) {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for name in &names {
        wpc.define_worker_function(name, calling("relay", &names)).unwrap();
    }
}

/// Defines `nap`, which waits for `h`, and `rest`, which calls it.
fn define_rest(wpc: &WorkerProcedureCall, limits: Limits) -> AsyncGate {
    let gate = define_gate(wpc);
    wpc.define_worker_function("nap", calls_h()).unwrap();
    wpc.define_worker_function("rest", calling("rest", &[]).limits(limits)).unwrap();
    gate
}

fn suspended(wpc: &WorkerProcedureCall) -> usize {
    wpc.metrics().suspended_calls
}

/// The error that a function returned.
#[track_caller]
fn guest_error(error: Error) -> (String, String) {
    let Error::Guest { error, .. } = error else { panic!("{error}") };
    (error.name, error.message)
}

#[test]
fn a_function_calls_others_by_their_declarations_and_by_their_names() {
    let wpc = pool(1);
    wpc.define_worker_function("price", calling("length", &[])).unwrap();
    wpc.define_worker_function("total", calling("total", &[])).unwrap();
    let items = vec!["tea".to_owned(), "bread".to_owned()];
    assert_eq!(wpc.call::<u32>("total", (items.clone(),)).unwrap(), 8);
    assert_eq!(wpc.local_worker().call::<u32>("total", (items,)).unwrap(), 8);
    let names = ["a".to_owned(), "b".to_owned()];
    define_relays(&wpc, &names);
    assert_eq!(wpc.call::<u32>("a", (vec!["b"],)).unwrap(), 7);
}

#[test]
fn a_called_function_keeps_its_own_sandbox_and_its_state() {
    let wpc = pool(1);
    define_sdk(&wpc, &["count"]);
    wpc.define_worker_function("run", calling("run", &["count"])).unwrap();
    assert_eq!(wpc.call::<u64>("count", ()).unwrap(), 1);
    assert_eq!(wpc.call::<u32>("run", ("count",)).unwrap(), 2);
    wpc.define_worker_function("run", calling("run", &["count"])).unwrap();
    assert_eq!(wpc.call::<u32>("run", ("count",)).unwrap(), 3);
}

#[test]
fn an_error_of_a_called_function_arrives_with_its_variant_and_payload() {
    let wpc = pool(1);
    let granted = &["fails", "panics", "missing", "add"];
    wpc.define_worker_function("error_of", calling("error_of", granted)).unwrap();
    wpc.define_worker_function("fails", calling("refuses", &[])).unwrap();
    define_sdk(&wpc, &["add"]);
    let panics = guest("calling").export("panics").grant_function("price").grant_function("nap");
    wpc.define_worker_function("panics", panics).unwrap();
    let error_of = |name: &str| wpc.call::<(String, String, usize)>("error_of", (name,)).unwrap();
    assert_eq!(error_of("fails"), ("Why".to_owned(), "TooMany".to_owned(), 2));
    for (name, error) in [
        ("panics", "Trap"),
        ("missing", "FunctionNotDefined"),
        ("add", "BadArguments"),
        ("other", "NotGranted"),
        ("error_of", "NotGranted"),
    ] {
        assert_eq!(error_of(name).0, error, "{name}");
    }
}

#[test]
fn a_called_function_ends_at_its_own_limit_or_at_that_of_its_caller() {
    let wpc = pool(1);
    let short = Limits::default().timeout(Duration::from_millis(30));
    define_rest(&wpc, short);
    let error = timeout_while_running(|| wpc.call::<u8>("rest", ()));
    assert!(error.to_string().contains("\"rest\""), "{error}");
    eventually(|| suspended(&wpc) == 0);
    wpc.define_worker_function(
        "nap",
        calls_h().limits(Limits::default().timeout(Duration::from_millis(20))),
    )
    .unwrap();
    wpc.define_worker_function("rest", calling("rest", &[])).unwrap();
    let (name, message) = guest_error(wpc.call::<u8>("rest", ()).unwrap_err());
    assert_eq!(name, "Timeout");
    assert!(message.contains("\"nap\"") && message.contains("20 ms"), "{message}");
}

#[test]
fn a_limit_that_the_caller_shortens_is_not_a_failure_of_the_called_function() {
    let wpc = pool_with(1, Options::default().restart_on_failure(false));
    wpc.define_worker_module(spinner()).unwrap();
    let limits = Limits::default().timeout(Duration::from_millis(50));
    wpc.define_worker_function("run", calling("run", &["spins", "quick"]).limits(limits)).unwrap();
    timeout_while_running(|| wpc.call::<u32>("run", ("spins",)));
    // The called function ends a moment later than its caller.
    eventually(|| wpc.metrics().pending_calls == 0);
    let metrics = wpc.metrics();
    let spins = metrics.functions.iter().find(|function| function.name == "spins").unwrap();
    assert_eq!((spins.sandbox_failures, spins.breakers.open), (0, 0));
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
}

#[test]
fn failures_of_a_called_function_open_its_own_circuit_breaker_and_no_other() {
    let wpc = pool_with(1, Options::default().restart_on_failure(false));
    wpc.define_worker_function("panics", calling("panics", &[])).unwrap();
    wpc.define_worker_function("error_of", calling("error_of", &["panics"])).unwrap();
    let error_of = || wpc.call::<(String, String, usize)>("error_of", ("panics",)).unwrap().0;
    assert_eq!(error_of(), "Trap");
    assert_eq!(error_of(), "CircuitOpen");
    assert_eq!(code(wpc.call::<()>("panics", ())), "circuit_open");
    let metrics = wpc.metrics();
    let of = |name: &str| metrics.functions.iter().find(|function| function.name == name).unwrap();
    assert_eq!((of("panics").breakers.open, of("error_of").breakers.open), (1, 0));
}

#[test]
fn a_hang_is_a_failure_of_the_called_function_and_not_of_its_caller() {
    let limits = Limits::default().timeout(Duration::from_millis(200));
    let options =
        immediate_restarts().max_restarts_per_worker(2).unresponsive_worker_grace(TEST_TIMEOUT);
    // On a busy machine, a caller may be stopped for its whole limit while it does not wait for its called function. Then
    // another pool is used.
    eventually(|| {
        let wpc = pool_with(1, options.clone());
        // `nap` never ends, and `rest` calls it.
        let spins = spinner().export("spins").limits(limits.clone());
        wpc.define_worker_function("nap", spins).unwrap();
        let rest = calling("rest", &[]).limits(limits.clone());
        wpc.define_worker_function("rest", rest).unwrap();
        // On a busy machine a caller may begin too late, so its called function has too little time.
        let mut calls = (0..100).map(|_| wpc.call::<u8>("rest", ()));
        let refused = calls.find_map(|result| match result {
            Err(Error::Guest { error, .. }) => Some(error.name),
            Err(Error::Timeout { .. }) => None,
            other => panic!("{other:?}"),
        });
        // The circuit breaker of `nap` is open, which `rest` reports.
        assert_eq!(refused.as_deref(), Some("CircuitOpen"));
        assert_eq!(code(wpc.call::<()>("nap", ())), "circuit_open");
        let of = |name: &str| {
            let functions = wpc.metrics().functions;
            functions.into_iter().find(|function| function.name == name).unwrap().sandbox_failures
        };
        (of("rest"), of("nap")) == (0, 3)
    });
}

#[test]
fn a_cancel_reaches_the_called_function() {
    let wpc = pool(2);
    define_rest(&wpc, Limits::default());
    let call = wpc.submit::<u8>("rest", ()).unwrap();
    eventually(|| suspended(&wpc) == 2);
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    eventually(|| suspended(&wpc) == 0);
    // The thread that takes a call out of the suspended ones frees its slot a moment later.
    eventually(|| wpc.metrics().pending_calls == 0);
}

#[test]
fn a_running_called_function_is_interrupted_with_its_caller() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    wpc.define_worker_module(spinner()).unwrap();
    wpc.define_worker_function("run", calling("run", &["spins"])).unwrap();
    let call = wpc.submit::<u32>("run", ("spins",)).unwrap();
    events.wait_for_log("in");
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    assert_eq!(wpc.call::<i32>("quick", ()).unwrap(), 7);
}

#[test]
fn a_called_function_inherits_the_trace_and_the_remaining_time_of_its_caller() {
    let wpc = pool(1);
    let (sees, seen) = sync_channel(1);
    wpc.define_async_host_function("h", move |context, (): ()| {
        let trace = context.trace_context().map(ToString::to_string);
        let id = context.correlation_id().map(str::to_owned);
        sees.send((trace, id, context.remaining_time(), context.function_name().to_owned()))
            .unwrap();
        async { Ok::<_, String>(1_u8) }
    })
    .unwrap();
    wpc.define_worker_function("nap", calls_h()).unwrap();
    wpc.define_worker_function("rest", calling("rest", &[])).unwrap();
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let limit = Duration::from_secs(20);
    let trace: TraceContext = text.parse().unwrap();
    let options = CallOptions::new().trace_context(trace).correlation_id("17").timeout(limit);
    wpc.call_with::<u8>("rest", (), &options).unwrap();
    let (trace, id, remaining, function) = seen.recv().unwrap();
    assert_eq!((trace.as_deref(), id.as_deref(), &*function), (Some(text), Some("17"), "nap"));
    assert!(remaining <= limit, "{remaining:?}");
}

#[test]
fn an_async_host_function_calls_the_pool_for_its_call() {
    // The callers use all sandboxes that calls from outside may use.
    let wpc = pool_with(1, Options::default().max_live_instances(40));
    define_relays(&wpc, &["leaf".to_owned()]);
    let pool = wpc.clone();
    wpc.define_async_host_function("h", move |context, (): ()| {
        let call = pool.call_async_for::<u32>(&context, "leaf", (Vec::<String>::new(),));
        let itself = pool.call_async_for::<u32>(&context, "f", ());
        async move {
            assert!(matches!(itself.await, Err(Error::RecursiveCall { .. })));
            call.await
        }
    })
    .unwrap();
    wpc.define_worker_function("f", calls_h()).unwrap();
    let calls: Vec<_> = (0..100).map(|_| wpc.submit::<u32>("f", ()).unwrap()).collect();
    for call in calls {
        assert_eq!(call.wait().unwrap(), 7);
    }
    // A host function that calls as any other caller does shares their bound.
    let pool = wpc.clone();
    wpc.define_async_host_function("h", move |_, (): ()| {
        pool.call_async::<u32>("leaf", (Vec::<String>::new(),))
    })
    .unwrap();
    assert_eq!(wpc.call::<u32>("f", ()).unwrap(), 7);
    wpc.undefine_host_function("h");
}
