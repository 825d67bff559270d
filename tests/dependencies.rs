//! Dependencies: direct links and typed calls, chains, cycles, changes.

use crate::support::*;
use wpc_host::{Error, Limits, Options, WasmModule, WorkerProcedureCall};

fn constant(value: i32) -> WasmModule {
    wat(&format!(r#"(module (func (export "get") (result i32) i32.const {value}))"#))
}

/// Adds one to the result of `alias`.
fn plus_one(alias: &str) -> WasmModule {
    wat(&format!(
        r#"(module (import "{alias}" "get" (func $get (result i32)))
            (func (export "get") (result i32) (i32.add (call $get) (i32.const 1))))"#
    ))
}

#[test]
fn imports_are_linked_directly_by_alias() {
    let wpc = pool(2);
    wpc.define_worker_dependency("base", constant(41)).unwrap();
    wpc.define_worker_function("f", plus_one("base").export("get")).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 42);
    let function = &wpc.get_remote_functions()[0];
    assert_eq!(function.required_dependencies, ["base"]);
}

#[test]
fn memories_and_globals_are_linked_too() {
    let wpc = pool(1);
    wpc.define_worker_dependency(
        "store",
        wat(r#"(module
        (memory (export "memory") 1) (global (export "offset") i32 (i32.const 8))
        (func (export "put") (param i32) (i32.store (i32.const 8) (local.get 0))))"#),
    )
    .unwrap();
    wpc.define_worker_function("f", wat(r#"(module
        (import "store" "memory" (memory 1)) (import "store" "offset" (global $offset i32))
        (import "store" "put" (func $put (param i32)))
        (func (export "f") (param i32) (result i32) (call $put (local.get 0)) (i32.load (global.get $offset))))"#)).unwrap();
    assert_eq!(wpc.call::<i32>("f", (77,)).unwrap(), 77);
}

#[test]
fn dependencies_may_need_others_and_share_them_within_a_sandbox() {
    let wpc = pool(1);
    wpc.define_worker_dependency("counter", wat(r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "get") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) global.get $n))"#)).unwrap();
    wpc.define_worker_dependency("left", plus_one("counter")).unwrap();
    wpc.define_worker_dependency("right", plus_one("counter")).unwrap();
    wpc.define_worker_function("f", wat(r#"(module
        (import "left" "get" (func $left (result i32))) (import "right" "get" (func $right (result i32)))
        (func (export "f") (result i32) (i32.add (i32.mul (call $left) (i32.const 100)) (call $right))))"#)).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 203, "both use the same counter");
    assert_eq!(wpc.get_remote_functions()[0].required_dependencies, ["counter", "left", "right"]);
}

#[test]
fn a_long_chain_links_and_an_unbounded_one_is_rejected() {
    let wpc = pool(1);
    wpc.define_worker_dependency("d0", constant(0)).unwrap();
    for at in 1..=16 {
        wpc.define_worker_dependency(&format!("d{at}"), plus_one(&format!("d{}", at - 1))).unwrap();
    }
    wpc.define_worker_function("f", plus_one("d16").export("get")).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 17);

    let wpc = stopped(Options::default());
    wpc.define_worker_dependency("d0", constant(0)).unwrap();
    let refused = (1..400).find_map(|at| {
        wpc.define_worker_dependency(&format!("d{at}"), plus_one(&format!("d{}", at - 1))).err()
    });
    assert_eq!(refused.unwrap().code().as_str(), "dependency_chain");
}

#[test]
fn a_cycle_is_rejected_with_its_path() {
    let wpc = stopped(Options::default());
    wpc.define_worker_dependency("a", plus_one("b")).unwrap();
    wpc.define_worker_dependency("b", plus_one("c")).unwrap();
    let Err(Error::DependencyCycle { path, .. }) = wpc.define_worker_dependency("c", plus_one("a"))
    else {
        panic!("there should be a cycle")
    };
    assert_eq!(path, ["c", "a", "b", "c"]);
    assert_eq!(wpc.get_worker_dependencies().len(), 2);
    assert_eq!(code(wpc.define_worker_dependency("self", plus_one("self"))), "dependency_cycle");
}

#[test]
fn a_missing_dependency_is_named_at_any_depth() {
    let wpc = pool(1);
    wpc.define_worker_dependency("a", plus_one("b")).unwrap();
    wpc.define_worker_function("f", plus_one("a").export("get")).unwrap();
    assert_eq!(wpc.get_remote_functions()[0].installed_worker_count, 0);
    let Err(Error::DependencyNotDefined { alias, .. }) = wpc.call::<i32>("f", ()) else {
        panic!("the dependency should be missing")
    };
    assert_eq!(alias, "b");
    wpc.define_worker_dependency("b", constant(1)).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 3);
}

#[test]
fn missing_dependencies_are_resolved_without_visiting_every_path() {
    let wpc = stopped(Options::default());
    for at in 0..60 {
        let module = format!(
            r#"(module (import "n{a}" "x" (func)) (import "m{a}" "x" (func)) (func (export "x")))"#,
            a = at + 1
        );
        wpc.define_worker_dependency(&format!("n{at}"), wat(&module)).unwrap();
        wpc.define_worker_dependency(&format!("m{at}"), wat(&module)).unwrap();
    }
}

#[test]
fn a_redefined_dependency_is_used_by_later_calls() {
    let wpc = pool(2);
    wpc.define_worker_dependency("base", constant(1)).unwrap();
    wpc.define_worker_dependency("mid", plus_one("base")).unwrap();
    wpc.define_worker_function("f", plus_one("mid").export("get")).unwrap();
    for value in [1, 5, 9] {
        wpc.define_worker_dependency("base", constant(value)).unwrap();
        for _ in 0..4 {
            assert_eq!(wpc.call::<i32>("f", ()).unwrap(), value + 2);
        }
    }
}

#[test]
fn a_dependency_that_would_break_a_function_is_rejected() {
    let wpc = pool(1);
    wpc.define_worker_dependency("base", constant(1)).unwrap();
    wpc.define_worker_function("f", plus_one("base").export("get")).unwrap();
    let broken = [
        (
            r#"(module (func (export "other") (result i32) i32.const 1))"#,
            "it has no such export; its exports: other",
        ),
        (
            r#"(module (func (export "get") (result i64) i64.const 1))"#,
            "it must be a function () -> (i32)",
        ),
        (r#"(module (memory (export "get") 1))"#, "but is a memory"),
    ];
    for (module, reason) in broken {
        let error = wpc.define_worker_dependency("base", wat(module)).unwrap_err();
        let Error::DependencyExport { importer, alias, export, reason: found, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(
            (importer.as_str(), alias.as_str(), export.as_str()),
            ("function \"f\"", "base", "get")
        );
        assert!(found.contains(reason), "{found}");
        assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 2, "the previous definition stays active");
    }
}

/// A function `f` that calls `dep` with its arguments and returns the reply.
fn relay() -> WasmModule {
    wat(r#"(module
        (import "wpc:dep" "g" (func $g (param i32 i32 i32 i32) (result i64)))
        (import "wpc" "wpc_take" (func $take (param i32 i32) (result i64)))
        (memory (export "memory") 4)
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "f") (param i32 i32) (result i64) (local $len i64)
            (local.set $len (call $g (local.get 0) (local.get 1) (i32.const 65536) (i32.const 8)))
            (if (i64.gt_u (local.get $len) (i64.const 8))
                ;; The first buffer is too small: the reply is not lost.
                (then (drop (call $take (i32.const 65536) (i32.const 1)))
                    (drop (call $take (i32.const 65536) (i32.const 131072)))))
            (i64.or (pack 65536 0) (local.get $len))))"#)
}

fn with_dep(module: WasmModule) -> WorkerProcedureCall {
    let wpc = pool(1);
    wpc.define_worker_dependency("dep", module).unwrap();
    wpc.define_worker_function("f", relay()).unwrap();
    wpc
}

#[test]
fn typed_dependencies_carry_bytes_between_two_memories() {
    let wpc = pool(1);
    wpc.define_worker_dependency("path_dep", guest("path")).unwrap();
    wpc.define_worker_constant("SERVICE_PREFIX", "p").unwrap();
    wpc.define_worker_function("WPCFunction1", guest("function1")).unwrap();
    let long = format!("/{}", "x".repeat(3000));
    assert_eq!(wpc.call::<String>("WPCFunction1", (&long,)).unwrap(), format!("p:{}", &long[1..]));
}

#[test]
fn a_typed_dependency_may_be_a_plain_export() {
    let wpc = with_dep(wat(
        r#"(module (func (export "g") (param i32 i32) (result i32) local.get 0 local.get 1 i32.mul))"#,
    ));
    assert_eq!(wpc.call::<i32>("f", (6, 7)).unwrap(), 42);
    assert_eq!(code(wpc.call::<i32>("f", (6,))), "bad_arguments");
}

#[test]
fn a_failure_of_a_typed_dependency_is_reported_for_the_function() {
    let wpc = with_dep(contract(r#"(func (export "g") (param i32 i32) (result i64) unreachable)"#));
    assert_eq!(code(wpc.call::<()>("f", ())), "trap");
    let wpc =
        with_dep(contract(r#"(func (export "g") (param i32 i32) (result i64) i64.const -1)"#));
    assert_eq!(code(wpc.call::<()>("f", ())), "result_too_large");
    let wpc = with_dep(contract(
        r#"(func (export "g") (param i32 i32) (result i64) (loop br 0) i64.const 0)"#,
    ));
    let options = wpc_host::CallOptions::new().timeout(std::time::Duration::from_millis(5));
    assert_eq!(code(wpc.call_with::<()>("f", (), &options)), "timeout");
}

#[test]
fn a_reply_of_a_typed_dependency_may_be_larger_than_the_buffer() {
    let wpc = with_dep(contract(
        r#"(data (i32.const 16) "\00\20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
        (func (export "g") (param i32 i32) (result i64) (pack 16 34))"#,
    ));
    assert_eq!(wpc.call::<String>("f", ()).unwrap(), "x".repeat(32));
}

#[test]
fn a_metered_function_meters_its_dependencies() {
    let wpc = pool(1);
    wpc.define_worker_dependency("base", constant(1)).unwrap();
    let limits = Limits::default().fuel(1000);
    wpc.define_worker_function("f", plus_one("base").export("get").limits(limits)).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 2);
    wpc.define_worker_dependency(
        "base",
        wat(r#"(module (func (export "get") (result i32) (loop br 0) i32.const 1))"#),
    )
    .unwrap();
    assert_eq!(code(wpc.call::<i32>("f", ())), "out_of_fuel");
}

#[test]
fn a_dependency_defined_with_fuel_serves_plain_functions_and_metered_ones() {
    let wpc = pool(1);
    let fuel = Limits::default().fuel(1000);
    wpc.define_worker_dependency("base", constant(1).limits(fuel.clone())).unwrap();
    wpc.define_worker_function("plain", plus_one("base").export("get")).unwrap();
    wpc.define_worker_function("metered", plus_one("base").export("get").limits(fuel.clone()))
        .unwrap();
    assert_eq!(wpc.call::<i32>("plain", ()).unwrap(), 2);
    assert_eq!(wpc.call::<i32>("metered", ()).unwrap(), 2);
    let wpc =
        with_dep(wat(r#"(module (func (export "g") (result i32) i32.const 5))"#).limits(fuel));
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 5);
}

#[test]
fn typed_imports_of_the_sdk_return_errors() {
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_dependency("dep", guest("sdk")).unwrap();
    wpc.define_worker_constant("PREFIX", "p").unwrap();
    wpc.define_worker_module(guest("needy")).unwrap();
    assert_eq!(wpc.call::<i32>("adds", (1, 2)).unwrap(), 3);
    let Err(Error::Guest { error, .. }) = wpc.call::<()>("relays_an_error", (3,)) else {
        panic!("the call should fail")
    };
    assert_eq!((error.name.as_str(), error.message.as_str()), ("TooSmall", "3 is too small"));
    let stack: Vec<_> =
        error.stack.lines().map(|line| line.split(" at ").next().unwrap()).collect();
    assert_eq!(stack, ["in fails", "in relays_an_error"]);
    let Err(Error::Guest { error, .. }) = wpc.call::<String>("calls_wrongly", ()) else {
        panic!("the call should fail")
    };
    assert_eq!(error.name, "BadArguments");
    assert!(error.message.starts_with("function `dep::join`"), "{}", error.message);
}

#[test]
fn bytes_of_every_length_are_passed_between_modules() {
    let wpc = pool(1);
    wpc.define_worker_dependency("dep", guest("sdk")).unwrap();
    wpc.define_worker_constant("PREFIX", "p").unwrap();
    wpc.define_worker_module(guest("needy")).unwrap();
    for len in [0_u32, 127, 128, 5_000, 300_000] {
        assert!(wpc.call::<bool>("echoes", (len,)).unwrap(), "{len}");
    }
}

#[test]
fn a_dependency_lists_its_requirements_and_whether_they_are_met() {
    let wpc = pool(1);
    wpc.define_worker_dependency("crypto_dep", guest("crypto").grant(wpc_host::Capability::Random))
        .unwrap();
    wpc.define_worker_dependency("a", plus_one("b")).unwrap();
    let [a, crypto] = &wpc.get_worker_dependencies()[..] else { panic!("there should be two") };
    assert_eq!(
        (a.required_dependencies.as_slice(), a.installed_worker_count),
        (["b".to_owned()].as_slice(), 0)
    );
    assert_eq!(
        (crypto.required_capabilities.as_slice(), crypto.installed_worker_count),
        ([wpc_host::Capability::Random].as_slice(), 1)
    );
}

#[test]
fn an_unused_dependency_that_does_not_link_is_rejected() {
    let wpc = stopped(Options::default());
    wpc.define_worker_dependency("base", wat(r#"(module (func (export "other")))"#)).unwrap();
    let error = wpc.define_worker_dependency("mid", plus_one("base")).unwrap_err();
    assert!(
        matches!(&error, Error::DependencyExport { importer, .. } if importer == "dependency \"mid\""),
        "{error}"
    );
}

#[test]
fn a_sandbox_with_too_many_instances_is_rejected() {
    let wpc = pool_with(2, immediate_restarts().max_live_instances(4));
    for at in 0..4 {
        let module = if at == 0 { constant(0) } else { plus_one(&format!("d{}", at - 1)) };
        wpc.define_worker_dependency(&format!("d{at}"), module).unwrap();
    }
    wpc.define_worker_function("two", plus_one("d0").export("get")).unwrap();
    assert_eq!(wpc.call::<i32>("two", ()).unwrap(), 1);
    // Beyond one worker's share but within the pool's limit: idle sandboxes of other workers are evicted.
    wpc.define_worker_function("three", plus_one("d1").export("get")).unwrap();
    assert_eq!(with_instances(|| wpc.call::<i32>("three", ())).unwrap(), 2);
    assert_eq!(
        code(wpc.define_worker_function("five", plus_one("d3").export("get"))),
        "too_many_instances"
    );
}

#[test]
fn idle_sandboxes_are_evicted_for_others() {
    let wpc = pool_with(2, Options::default().max_live_instances(4));
    for value in 0..20 {
        wpc.define_worker_function(&format!("f{value}"), constant(value).export("get")).unwrap();
    }
    for round in 0..3 {
        for value in 0..20 {
            assert_eq!(wpc.call::<i32>(&format!("f{value}"), ()).unwrap(), value, "round {round}");
        }
    }
}
