//! Every function that the host links checks whether its call should end.

use super::*;
use crate::call::Call;
use crate::call::nested::no_pool;
use crate::definition::wasi::grant::{Output, Wasi};
use crate::event::Events;
use crate::host_function::HostRuntime;
use crate::host_function::bindings::{Bindings, CurrentBindings};
use crate::id::{CallId, Generation, WorkerId};
use crate::module::engine::{Engines, Profile};
use crate::module::{self, DependencyImports, Origin, Requirements};
use crate::options::Options;
use crate::system::epoch_ticker::EpochTicker;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use wasmtime::{Extern, Func, Linker, Val, ValType};

/// Neither constants nor host functions.
#[derive(Debug)]
struct NoBindings;

impl CurrentBindings for NoBindings {
    fn bindings(&self) -> Arc<Bindings> {
        Arc::default()
    }
}

fn environment() -> Arc<Environment> {
    Arc::new(Environment {
        worker: WorkerId(1),
        events: Events::new(1),
        bindings: Arc::new(NoBindings),
        host_runtime: Arc::new(HostRuntime::new(&Options::default())),
        nested_calls: no_pool(),
        stopping: Arc::default(),
        is_occupied: AtomicBool::new(false),
        ticker: Arc::new(EpochTicker::new()),
        observer: Arc::default(),
        started: Instant::now(),
        max_wasm_stack: 1 << 20,
        max_instances: 1,
    })
}

/// Everything that the host links for a module that has an import of each origin.
fn every_import(engine: &wasmtime::Engine, profile: Profile) -> Linker<State> {
    let compiled = |what: &str, text: &str| {
        let bytes = wat::parse_str(text).unwrap();
        Arc::new(module::compile(what, &bytes, engine, None, profile).unwrap())
    };
    let callee = compiled("a dependency", r#"(module (func (export "function")))"#);
    let importer = compiled(
        "every import",
        r#"(module
            (import "wpc" "wpc_take" (func (param i32 i32) (result i64)))
            (import "wpc-host" "host_function" (func (param i32 i32 i32 i32) (result i64)))
            (import "wpc-functions" "called" (func (param i32 i32 i32 i32) (result i64)))
            (import "wpc" "wpc_call" (func (param i32 i32 i32 i32 i32 i32) (result i64)))
            (import "wpc:callee" "function" (func (param i32 i32 i32 i32) (result i64)))
            (import "callee" "function" (func))
            (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))))"#,
    );
    // Destructured by field, so that a new kind of import is added above.
    let Requirements {
        constants: _,
        constant_types: _,
        capabilities: _,
        dependencies,
        host_functions,
        host_function_types: _,
        functions,
        calls_by_name,
        wasi,
        yields_items: _,
    } = &importer.requirements;
    let DependencyImports { typed, linked } = &dependencies["callee"];
    assert!(!(host_functions.is_empty() || wasi.is_empty()), "host functions and WASI");
    assert!(*calls_by_name && !functions.is_empty(), "functions of the pool");
    assert!(!(typed.is_empty() || linked.is_empty()), "a dependency, typed and linked");
    // The same for the origins of imports. The host links nothing of the last one, which is a guest's.
    let origins = importer.wasm.imports().map(|import| {
        match module::origin(import.module(), import.name()).unwrap() {
            Origin::Host(_) => 0,
            Origin::HostFunction => 1,
            Origin::Typed(_) => 2,
            Origin::Wasi(_) => 3,
            Origin::Linked(_) => 4,
            Origin::CalledFunction => 5,
        }
    });
    assert_eq!(origins.collect::<BTreeSet<_>>(), (0..=5).collect());
    let node = |what: &str, module, dependencies| Node {
        what: what.into(),
        module,
        dependencies,
        wasi: None,
        functions: Arc::default(),
    };
    let nodes = [
        node("a dependency", callee, HashMap::new()),
        node("every import", importer, HashMap::from([("callee".to_owned(), 0)])),
    ];
    blueprint::link_host_side(engine, profile, &nodes, 1).unwrap().linker
}

/// A guest that calls only this function, and then traps.
fn calls_once(module: &str, name: &str, function: &Func, store: &Store<State>) -> Vec<u8> {
    let ty = function.ty(store);
    let list = |types: &mut dyn Iterator<Item = ValType>| {
        types.map(|ty| ty.to_string()).collect::<Vec<_>>().join(" ")
    };
    let (parameters, results) = (list(&mut ty.params()), list(&mut ty.results()));
    let arguments: String = ty.params().map(|ty| format!("({ty}.const 8)")).collect();
    let drops = "drop ".repeat(ty.results().len());
    wat::parse_str(format!(
        r#"(module
            (import "{module}" "{name}" (func $import (param {parameters}) (result {results})))
            (memory (export "memory") 1)
            (func (export "f") {arguments} call $import {drops} unreachable))"#
    ))
    .unwrap()
}

#[test]
fn every_linked_function_ends_a_guest_whose_call_should_end() {
    let engines =
        Engines::new(&Options { max_live_instances: 1, ..Options::default() }, None).unwrap();
    for profile in [engines.plain(), engines.plain().with_fibers()] {
        every_linked_function_ends_a_guest(&engines.get(profile).unwrap(), profile);
    }
}

fn every_linked_function_ends_a_guest(engine: &wasmtime::Engine, profile: Profile) {
    let linker = every_import(engine, profile);
    let environment = environment();
    let limits = Limits::default();
    let blueprint = Blueprint::link(engine, profile, None, &[]).unwrap();
    let new_store = || {
        let mut state = State::new(&limits, &environment, &blueprint);
        let granted = Wasi::minimal().stdout(Output::discard());
        let volume = Arc::clone(&state.volume);
        state.wasi.push(wasi::Context::new(&granted, 8, &environment, &volume).unwrap());
        let mut store = Store::new(engine, state);
        store.set_epoch_deadline(1);
        store
    };
    let mut listing = new_store();
    let linked: Vec<_> = linker
        .iter(&mut listing)
        .map(|(module, name, found)| (module.to_owned(), name.to_owned(), found))
        .collect();
    for name in
        ["wpc_constant", "wpc_panic", "host_function", "function", "fd_write", "poll_oneoff"]
    {
        assert!(linked.iter().any(|(_, linked, _)| linked == name), "{name} is linked");
    }
    // Only guests on fibers can wait for other functions.
    let calls = ["called", "wpc_call"];
    let linked_calls = linked.iter().filter(|(_, linked, _)| calls.contains(&linked.as_str()));
    assert_eq!(linked_calls.count(), if profile.has_fibers { 2 } else { 0 });
    let mut wasm = Vec::new();
    for (module, name, found) in linked {
        let Extern::Func(function) = found else { panic!("{name} is a function") };
        wasm.push((calls_once(&module, &name, &function, &listing), name));
    }
    drop(listing);
    for (bytes, name) in wasm {
        let mut store = new_store();
        let module = wasmtime::Module::new(engine, bytes).unwrap();
        let instance = if profile.has_fibers {
            pollster::block_on(linker.instantiate_async(&mut store, &module))
        } else {
            linker.instantiate(&mut store, &module)
        };
        let instance = instance.unwrap();
        let limit = std::time::Duration::from_secs(60);
        let call = Call::new(CallId(1), "f".into(), Generation(1), Instant::now(), limit);
        assert!(call.begin());
        call.cancel();
        store.data_mut().call = Some(Arc::new(call));
        let function = instance.get_func(&mut store, "f").unwrap();
        let none = &mut [] as &mut [Val];
        let ended = if profile.has_fibers {
            pollster::block_on(function.call_async(&mut store, &[], none))
        } else {
            function.call(&mut store, &[], none)
        };
        let error = ended.unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(Failure::Interrupted(_))),
            "{name} does not check: {error:#}"
        );
    }
}
