//! Exports with arbitrary names: a whole module is defined without the exports that could forge a log line, each export
//! can be defined alone, and a call by name runs the export of that name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::LazyLock;
use wpc_fuzz::pool;
use wpc_host::{WasmModule, WorkerProcedureCall};

/// One pool for all runs, as in an embedder.
static POOL: LazyLock<WorkerProcedureCall> = LazyLock::new(|| pool(3));

fuzz_target!(|names: BTreeSet<String>| {
    let mut text = String::from("(module");
    for (at, name) in names.iter().enumerate() {
        let escaped: String = name.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let _ = write!(text, r#"(func (export "{escaped}") (result i32) i32.const {at})"#);
    }
    text.push(')');
    let module = WasmModule::new(wat::parse_str(&text).expect("the text should parse"));
    let inspected = module.inspect().expect("the module should be valid");
    // The names of the contract and the initialiser require other types.
    if inspected.refused.is_some() || names.contains("_initialize") {
        return;
    }
    let result = |item: &str| {
        names.iter().position(|name| name == item).map(|at| i32::try_from(at).expect("few"))
    };
    // A function with the prefix replaces a plain export of the same name.
    let expected = |name: &str| result(&format!("wpc:fn:{name}")).or_else(|| result(name));
    for function in &inspected.functions {
        let name = function.name.as_str();
        POOL.define_worker_function("mine", module.clone().export(name))
            .expect("every export can be defined");
        // A command returns nothing.
        let found = POOL.call::<i32>("mine", ()).ok();
        assert!(found == expected(name), "{name:?}: {found:?}");
    }
    let Ok(defined) = POOL.define_worker_module(module) else { return };
    for function in &defined {
        assert!(!function.name.chars().any(char::is_control), "{:?}", function.name);
        assert_eq!(POOL.call::<i32>(&function.name, ()).ok(), expected(&function.name));
        assert!(POOL.undefine_worker_function(&function.name));
    }
});
