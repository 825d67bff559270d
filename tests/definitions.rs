//! What a definition decides for its calls: stack, fuel and exports.

use crate::support::*;
use wpc_host::{Error, Limits, Options};

/// A function that recurses to the given depth.
const RECURSES: &str = r#"(module (func $f (export "f") (param i32)
    (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))))))"#;

#[test]
fn a_definition_has_its_own_stack_limit() {
    let wpc = pool_with(1, immediate_restarts());
    let limits = |stack| Limits::default().stack(stack);
    wpc.define_worker_function("deep", wat(RECURSES).export("f")).unwrap();
    wpc.define_worker_function("flat", wat(RECURSES).export("f").limits(limits(20_000))).unwrap();
    wpc.call::<()>("deep", (5_000,)).unwrap();
    let error = wpc.call::<()>("flat", (5_000,)).unwrap_err();
    assert!(matches!(error, Error::StackOverflow { limit: 32_768, .. }), "{error}");
    wpc.call::<()>("flat", (100,)).unwrap();
    for stack in [0, 1 << 30] {
        let refused = wpc.define_worker_function("flat", wat(RECURSES).limits(limits(stack)));
        assert_eq!(code(refused), "invalid_options");
    }
}

#[test]
fn functions_of_different_stacks_and_fuel_share_a_dependency() {
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_dependency("deep", wat(RECURSES)).unwrap();
    let calls = wat(r#"(module (import "deep" "f" (func $f (param i32)))
            (func (export "g") (param i32) (call $f (local.get 0))))"#);
    for (name, limits) in [
        ("plain", Limits::default()),
        ("flat", Limits::default().stack(16 << 10)),
        ("metered", Limits::default().fuel(1_000)),
    ] {
        wpc.define_worker_function(name, calls.clone().export("g").limits(limits)).unwrap();
    }
    for _ in 0..2 {
        wpc.call::<()>("plain", (5_000,)).unwrap();
        assert_eq!(code(wpc.call::<()>("flat", (5_000,))), "stack_overflow");
        assert_eq!(code(wpc.call::<()>("metered", (5_000,))), "out_of_fuel");
        wpc.define_worker_dependency("deep", wat(RECURSES)).unwrap();
    }
}

#[test]
fn bulk_instructions_use_fuel_by_the_byte() {
    let wpc = pool(1);
    let module = r#"(module (memory 256)
        (func (export "fill") (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))
        (func (export "copy") (param i32) (memory.copy (i32.const 0) (i32.const 1) (local.get 0))))"#;
    let limits = Limits::default().fuel(100_000);
    for export in ["fill", "copy"] {
        wpc.define_worker_function("f", wat(module).export(export).limits(limits.clone())).unwrap();
        wpc.call::<()>("f", (90_000,)).unwrap();
        assert_eq!(code(wpc.call::<()>("f", (110_000,))), "out_of_fuel");
    }
}

#[test]
fn every_allowed_stack_size_can_be_used() {
    // A call takes between 10 and 100 bytes of stack, and the deepest recursion about 60 MiB.
    let recursion = r#"(module (func $f (export "f") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
            (else (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1))))))))"#;
    for mebibytes in [1, 2, 3, 4, 16, 64] {
        let max_wasm_stack = mebibytes << 20;
        let options = Options::default().max_wasm_stack(max_wasm_stack).max_live_instances(2);
        let wpc = pool_with(1, options);
        wpc.define_worker_function("f", wat(recursion)).unwrap();
        let depth = i32::try_from(max_wasm_stack / 128).unwrap();
        assert_eq!(wpc.call::<i32>("f", (depth,)).unwrap(), depth, "{mebibytes} MiB");
        assert_eq!(code(wpc.call::<i32>("f", (i32::MAX,))), "stack_overflow");
        let limits = Limits::default().stack(max_wasm_stack);
        wpc.define_worker_function("g", wat(recursion).export("f").limits(limits)).unwrap();
        assert_eq!(wpc.call::<i32>("g", (depth,)).unwrap(), depth, "{mebibytes} MiB");
    }
}

#[test]
fn only_the_declared_functions_of_a_module_are_defined() {
    let wpc = stopped(Options::default());
    let module = wat(r#"(module
        (@custom "wpc" "\01\0e\03add\01\01a\01\03i32\04\00")
        (func (export "add") (param i32) (result i32) local.get 0)
        (func (export "malloc") (param i32) (result i32) local.get 0))"#);
    let information = module.inspect().unwrap();
    assert_eq!(information.functions.len(), 1, "{information:?}");
    let defined = wpc.define_worker_module(module.clone()).unwrap();
    assert!(defined.len() == 1 && defined[0].name == "add", "{defined:?}");
    let alone = wpc.define_worker_function("sum", module.clone()).unwrap();
    assert_eq!(alone.signature.unwrap().to_string(), "(a: i32) -> ?");
    wpc.define_worker_function("malloc", module).unwrap();
}
