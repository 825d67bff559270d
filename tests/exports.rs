//! Names of exports, and the names by which their functions can be called.

use crate::support::*;
use serde_json::json;
use wpc_host::{Capability, Error, Wasi};

/// Names that toolchains give to exports and that are not identifiers.
const NOT_IDENTIFIERS: [&str; 7] =
    ["get-answer", "ns:pkg/iface#fn", "two words", "größe", "9", "a.b$c", "wasi:cli/run@0.2.0#run"];

/// Names that could forge a line of a log.
const FORGERIES: [&str; 4] = ["", "a\nb", "\u{202e}evil", "\u{1b}[2J"];

/// A module with a function for each name, which returns its index.
fn module_of(names: &[&str]) -> wpc_host::WasmModule {
    let function = |(at, name): (usize, &&str)| {
        let escaped: String = name.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        format!(r#"(func (export "{escaped}") (result i32) i32.const {at})"#)
    };
    let functions: String = names.iter().enumerate().map(function).collect();
    wat(&format!("(module {functions})"))
}

#[test]
fn a_whole_module_is_defined_under_its_export_names() {
    let wpc = pool(1);
    let names = [&["plain"], NOT_IDENTIFIERS.as_slice()].concat();
    let defined = wpc.define_worker_module(module_of(&names)).unwrap();
    assert_eq!(defined.len(), names.len());
    let mut here = wpc.local_worker();
    for (at, name) in names.iter().enumerate() {
        let at = i32::try_from(at).unwrap();
        assert_eq!(wpc.call::<i32>(name, ()).unwrap(), at, "{name}");
        assert_eq!(here.call::<i32>(name, ()).unwrap(), at, "{name}");
        assert_eq!(wpc.call_json(name, &[]).unwrap(), json!(at), "{name}");
        assert_eq!(wpc.function::<(), i32>(name).unwrap().call(()).unwrap(), at, "{name}");
        assert!(wpc.get_remote_functions().iter().any(|function| function.name == *name));
        assert!(wpc.undefine_worker_function(name), "{name}");
    }
}

#[test]
fn a_single_function_takes_any_export_but_needs_a_valid_name() {
    let wpc = pool(1);
    let names = [NOT_IDENTIFIERS.as_slice(), &FORGERIES].concat();
    for (at, name) in names.iter().enumerate() {
        wpc.define_worker_function("mine", module_of(&names).export(*name)).unwrap();
        assert_eq!(wpc.call::<i32>("mine", ()).unwrap(), i32::try_from(at).unwrap(), "{name:?}");
        assert_eq!(code(wpc.define_worker_function(name, module_of(&names))), "invalid_name");
    }
    // A single export is selected without a choice.
    wpc.define_worker_function("mine", module_of(&["get-answer"])).unwrap();
    assert_eq!(wpc.call::<i32>("mine", ()).unwrap(), 0);
}

#[test]
fn an_export_that_could_forge_a_log_line_is_left_out() {
    let wpc = pool(1);
    let long = "x".repeat(256);
    let names = [FORGERIES.as_slice(), &[&long, "get-answer"]].concat();
    let defined = wpc.define_worker_module(module_of(&names)).unwrap();
    let defined: Vec<_> = defined.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(defined, ["get-answer"]);
    assert_eq!(wpc.call::<i32>("get-answer", ()).unwrap(), 5);
    let Err(Error::InvalidName { name, .. }) = wpc.define_worker_module(module_of(&["a\nb"]))
    else {
        panic!("there should be no other export")
    };
    assert_eq!(name, "a\nb");
}

#[test]
fn inspection_lists_every_export_and_how_to_call_it() {
    let names = ["plain", "get-answer", "a\nb"];
    let inspected = module_of(&names).inspect().unwrap();
    let listed: Vec<_> =
        inspected.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(listed, names);
    let [plain, answer, forgery] = inspected.functions.as_slice() else { panic!("{inspected:?}") };
    assert_eq!(plain.how_to_call, None);
    let how = answer.how_to_call.as_deref().unwrap();
    assert!(how.contains("whole module") && how.contains("`export`"), "{how}");
    let how = forgery.how_to_call.as_deref().unwrap();
    assert!(!how.contains("whole module") && how.contains("`export`"), "{how}");
    assert!(!serde_json::to_string(plain).unwrap().contains("how_to_call"));
}

#[test]
fn a_prefixed_export_is_named_without_its_prefix() {
    let wpc = pool(1);
    let module = || {
        contract(
            r#"(data (i32.const 32) "\00\0e")
            (func (export "log") (param f64) (result f64) local.get 0)
            (func (export "wpc:fn:log") (param i32 i32) (result i64) (pack 32 2))
            (func (export "wpc:fn:memory") (param i32) (result i32) local.get 0)
            (func (export "wpc:fn:_start") (result i32) i32.const 3)
            (func (export "wpc:fn:wpc_init") (result i32) i32.const 4)
            (func (export "plain") (result i32) i32.const 5)"#,
        )
    };
    let inspected = module().inspect().unwrap();
    let listed: Vec<_> =
        inspected.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(listed, ["log", "memory", "_start", "plain"]);
    assert!(inspected.functions.iter().all(|function| function.how_to_call.is_none()));
    let defined = wpc.define_worker_module(module()).unwrap();
    assert_eq!(defined.len(), 4);
    assert_eq!(wpc.call::<i32>("log", ()).unwrap(), 7);
    assert_eq!(wpc.call::<i32>("memory", (6,)).unwrap(), 6);
    assert_eq!(wpc.call::<i32>("_start", ()).unwrap(), 3);
    assert_eq!(wpc.call::<i32>("plain", ()).unwrap(), 5);
    wpc.define_worker_function("log", module()).unwrap();
    assert_eq!(wpc.call::<i32>("log", ()).unwrap(), 7);
    assert_eq!(code(wpc.define_worker_function("wpc_init", module())), "ambiguous_export");
}

#[test]
fn dependencies_are_imported_by_function_name() {
    let wpc = pool(1);
    let dependency = contract(
        r#"(data (i32.const 32) "\00\0e")
        (func (export "wpc:fn:log") (param i32 i32) (result i64) (pack 32 2))
        (func (export "wpc:fn:twice") (param i32) (result i32)
            (i32.mul (local.get 0) (i32.const 2)))
        (func (export "get-answer") (result i32) i32.const 42)"#,
    );
    wpc.define_worker_dependency("dep", dependency).unwrap();
    let user = wat(r#"(module
        (import "wpc:dep" "log" (func $log (param i32 i32 i32 i32) (result i64)))
        (import "wpc:dep" "get-answer" (func $carried (param i32 i32 i32 i32) (result i64)))
        (import "dep" "twice" (func $twice (param i32) (result i32)))
        (import "dep" "get-answer" (func $answer (result i32)))
        (memory (export "memory") 1)
        (func (export "linked") (result i32) (call $twice (call $answer)))
        (func (export "typed") (result i32)
            (drop (call $log (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 8)))
            (i32.load8_u (i32.const 65)))
        (func (export "carried") (result i32)
            (drop (call $carried (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 8)))
            (i32.load8_u (i32.const 65))))"#);
    wpc.define_worker_module(user).unwrap();
    assert_eq!(wpc.call::<i32>("linked", ()).unwrap(), 84);
    // 7 and 42, encoded with postcard.
    assert_eq!(wpc.call::<i32>("typed", ()).unwrap(), 14);
    assert_eq!(wpc.call::<i32>("carried", ()).unwrap(), 84);
    let exports = &wpc.get_worker_dependencies()[0].exports;
    assert_eq!(exports, &["log", "twice", "get-answer"]);
    let missing = wat(r#"(module (import "dep" "lag" (func)) (func (export "f")))"#);
    let error = wpc.define_worker_function("f", missing).unwrap_err();
    let Error::DependencyExport { reason, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("log") && !reason.contains("wpc:fn:"), "{reason}");
}

/// Calls every function that returns its name, as listed by inspection, and returns how many there are.
fn call_named_functions(
    wpc: &wpc_host::WorkerProcedureCall,
    module: &wpc_host::WasmModule,
) -> usize {
    let functions = module.inspect().unwrap().functions;
    let is_named = |function: &&wpc_host::ExportInformation| {
        let signature = function.signature.as_ref();
        signature.is_some_and(|signature| signature.to_string() == "() -> String")
    };
    let named = functions.iter().filter(is_named);
    named
        .map(|function| {
            let name = &function.name;
            assert_eq!(wpc.call::<String>(name, ()).unwrap(), format!("my {name}"));
        })
        .count()
}

#[test]
fn an_sdk_function_may_be_named_like_any_symbol() {
    let wpc = pool(1);
    wpc.define_worker_module(guest("symbols")).unwrap();
    assert_eq!(call_named_functions(&wpc, &guest("symbols")), 21);
    assert_eq!(wpc.call::<String>("type", ()).unwrap(), "my type");
    // The guest itself is linked with the symbols of the libraries.
    assert_eq!(wpc.call::<f64>("natural_logarithm", (1.0,)).unwrap(), 0.0);
    assert_eq!(wpc.call::<f64>("power", (2.0, 10.0)).unwrap(), 1024.0);
    assert_eq!(wpc.call::<Vec<u8>>("copied", (vec![1_u8, 2, 3],)).unwrap(), [1, 2, 3]);
}

#[test]
fn an_sdk_function_may_be_named_like_a_c_library_function() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "text").unwrap();
    let wasi =
        Wasi::minimal().read_directory(folder.path(), "/data").environment([("NAME", "value")]);
    let wpc = pool(1);
    let dependency = contract(
        r#"(data (i32.const 16) "\00\04read\00\06getenv\00\04type")
        (func (export "read") (param i32 i32) (result i64) i64.const 0x1000000006)
        (func (export "getenv") (param i32 i32) (result i64) i64.const 0x1600000008)
        (func (export "type") (param i32 i32) (result i64) i64.const 0x1e00000006)"#,
    );
    wpc.define_worker_dependency("dep", dependency).unwrap();
    let module =
        guest("symbols_wasi").grant_wasi(wasi).grant(Capability::Clock).grant(Capability::Random);
    wpc.define_worker_module(module).unwrap();
    assert_eq!(call_named_functions(&wpc, &guest("symbols_wasi")), 23);
    let variable = wpc.call::<Option<String>>("variable", ("NAME",)).unwrap();
    assert_eq!(variable.as_deref(), Some("value"));
    assert_eq!(wpc.call::<String>("read_file", ("/data/a.txt",)).unwrap(), "text");
    wpc.call::<()>("print_text", ("printed",)).unwrap();
    assert_eq!(wpc.call::<f64>("logarithm", (1.0,)).unwrap(), 0.0);
    let imported = wpc.call::<Vec<String>>("imported", ()).unwrap();
    assert_eq!(imported, ["read", "getenv", "type"]);
}
