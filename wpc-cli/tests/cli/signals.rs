//! Signals that stop or reload `wpc run`, before and after it is ready.

use crate::manifests::returns;
use crate::running::{Running, write};
use crate::support::{sdk, wat};
use serde_json::json;
use std::path::Path;

/// A manifest with `spin`, which logs a line and never returns, and the functions of the SDK's fixture.
pub(crate) fn manifest(folder: &Path, stop_timeout: &str) -> String {
    wat(
        folder,
        "spin.wasm",
        r#"(module
            (import "wpc" "wpc_log" (func $log (param i32 i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "in")
            (func (export "spin")
                (call $log (i32.const 2) (i32.const 0) (i32.const 2))
                (loop br 0)))"#,
    );
    let pool = format!("workers = 2\ncall_timeout = \"1h\"\nstop_timeout = \"{stop_timeout}\"\n");
    write(
        folder,
        &format!(
            "[pool]\n{pool}[functions.spin]\nfile = \"spin.wasm\"\n[modules.tools]\nfile = {:?}",
            sdk()
        ),
    )
}

pub(crate) fn signal(running: &Running, name: &str) {
    let kill = std::process::Command::new("kill")
        .args(["-s", name, &running.child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
}

#[test]
fn a_signal_interrupts_calls_that_run_past_the_stop_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(&["--json", "run", &manifest(folder.path(), "50ms")]);
    running.send("spin", json!([]));
    running.wait_for("log", "in");
    signal(&running, "TERM");
    running.wait_for("stopping", "50ms");
    assert_eq!(running.answer()["error"]["code"], "stopped");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(&["--json", "run", &manifest(folder.path(), "1h")]);
    running.send("spin", json!([]));
    running.wait_for("log", "in");
    signal(&running, "TERM");
    running.wait_for("stopping", "1h");
    signal(&running, "INT");
    assert_eq!(running.exit_code(), Some(130));
}

/// A pool whose standard output is full and is not read. It still serves calls.
fn stalled(folder: &Path, stop_timeout: &str) -> Running {
    let mut running = Running::start_unread(&["--json", "run", &manifest(folder, stop_timeout)]);
    // Larger than the capacity of a pipe.
    running.send("join", json!(["a".repeat(4 << 20), ""]));
    running.send("speak", json!(["served"]));
    running.wait_for("log", "served");
    running
}

#[test]
fn a_second_signal_ends_the_process_despite_a_stalled_reader() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = stalled(folder.path(), "1h");
    signal(&running, "TERM");
    running.wait_for("stopping", "1h");
    signal(&running, "TERM");
    assert_eq!(running.exit_code(), Some(130));
}

#[test]
fn a_stop_ends_the_process_despite_a_stalled_reader() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = stalled(folder.path(), "50ms");
    signal(&running, "TERM");
    running.wait_for("stopping", "50ms");
    assert!(running.notice().contains("standard output was not read for 1s"));
    assert_eq!(running.exit_code(), Some(1));
}

#[test]
fn signals_work_after_the_input_ended_with_a_stalled_reader() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = stalled(folder.path(), "1h");
    drop(running.calls.take());
    signal(&running, "TERM");
    running.wait_for("stopping", "1h");
    signal(&running, "TERM");
    assert_eq!(running.exit_code(), Some(130));
}

#[test]
fn sighup_reloads_and_recovery_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    returns(folder, "f.wasm", 1);
    let mut running =
        Running::start(&["--json", "run", &write(folder, "[functions.f]\nfile = \"f.wasm\"\n")]);
    running.wait_for("ready", "\"functions\":1");
    assert_eq!(running.call("f"), 1);
    returns(folder, "f.wasm", 2);
    signal(&running, "HUP");
    running.wait_for("defined", "function \\\"f\\\"");
    assert_eq!(running.call("f"), 2);
    std::fs::write(folder.join("f.wasm"), "broken").unwrap();
    signal(&running, "HUP");
    running.wait_for("refused", "not_wasm");
    assert_eq!(running.call("f"), 2);
    // The content of the active definition: the function is not defined again.
    returns(folder, "f.wasm", 2);
    signal(&running, "HUP");
    running.wait_for("recovered", "wpc.toml");
    assert_eq!(running.call("f"), 2);
    drop(running.calls.take());
    assert_eq!(running.exit_code(), Some(0));
}

/// Starts `wpc run` with `f`, which returns 1, and with a module that takes a long time to compile: its function has
/// this many branches. Returns while it is compiled, or after that if the test waits for a core; by then, all files have been read.
#[cfg(target_os = "linux")]
fn compiling(folder: &Path, branches: usize) -> Running {
    returns(folder, "f.wasm", 1);
    let body = "local.get 0 if local.get 0 i32.const 7 i32.add local.set 0 end ".repeat(branches);
    wat(folder, "slow.wasm", &format!("(module (func (export \"slow\") (param i32) {body}))"));
    let manifest = write(
        folder,
        "[functions.slow]\nfile = \"slow.wasm\"\nlimits = { compile_time = \"1h\" }\n[modules.f]\nfile = \"f.wasm\"\n",
    );
    let mut running = Running::start(&["--json", "--no-cache", "run", &manifest]);
    let threads = format!("/proc/{}/task", running.child.id());
    // The workers start when everything is compiled.
    let is_compiler_or_worker = |thread: std::fs::DirEntry| {
        // The thread may have ended.
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        name.trim() == "wpc-compiler" || name.starts_with("wpc-worker")
    };
    let compiles = || std::fs::read_dir(&threads).unwrap().flatten().any(is_compiler_or_worker);
    while !compiles() {
        assert_eq!(running.child.try_wait().unwrap(), None, "{}", running.notice());
        std::thread::yield_now();
    }
    running
}

#[test]
#[cfg(target_os = "linux")]
fn a_sighup_during_the_start_reloads_once_the_pool_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = compiling(folder.path(), 5_000);
    returns(folder.path(), "f.wasm", 2);
    signal(&running, "HUP");
    signal(&running, "HUP");
    running.wait_for("ready", "\"functions\":2");
    running.wait_for("defined", "module \\\"f\\\"");
    assert_eq!(running.call("f"), 2);
    drop(running.calls.take());
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_to_stop_during_the_start_ends_the_process_at_once() {
    for name in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut running = compiling(folder.path(), 200_000);
        signal(&running, name);
        assert_eq!(running.exit_code(), Some(0));
        assert_eq!(running.all_notices(), Vec::<String>::new());
    }
}
