//! `inspect`: what it lists of modules.

use crate::support::{err, fails_with, out, root, sdk, wat, wpc};

#[test]
fn inspect_lists_exports_and_requirements() {
    let output = out(&wpc(&["inspect", &sdk()]));
    assert!(output.contains("contract        version 1"), "{output}");
    assert!(output.contains("  add(a: i32, b: i32) -> i32"), "{output}");
    assert!(
        output.contains("  Order { item: String, count: u32, note: Option<String> }"),
        "{output}"
    );
    let tool = root("fixtures/wasi/wasm/tool.wasm").display().to_string();
    let output = out(&wpc(&["--json", "inspect", &tool]));
    let output: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert!(output["required_wasi_imports"].as_array().unwrap().contains(&"path_open".into()));
    assert_eq!(output["required_capabilities"], serde_json::json!(["random", "clock"]));
    let folder = tempfile::tempdir().unwrap();
    let plain = wat(
        folder.path(),
        "plain.wasm",
        r#"(module (import "env" "x" (func)) (memory 1 2) (table 3 4 funcref) (func (export "f") (param i64)))"#,
    );
    let output = out(&wpc(&["inspect", &plain]));
    assert!(
        output.contains("dependencies    env (x)") && output.contains("f(argument1: i64) -> ()"),
        "{output}"
    );
    assert!(output.contains("65536 bytes initially, at most 131072"), "{output}");
    assert!(output.contains("at most 4 elements each"), "{output}");
    let not_wasm = root("README.md").display().to_string();
    let message = fails_with(3, &wpc(&["inspect", &not_wasm]));
    assert!(
        message.contains("README.md\" is not WebAssembly") && message.contains("not_wasm"),
        "{message}"
    );
}

#[test]
fn inspect_shows_documentation() {
    let output = out(&wpc(&["inspect", &sdk()]));
    for lines in [
        "  add(a: i32, b: i32) -> i32  // Adds two numbers.\n      //\n      // The sum wraps around:\n",
        "      //     add(i32::MAX, 1) == i32::MIN\n",
        "  Order { item: String, count: u32, note: Option<String> }  // A line of an order.\n      count  // How many.\n",
        "  Answer = Accepted { total: u64 } | Refused(String)\n      Accepted.total  // In cents.\n      Refused  // Contains the reason.\n",
    ] {
        assert!(output.contains(lines), "{lines}\n{output}");
    }

    let output: serde_json::Value =
        serde_json::from_str(&out(&wpc(&["--json", "inspect", &sdk()]))).unwrap();
    let named = |list: &str, name: &str| {
        let items = output[list].as_array().unwrap();
        items.iter().find(|item| item["name"] == name).unwrap().clone()
    };
    assert_eq!(
        named("functions", "add")["documentation"],
        "Adds two numbers.\n\nThe sum wraps around:\n\n    add(i32::MAX, 1) == i32::MIN"
    );
    assert_eq!(named("functions", "join").get("documentation"), None);
    assert_eq!(named("types", "Order")["documentation"], "A line of an order.");
    assert_eq!(
        named("types", "Answer")["item_documentation"],
        serde_json::json!({ "Accepted.total": "In cents.", "Refused": "Contains the reason." })
    );
}

#[test]
fn documentation_cannot_forge_lines_or_control_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = wat(
        folder.path(),
        "hostile.wasm",
        r#"(module (func (export "f"))
            (@custom "wpc.docs" "\01\18\01f\15\1b[2J\e2\80\ae evil\0a  g()\r//"))"#,
    );
    let output = out(&wpc(&["inspect", &hostile]));
    assert!(
        output.ends_with(
            "functions\n  f() -> ()  // \\u{1b}[2J\\u{202e} evil\n      //   g()\\r//\n"
        ),
        "{output}"
    );
}

#[test]
fn inspect_describes_modules_that_cannot_be_defined() {
    let folder = tempfile::tempdir().unwrap();
    let inspected = |text: &str| {
        let output = wpc(&["inspect", &wat(folder.path(), "module.wasm", text)]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        out(&output)
    };
    let output = inspected(
        r#"(module
            (import "./app_bg.js" "__wbg_alert" (func (param i32)))
            (import "env" "log" (func))
            (import "wasi_snapshot_preview1" "path_open" (func))
            (import "wasi_snapshot_preview1" "fd_write" (func))
            (import "wasi_snapshot_preview1" "random_get" (func))
            (table 0 1 funcref)
            (memory (export "memory") 1)
            (func (export "greet"))
            (func (export "x\1b[31m\n  fake()")))"#,
    );
    for line in [
        "refused         module \"",
        r#"module.wasm" imports "__wbg_alert" from "./app_bg.js", which cannot be linked"#,
        "contract        not declared\n",
        "tables          at most 1 element each\n",
        "dependencies    env (log)\n",
        "capabilities    random\n",
        "WASI grants     wasi, read=FOLDER or write=FOLDER\n",
        "imports         ./app_bg.js.__wbg_alert: a function (i32) -> ()\n",
        "other exports   memory: a memory\n",
        "  greet() -> ()\n",
        "  x\\u{1b}[31m\\n  fake()() -> ()\n",
    ] {
        assert!(output.contains(line), "{line}\n{output}");
    }
    let output = inspected(r#"(component (import "wasi:cli/run@0.2.0" (instance)))"#);
    assert!(output.contains("module.wasm\" is a WebAssembly component"), "{output}");
    assert!(output.contains("imports         wasi:cli/run@0.2.0: an instance\n"), "{output}");
    assert!(!output.contains("memory"), "{output}");
}

#[test]
fn a_rejected_module_is_named_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let large = wat(folder.path(), "large.wasm", r#"(module (memory 2) (func (export "f")))"#);
    let message = fails_with(3, &wpc(&["call", &large, "f", "--memory", "1B"]));
    assert!(message.contains("large.wasm\" starts with 131072 bytes of memory"), "{message}");
    let message = out(&wpc(&["--json", "inspect", &large, "--memory", "1B"]));
    let output: serde_json::Value = serde_json::from_str(&message).unwrap();
    assert!(output["refused"].as_str().unwrap().contains("large.wasm\" starts with"), "{output}");
    assert_eq!(output["remedy"], "raise `--memory`");
}
