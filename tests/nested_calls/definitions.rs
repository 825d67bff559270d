//! Which functions may be called: grants, types, changes while calls run.

use super::{calling, guest_error};
use crate::support::*;
use std::sync::atomic::{AtomicBool, Ordering};
use wpc_host::{Error, Grant, Options, SuspensionCause, WasmModule};

/// Imports `wpc_call`, and calls `add` with it.
fn calls_by_name() -> WasmModule {
    wat(r#"(module
        (import "wpc" "wpc_call" (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (data (i32.const 16) "add")
        (data (i32.const 32) "\02\04")
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "f") (param i32 i32) (result i64)
            (i64.or (pack 64 0)
                (call $call (i32.const 16) (i32.const 3) (i32.const 32) (i32.const 2)
                    (i32.const 64) (i32.const 1024)))))"#)
}

#[test]
fn a_module_without_the_grant_for_a_function_is_rejected_with_the_grant() {
    let wpc = stopped(Options::default());
    let module = guest("calling").export("rest").grant_function("nap");
    let error = wpc.define_worker_function("rest", module).unwrap_err();
    let Error::NotGranted { module, name, grant, .. } = &error else { panic!("{error}") };
    assert_eq!((module.as_str(), name.as_str()), ("wpc-functions", "price"));
    assert_eq!(grant, &Grant::Function("price".to_owned()));
    assert_eq!(error.remedy().unwrap().to_string(), r#"grant it with `.grant_function("price")`"#);

    let error = wpc.define_worker_function("f", calls_by_name()).unwrap_err();
    let Error::NotGranted { module, name, .. } = &error else { panic!("{error}") };
    assert_eq!((module.as_str(), name.as_str()), ("wpc", "wpc_call"));
    assert_eq!(error.remedy().unwrap().to_string(), r#"grant it with `.grant_function("…")`"#);
}

#[test]
fn a_name_that_is_computed_needs_a_grant_of_its_own() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    wpc.define_worker_function("f", calls_by_name().grant_function("other")).unwrap();
    let (name, message) = guest_error(wpc.call::<i32>("f", ()).unwrap_err());
    assert_eq!(name, "NotGranted");
    assert!(message.contains(r#"grant it with `.grant_function("add")`"#), "{message}");
    wpc.define_worker_function("f", calls_by_name().grant_function("add")).unwrap();
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 3);
}

#[test]
fn information_lists_the_functions_that_a_module_calls() {
    let wpc = stopped(Options::default());
    let function = wpc.define_worker_function("total", calling("total", &[])).unwrap();
    assert_eq!(function.required_functions, ["nap", "price"]);
    assert!(function.can_suspend);
    let module = guest("calling").inspect().unwrap();
    assert_eq!(module.required_functions, ["nap", "price"]);
    let price = &module.required_function_signatures["price"][0];
    assert_eq!(price.to_string(), "(item: String) -> u32");
    assert!(module.calls_functions_by_name);
    let causes = ["nap", "price"].map(|name| SuspensionCause::FunctionCall(name.to_owned()));
    assert_eq!(
        (function.suspension_causes, module.suspension_causes),
        (causes.to_vec(), causes.to_vec())
    );
}

#[test]
fn types_are_compared_at_the_definition_and_after_each_change_of_the_called_function() {
    let wpc = pool(1);
    define_sdk(&wpc, &["add"]);
    wpc.define_worker_function("total", calling("total", &[])).unwrap();
    let total = || wpc.call::<u32>("total", (vec!["tea"],)).map_err(guest_error);
    assert_eq!(total().unwrap_err().0, "FunctionNotDefined");

    wpc.define_worker_function("price", guest("sdk").export("add")).unwrap();
    let (name, message) = total().unwrap_err();
    assert_eq!(name, "TypeMismatch");
    assert!(message.starts_with("function \"price\" does not have the type"), "{message}");
    let error = wpc.define_worker_function("other", calling("total", &[])).unwrap_err();
    assert!(matches!(error, Error::TypeMismatch { .. }), "{error}");

    wpc.define_worker_function("price", calling("length", &[])).unwrap();
    assert_eq!((total(), total()), (Ok(3), Ok(3)));
    wpc.define_worker_function("price", guest("sdk").export("add")).unwrap();
    assert_eq!(total().unwrap_err().0, "TypeMismatch");
    assert!(wpc.undefine_worker_function("price"));
    assert_eq!(total().unwrap_err().0, "FunctionNotDefined");
}

#[test]
fn a_called_function_is_redefined_while_calls_run() {
    let wpc = pool(2);
    // The answers of both have the declared types.
    let versions = [replies("\\00\\03", 2), replies("\\00\\04", 2)];
    let define = |at: usize| wpc.define_worker_function("price", versions[at].clone().export("f"));
    define(0).unwrap();
    wpc.define_worker_function("total", calling("total", &[])).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let sum = wpc.call::<u32>("total", (vec!["item"; 10],)).unwrap();
                    assert!((30..=40).contains(&sum), "{sum}");
                }
                is_over.store(true, Ordering::Relaxed);
            });
        }
        for at in (0..2).cycle() {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            define(at).unwrap();
        }
    });
}
