//! Exports and what they are called on the command line.

use crate::running::write;
use crate::support::{err, fails_with, out, sdk, wat, wpc, wpc_with};
use serde_json::Value;

#[test]
fn a_misspelt_function_is_told_the_nearest_name() {
    let sdk = sdk();
    for command in ["call", "bench"] {
        let said = fails_with(3, &wpc(&[command, &sdk, "ad", "1", "2"]));
        assert!(said.contains("; did you mean \"add\"?"), "{said}");
        // Beyond the first few names that the error lists.
        let said = fails_with(3, &wpc(&[command, &sdk, "spin"]));
        assert!(said.contains("; did you mean \"spins\"?"), "{said}");
        let said = fails_with(3, &wpc(&[command, &sdk, "something_else"]));
        assert!(!said.contains("did you mean"), "{said}");
    }
    let said = fails_with(3, &wpc(&["--json", "call", &sdk, "ad", "1", "2"]));
    let error: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(error["error"]["nearest"], "add");
}

#[test]
fn an_export_of_any_name_is_called_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let module = wat(
        folder.path(),
        "names.wasm",
        r#"(module
            (func (export "get-answer") (result i32) i32.const 1)
            (func (export "two words") (result i32) i32.const 2)
            (func (export "ns:pkg/iface#fn") (result i32) i32.const 3)
            (func (export "ü") (param i32) (result i32) local.get 0))"#,
    );
    for (name, value) in [("get-answer", 1), ("two words", 2), ("ns:pkg/iface#fn", 3)] {
        let ran = wpc(&["call", &module, name]);
        assert_eq!(out(&ran), format!("{value}\n"), "{}", err(&ran));
    }
    assert_eq!(out(&wpc(&["call", &module, "ü", "-4"])), "-4\n");
    let told = out(&wpc(&["inspect", &module]));
    let how = "\n      how to call it: define the whole module and call it by this name";
    assert!(told.contains(&format!("  get-answer() -> i32{how}")), "{told}");
    assert!(told.contains(&format!("  ns:pkg/iface#fn() -> i32{how}")), "{told}");
    let said = fails_with(3, &wpc(&["call", &module, "get_answer"]));
    assert!(said.contains("did you mean \"get-answer\"?"), "{said}");
    let ran = wpc(&["bench", &module, "get-answer", "--seconds", "1"]);
    assert_eq!(ran.status.code(), Some(0), "{}", err(&ran));
    let entry = "[functions.answer]\nfile = \"names.wasm\"\nexport = \"get-answer\"\n";
    let manifest = write(folder.path(), entry);
    let ran = wpc_with(b"{\"function\": \"answer\"}\n", &["run", &manifest]);
    assert!(out(&ran).contains("\"value\":1"), "{}", out(&ran));
}

#[test]
fn a_wasi_program_with_other_exports_runs() {
    let folder = tempfile::tempdir().unwrap();
    // As emcc, TinyGo and clang export them beside a program's start.
    let program = wat(
        folder.path(),
        "program.wasm",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\08\00\00\00\05\00\00\00hello")
            (func (export "_start")
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))
            (func (export "stackSave") (result i32) i32.const 0)
            (func (export "malloc") (param i32) (result i32) i32.const 0))"#,
    );
    let ran = wpc(&["call", &program, "_start", "--grant", "wasi"]);
    assert_eq!((ran.status.code(), out(&ran).as_str()), (Some(0), "hello"), "{}", err(&ran));
    for (name, arguments) in [("stackSave", vec![]), ("malloc", vec!["8"])] {
        let ran = wpc(&[&["call", &program, name, "--grant", "wasi"], &arguments[..]].concat());
        let said = fails_with(3, &ran);
        assert!(said.contains("(export_of_command)") && said.contains("call `_start`"), "{said}");
    }
    let told = out(&wpc(&["inspect", &program]));
    assert!(told.contains("  _start() -> ()") && told.contains("malloc: a function"), "{told}");
}
