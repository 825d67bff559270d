//! Escaping of guest text in the command's output.

use crate::running::write;
use crate::support::{err, fails_with, out, sdk, wat, wpc, wpc_with};

/// Hostile text: a forged line, terminal control sequences, and bidirectional controls.
const FORGED: &str = "text\nerror: forged\r\u{1b}[31m\u{9b}1m\u{202e}dne\u{2066}\u{2028}";

/// Checks that each line begins with one of `starts`, and that the text does not control the terminal.
fn assert_harmless(shown: &str, starts: &[&str]) {
    for line in shown.lines() {
        assert!(starts.iter().any(|start| line.starts_with(start)), "{line:?}\n{shown}");
    }
    let is_harmful = |character: char| {
        (character.is_control() && character != '\n')
            || matches!(character, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!shown.contains(is_harmful), "{shown:?}");
    assert!(shown.contains("forged"), "{shown}");
}

#[test]
fn log_lines_errors_and_results_are_escaped() {
    let sdk = sdk();
    assert_harmless(&err(&wpc(&["call", &sdk, "speak", FORGED])), &["[warn] "]);
    assert_harmless(&fails_with(5, &wpc(&["call", &sdk, "panics", FORGED])), &["error: function"]);
    assert_harmless(&fails_with(3, &wpc(&["call", &sdk, FORGED])), &["error: module"]);
    let result = wpc(&["call", &sdk, "join", FORGED, ""]);
    assert_harmless(&out(&result), &["\"text"]);
    assert_eq!(serde_json::from_str::<String>(&out(&result)).unwrap(), FORGED);

    let folder = tempfile::tempdir().unwrap();
    let manifest = write(folder.path(), &format!("[modules.tools]\nfile = {sdk:?}\n"));
    let call = serde_json::json!({ "function": "speak", "arguments": [FORGED] });
    let ran = wpc_with(format!("{call}\n").as_bytes(), &["run", &manifest]);
    // Log lines begin with the year.
    assert_harmless(&err(&ran), &["ready: ", "20"]);
}

/// The bytes of a text, escaped for a WAT string.
fn quoted(text: &str) -> String {
    text.bytes().map(|byte| format!("\\{byte:02x}")).collect()
}

#[test]
fn the_parts_of_a_guest_error_are_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let piece = |text: &str| format!("\\{:02x}{}", text.len(), quoted(text));
    // A reply with an error: its name, message and stack.
    let reply = format!("\\01{}{}{}", piece(FORGED), piece(FORGED), piece(FORGED));
    let length = 1 + 3 * (1 + FORGED.len());
    let module = wat(
        folder.path(),
        "fails.wasm",
        &format!(
            r#"(module
                (memory (export "memory") 1)
                (data (i32.const 16) "{reply}")
                (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
                (func (export "f") (param i32 i32) (result i64) i64.const {}))"#,
            16_u64 << 32 | length as u64
        ),
    );
    let message = fails_with(4, &wpc_with(b"", &["call", &module, "f", "--raw"]));
    assert_harmless(&message, &["error: function", "    "]);
    assert_eq!(message.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{message}");
}

#[test]
fn the_output_of_a_function_is_shown_as_log_lines() {
    let folder = tempfile::tempdir().unwrap();
    let text = "text\nerror: forged \u{202e}\n";
    let module = wat(
        folder.path(),
        "prints.wasm",
        &format!(
            r#"(module
                (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 1)
                (data (i32.const 0) "\08\00\00\00\{:02x}\00\00\00{}")
                (func (export "f")
                    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 512)))))"#,
            text.len(),
            quoted(text)
        ),
    );
    let ran = wpc(&["call", &module, "f", "--grant", "output"]);
    assert_harmless(&err(&ran), &["[stderr] text", "[stderr] error: forged \\u{202e}"]);
}

#[test]
fn inspect_escapes_names_of_a_module() {
    let folder = tempfile::tempdir().unwrap();
    let name = quoted(FORGED);
    let module = wat(
        folder.path(),
        "named.wasm",
        &format!(
            r#"(module
                (import "{name}" "{name}" (func))
                (import "wpc-host" "{name}" (func))
                (memory (export "m{name}") 1)
                (func (export "{name}")))"#
        ),
    );
    let output = out(&wpc(&["inspect", &module]));
    let starts = [
        "refused ",
        "size ",
        "SHA-1 ",
        "SHA-256 ",
        "contract ",
        "memory ",
        "imports ",
        "other exports ",
        "host functions ",
        "dependencies ",
    ];
    let starts = [&starts[..], &["functions", "  ", "types"]].concat();
    let output: String =
        output.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    assert_harmless(&output, &starts);
    // The function's line, and the one that explains how to call it.
    assert_eq!(output.lines().filter(|line| line.starts_with("  ")).count(), 2, "{output}");
}
