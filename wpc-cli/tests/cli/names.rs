//! Names of exports on the command line.

use crate::running::write;
use crate::support::{err, fails_with, out, sdk, wat, wpc, wpc_with};
use serde_json::Value;

#[test]
fn the_nearest_name_is_suggested_for_a_misspelt_function() {
    let sdk = sdk();
    for command in ["call", "bench"] {
        let message = fails_with(3, &wpc(&[command, &sdk, "ad", "1", "2"]));
        assert!(message.contains("; did you mean \"add\"?"), "{message}");
        // A name that the error does not list.
        let message = fails_with(3, &wpc(&[command, &sdk, "spin"]));
        assert!(message.contains("; did you mean \"spins\"?"), "{message}");
        let message = fails_with(3, &wpc(&[command, &sdk, "something_else"]));
        assert!(!message.contains("did you mean"), "{message}");
    }
    let message = fails_with(3, &wpc(&["--json", "call", &sdk, "ad", "1", "2"]));
    let error: Value = serde_json::from_str(&message).unwrap();
    assert_eq!(error["error"]["nearest"], "add");
}

#[test]
fn an_export_with_any_name_can_be_called() {
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
    let output = out(&wpc(&["inspect", &module]));
    let how = "\n      how to call it: define the whole module and call it by this name";
    assert!(output.contains(&format!("  get-answer() -> i32{how}")), "{output}");
    assert!(output.contains(&format!("  ns:pkg/iface#fn() -> i32{how}")), "{output}");
    let message = fails_with(3, &wpc(&["call", &module, "get_answer"]));
    assert!(message.contains("did you mean \"get-answer\"?"), "{message}");
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
    // Exports that emcc, TinyGo and clang add to a program.
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
        let message = fails_with(3, &ran);
        assert!(
            message.contains("(export_of_command)") && message.contains("call `_start`"),
            "{message}"
        );
    }
    let output = out(&wpc(&["inspect", &program]));
    assert!(
        output.contains("  _start() -> ()") && output.contains("malloc: a function"),
        "{output}"
    );
}
