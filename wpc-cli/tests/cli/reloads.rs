//! Reloads of `wpc run --watch` while calls run.

use crate::running::{Running, write};
use crate::support::wat;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

/// Writes a manifest with a dependency and its user, which return `version`. Neither works with the previous version of the
/// other, because the types alternate.
fn write_pair(folder: &Path, version: u32) -> String {
    let ty = if version.is_multiple_of(2) { "i32" } else { "i64" };
    let (lib, f) = (format!("lib{version}.wasm"), format!("f{version}.wasm"));
    let text = format!(r#"(module (func (export "get") (result {ty}) {ty}.const {version}))"#);
    wat(folder, &lib, &text);
    let text = format!(
        r#"(module (import "lib" "get" (func $get (result {ty})))
            (func (export "f") (result {ty}) call $get))"#
    );
    wat(folder, &f, &text);
    write(folder, &format!("[dependencies.lib]\nfile = {lib:?}\n[functions.f]\nfile = {f:?}\n"))
}

/// Ends the calls even if the test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_dependency_and_its_users_change_under_load_without_a_refused_call() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = write_pair(folder.path(), 0);
    let mut running = Running::start(&["--json", "run", &manifest, "--watch", "--ordered"]);
    running.wait_for("ready", "\"functions\":1");
    let mut calls = running.calls.take().unwrap();
    let answers = std::mem::replace(&mut running.answers, sync_channel(0).1);
    let is_over = AtomicBool::new(false);
    let (sent, answers) = std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut sent = 0;
            while !is_over.load(Ordering::Acquire) {
                writeln!(calls, "{}", json!({ "function": "f" })).unwrap();
                sent += 1;
            }
            // The end of the input ends the process, and so the answers.
            drop(calls);
            sent
        });
        let read = |line: String| serde_json::from_str::<Value>(&line).unwrap();
        let reader = scope.spawn(move || answers.into_iter().map(read).collect::<Vec<_>>());
        let over = SetOnDrop(&is_over);
        for version in 1..=8 {
            write_pair(folder.path(), version);
            running.wait_for("defined", "function \\\"f\\\"");
        }
        drop(over);
        (caller.join().unwrap(), reader.join().unwrap())
    });
    assert_eq!(running.exit_code(), Some(0));
    assert_eq!(answers.len(), sent);
    let mut last = 0;
    for answer in &answers {
        let value = answer["value"].as_u64().unwrap_or_else(|| panic!("refused: {answer}"));
        assert!(value >= last, "{answer} after {last}");
        last = value;
    }
}
