//! Definitions that are instantiated before they are published.

use crate::support::*;
use std::time::Duration;
use wpc_host::{Changes, Checked, Error, ErrorCode, Limits, WasmModule, WorkerProcedureCall};

const ONE: &str = r#"(func (export "f") (result i32) i32.const 1)"#;

fn module(body: &str) -> WasmModule {
    wat(&format!("(module {ONE} {body})"))
}

/// The refused functions, each with the code and the text of its error.
fn refused(wpc: &WorkerProcedureCall, checked: &Checked) -> Vec<(String, ErrorCode, String)> {
    match wpc.instantiate(checked) {
        Ok(()) => Vec::new(),
        Err(Error::ChangesRefused { refusals, .. }) => refusals
            .into_iter()
            .map(|refusal| (refusal.name, refusal.error.code(), refusal.error.to_string()))
            .collect(),
        Err(error) => panic!("another error: {error}"),
    }
}

#[test]
fn a_definition_that_cannot_be_instantiated_is_refused_with_its_function_and_the_reason() {
    let wpc = pool(1);
    wpc.define_worker_function("f", module("")).unwrap();
    let short = Limits::default().timeout(Duration::from_millis(100));
    let small = Limits::default().memory(1 << 20);
    let metered = Limits::default().fuel(1_000);
    let endless = contract(
        r#"(func (export "f") (param i32 i32) (result i64) i64.const 1)
        (func (export "wpc_init") (result i64) (loop br 0) i64.const 0)"#,
    );
    let start = |body: &str| module(&format!("(func $start {body}) (start $start)"));
    let grows = r#"(memory (export "memory") 1)
        (func $start (if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable)))
        (start $start)"#;
    for (source, code, text) in [
        (start("unreachable"), ErrorCode::Initialisation, "unreachable"),
        (endless.limits(short.clone()), ErrorCode::Timeout, "100 ms"),
        (module(grows).limits(small), ErrorCode::OutOfMemory, "memory"),
        (start("(loop br 0)").limits(metered), ErrorCode::OutOfFuel, "1000"),
        (
            start("(loop br 0)").limits(short.time_slice(Duration::from_millis(5))),
            ErrorCode::Timeout,
            "100 ms",
        ),
    ] {
        let changes = Changes::new().define_function("f", source).define_function("g", module(""));
        let checked = wpc.check(changes).unwrap();
        let found = refused(&wpc, &checked);
        let [(function, found, reason)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((function.as_str(), *found), ("f", code), "{reason}");
        assert!(reason.contains("\"f\"") && reason.contains(text), "{reason}");
    }
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 1, "the definition stays");
    assert_eq!(code(wpc.call::<i32>("g", ())), "function_not_defined");
}

#[test]
fn a_definition_that_can_be_instantiated_is_not_callable_and_leaves_nothing_behind() {
    let wpc = pool(1);
    let sliced = Limits::default().time_slice(Duration::from_millis(5));
    for limits in [Limits::default(), sliced] {
        let changes = || Changes::new().define_function("f", module("").limits(limits.clone()));
        let checked = wpc.check(changes()).unwrap();
        wpc.instantiate(&checked).unwrap();
        wpc.instantiate(&checked).unwrap();
        assert_eq!(code(wpc.call::<i32>("f", ())), "function_not_defined");
        let metrics = wpc.metrics();
        assert_eq!(
            (metrics.sandboxes.live_instances, metrics.functions.len()),
            (0, 0),
            "{metrics:?}"
        );
        wpc.apply(changes()).unwrap();
        assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 1);
        assert!(wpc.undefine_worker_function("f"));
        eventually(|| wpc.metrics().sandboxes.live_instances == 0);
    }
}

#[test]
fn init_hooks_read_the_constants_and_dependencies_of_the_changes() {
    let wpc = pool(1);
    wpc.define_worker_dependency("dep", guest("sdk")).unwrap();
    wpc.define_worker_constant("PREFIX", "fine").unwrap();
    wpc.define_worker_module(guest("needy")).unwrap();
    let with = |prefix: &str| {
        let changes = Changes::new().define_module(guest("needy"));
        wpc.check(changes.define_constant("PREFIX", prefix)).unwrap()
    };
    assert_eq!(refused(&wpc, &with("fine")), []);
    let found = refused(&wpc, &with("refuse"));
    assert_eq!(found.len(), 1, "the functions of a module share a sandbox: {found:?}");
    assert!(found[0].2.contains("the prefix is refused"), "{found:?}");
    assert!(wpc.call::<bool>("is_prepared", ()).unwrap(), "calls read the current constant");
}

#[test]
fn a_changed_dependency_is_refused_if_a_function_that_uses_it_cannot_be_instantiated() {
    let wpc = pool(1);
    let dependency = |start: &str| {
        wat(&format!(
            "(module (func $start {start}) (start $start) (func (export \"rate\") (result i32) i32.const 3))"
        ))
    };
    let user = wat(r#"(module (import "rates" "rate" (func $rate (result i32)))
        (func (export "price") (result i32) call $rate))"#);
    wpc.define_worker_dependency("rates", dependency("")).unwrap();
    wpc.define_worker_function("price", user).unwrap();
    let changes = Changes::new()
        .define_function("f", module(""))
        .define_dependency("rates", dependency("unreachable"));
    let checked = wpc.check(changes).unwrap();
    let Err(Error::ChangesRefused { refusals, .. }) = wpc.instantiate(&checked) else {
        panic!("the dependency should be refused")
    };
    let found: Vec<_> = refusals.iter().map(|found| (found.change, found.name.as_str())).collect();
    assert_eq!(found, [(1, "price")], "the second change is the cause");
    assert_eq!(wpc.call::<i32>("price", ()).unwrap(), 3);
}

#[test]
fn a_pool_that_does_not_run_instantiates_nothing() {
    let wpc = stopped(wpc_host::Options::default());
    let checked = wpc.check(Changes::new().define_function("f", module(""))).unwrap();
    assert!(matches!(wpc.instantiate(&checked), Err(Error::NotRunning)));
}
