//! Missing constants: which calls fail, and which error they return.

use crate::support::*;
use wpc_host::{Error, WasmModule};

/// Functions that fail without a constant: `reads` reads `C`, `reads_undeclared` reads `D`, which the module does not
/// declare. `calls` reads no constant. `init` is the body of an init hook.
fn reads_constants(init: &str) -> WasmModule {
    let error = r"\01\12ConstantNotDefined\00\00";
    wat(&format!(
        r#"(module
        (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (@custom "wpc" "\02\02\01C")
        (data (i32.const 16) "CD")
        (data (i32.const 32) "{error}")
        (global $calls (mut i64) (i64.const 0))
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func $read (param i32) (result i64)
            (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
            (if (result i64) (i64.lt_s (call $constant (local.get 0) (i32.const 1) (i32.const 64) (i32.const 8)) (i64.const 0))
                (then (pack 32 22))
                (else (i64.const 1))))
        (func (export "reads") (param i32 i32) (result i64) (call $read (i32.const 16)))
        (func (export "reads_undeclared") (param i32 i32) (result i64) (call $read (i32.const 17)))
        (func (export "handles") (param i32 i32) (result i64) (drop (call $read (i32.const 16))) i64.const 1)
        (func (export "calls") (result i64) global.get $calls)
        {init})"#
    ))
}

#[test]
fn only_calls_that_read_a_missing_constant_fail_and_name_it() {
    let wpc = pool(1);
    wpc.define_worker_module(reads_constants("")).unwrap();
    let reads = || wpc.call::<()>("reads", ());
    for _ in 0..10 {
        let Err(Error::ConstantNotDefined { function, constant, .. }) = reads() else {
            panic!("the constant should be missing")
        };
        assert_eq!((function.as_str(), constant.as_str()), ("reads", "C"));
    }
    wpc.call::<()>("handles", ()).unwrap();
    assert_eq!(code(wpc.call::<()>("reads_undeclared", ())), "guest_error");
    // This is not a failure of the sandbox, which keeps its state without backoff.
    assert_eq!(wpc.call::<i64>("calls", ()).unwrap(), 12);
    assert_eq!(wpc.get_remote_functions()[0].required_constants, ["C"]);
    assert_eq!(wpc.get_remote_functions()[0].installed_worker_count, 1);
    wpc.define_worker_constant("C", &1_u8).unwrap();
    reads().unwrap();
    assert_eq!(wpc.call::<i64>("calls", ()).unwrap(), 13);
    wpc.undefine_worker_constant("C");
    assert_eq!(code(reads()), "constant_not_defined");
}

#[test]
fn a_constant_that_an_init_hook_lacks_is_named_and_defined_later() {
    let init = r#"(func (export "wpc_init") (result i64) (call $read (i32.const 16)))"#;
    let wpc = pool(1);
    wpc.define_worker_module(reads_constants(init)).unwrap();
    for _ in 0..10 {
        let Err(Error::ConstantNotDefined { function, constant, .. }) =
            wpc.call::<i64>("calls", ())
        else {
            panic!("the constant should be missing")
        };
        assert_eq!((function.as_str(), constant.as_str()), ("calls", "C"));
    }
    wpc.define_worker_constant("C", &1_u8).unwrap();
    assert_eq!(wpc.call::<i64>("calls", ()).unwrap(), 1);
}

#[test]
fn a_missing_constant_affects_only_functions_that_read_it() {
    let wpc = pool(1);
    wpc.define_worker_dependency("dep", guest("sdk")).unwrap();
    wpc.define_worker_module(guest("needy")).unwrap();
    assert!(wpc.call::<bool>("is_prepared", ()).unwrap());
    let Err(Error::ConstantNotDefined { function, constant, .. }) =
        wpc.call::<String>("prefix", ())
    else {
        panic!("the constant should be missing")
    };
    assert_eq!((function.as_str(), constant.as_str()), ("prefix", "PREFIX"));
    wpc.define_worker_constant("PREFIX", "p").unwrap();
    assert_eq!(wpc.call::<String>("prefix", ()).unwrap(), "p");
}

#[test]
fn an_importer_handles_a_missing_constant_of_its_dependency() {
    let wpc = pool(1);
    wpc.define_worker_dependency("dep", reads_constants("")).unwrap();
    let importer = |reply: &str| {
        wat(&format!(
            r#"(module
            (import "wpc:dep" "reads" (func $reads (param i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
            (func (export "f") (param i32 i32) (result i64) (local $len i64)
                (local.set $len (call $reads (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 64)))
                {reply}))"#
        ))
    };
    wpc.define_worker_function("handles", importer("i64.const 1").export("f")).unwrap();
    let passes_on = importer("(i64.or (pack 64 0) (local.get $len))");
    wpc.define_worker_function("passes_on", passes_on.export("f")).unwrap();
    wpc.call::<()>("handles", ()).unwrap();
    let Err(Error::ConstantNotDefined { function, constant, .. }) = wpc.call::<()>("passes_on", ())
    else {
        panic!("the constant should be missing")
    };
    assert_eq!((function.as_str(), constant.as_str()), ("passes_on", "C"));
}
