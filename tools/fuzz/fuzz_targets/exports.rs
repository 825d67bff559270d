//! Exports of any names: a module that has them is defined whole without those that could forge a line of a log,
//! every one can be defined alone, and a call by a name runs the export of that name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::LazyLock;
use wpc_fuzz::pool;
use wpc_host::{WasmModule, WorkerProcedureCall};

/// One pool for all runs, as an embedder has it.
static POOL: LazyLock<WorkerProcedureCall> = LazyLock::new(|| pool(3));

fuzz_target!(|names: BTreeSet<String>| {
    let mut text = String::from("(module");
    for (at, name) in names.iter().enumerate() {
        let escaped: String = name.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let _ = write!(text, r#"(func (export "{escaped}") (result i32) i32.const {at})"#);
    }
    text.push(')');
    let module = WasmModule::new(wat::parse_str(&text).expect("the text is a module"));
    let inspected = module.inspect().expect("it is a module");
    // The contract's own names and the initialiser's want other types.
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
            .expect("any export will do");
        // A program returns nothing.
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
