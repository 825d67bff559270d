//! Sleep, `poll_oneoff`, and the runtime that WASI runs on.

use super::{Folder, everything, imports, pool_of_tools};
use crate::support::{code, eventually, immediate_restarts, pool, pool_with, wat};
use std::time::Duration;
use wpc_host::{CallOptions, Capability, Input, Output, SuspensionCause, Wasi};

#[test]
fn a_host_function_does_not_run_within_the_runtime_of_wasi() {
    let wpc = pool(1);
    let inside = |_: &_, (): ()| Ok::<_, String>(tokio::runtime::Handle::try_current().is_ok());
    wpc.define_host_function("inside", inside).unwrap();
    let module = wat(r#"(module
            (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
            (import "wpc-host" "inside" (func $inside (param i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 2)
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
            (func (export "f") (param i32 i32) (result i64) (local i64)
                (drop (call $yield))
                (local.set 2 (call $inside (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 8)))
                (drop (call $yield))
                (i64.or (pack 16 0) (local.get 2))))"#);
    let module = module.grant_wasi(Wasi::new()).grant_host_function("inside");
    wpc.define_worker_function("f", module).unwrap();
    assert!(!wpc.call::<bool>("f", ()).unwrap());
}

#[test]
fn sleeping_ends_with_the_call() {
    let folder = Folder::new("sleep");
    let wpc = pool_of_tools(everything(&folder));
    assert!(wpc.call::<u64>("sleep_for", (5_u64,)).unwrap() >= 5);
    let options = CallOptions::new().timeout(Duration::from_millis(50));
    let error = wpc.call_with::<u64>("sleep_for", (u64::from(u32::MAX),), &options).unwrap_err();
    assert_eq!(error.code().as_str(), "timeout");
    let call = wpc.submit::<u64>("sleep_for", (u64::from(u32::MAX),)).unwrap();
    call.cancel();
    assert_eq!(code(call.wait()), "cancelled");
    let health = &wpc.get_worker_health_states()[0];
    assert_eq!(health.restart_attempt, 0, "the worker is not replaced");
    assert!(wpc.call::<u64>("seconds_now", ()).unwrap() > 1_700_000_000);
    assert_ne!(
        wpc.call::<u64>("random_number", ()).unwrap(),
        wpc.call::<u64>("random_number", ()).unwrap()
    );
}

#[test]
fn a_guest_that_sleeps_is_suspended() {
    let folder = Folder::new("suspended-sleep");
    let wpc = pool_of_tools(everything(&folder));
    assert!(wpc.function_information("sleep_for").unwrap().can_suspend);
    let calls: Vec<_> =
        (0..5).map(|_| wpc.submit::<u64>("sleep_for", (u64::from(u32::MAX),)).unwrap()).collect();
    eventually(|| wpc.metrics().suspended_calls == 5);
    assert_eq!(wpc.call::<Option<String>>("variable", ("NONE",)).unwrap(), None);
    let until_limit = CallOptions::new().timeout(Duration::from_millis(50));
    let limited = wpc.submit_with::<u64>("sleep_for", (u64::from(u32::MAX),), &until_limit);
    assert_eq!(code(limited.unwrap().wait()), "timeout");
    for call in calls {
        call.cancel();
        assert_eq!(code(call.wait()), "cancelled");
    }
    assert!(wpc.call::<u64>("sleep_for", (3_u64,)).unwrap() >= 3);
    assert!(wpc.local_worker().call::<u64>("sleep_for", (3_u64,)).unwrap() >= 3);
    assert_eq!(wpc.get_worker_health_states()[0].restart_attempt, 0, "no worker is replaced");
}

#[test]
fn a_function_can_suspend_if_a_wasi_import_may_wait_with_its_grants() {
    let folder = Folder::new("may-wait");
    let wpc = pool(1);
    let four = "(param i32 i32 i32 i32) (result i32)";
    let can_suspend = |import: &str, ty: &str, wasi: Wasi| {
        let module = imports(import, ty).grant_wasi(wasi).grant(Capability::Clock);
        wpc.define_worker_function("f", module).unwrap();
        wpc.call::<()>("f", ()).unwrap();
        let information = wpc.function_information("f").unwrap();
        let causes = [SuspensionCause::WasiImport(import.to_owned())];
        assert_eq!(information.can_suspend, information.suspension_causes == causes);
        information.can_suspend
    };
    assert!(can_suspend("poll_oneoff", four, Wasi::new()));
    assert!(!can_suspend("clock_time_get", "(param i32 i64 i32) (result i32)", Wasi::minimal()));
    for import in ["fd_read", "fd_write", "fd_close"] {
        let ty = if import == "fd_close" { "(param i32) (result i32)" } else { four };
        assert!(!can_suspend(import, ty, everything(&folder)), "{import}");
        let wasi = everything(&folder)
            .stdin_stream(Input::reader(std::io::empty()))
            .stderr(Output::writer(std::io::sink()));
        assert_eq!(can_suspend(import, ty, wasi), import != "fd_close", "{import}");
    }
    let wasi = Wasi::new().stdout(Output::inline_writer(std::io::sink())).stderr(Output::events());
    assert!(!can_suspend("fd_write", four, wasi));
    let nine = "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)";
    assert!(can_suspend("path_open", nine, everything(&folder)));
    // A dependency that may wait suspends its users.
    let waits = imports("poll_oneoff", four).grant(Capability::Clock);
    wpc.define_worker_dependency("waits", waits).unwrap();
    let user = r#"(module (import "waits" "f" (func)) (memory (export "memory") 1)
        (func (export "user")))"#;
    wpc.define_worker_function("user", wat(user)).unwrap();
    assert!(wpc.function_information("user").unwrap().can_suspend);
    wpc.call::<()>("user", ()).unwrap();
}

#[test]
fn valid_subscriptions_are_answered_and_invalid_addresses_end_the_call() {
    // Subscriptions: at 64 a relative wait of 1 ns, at 112 standard input, at 160 an unknown clock. Events are written
    // to 1024, and their number to 512.
    let module = |call: &str, result: &str| {
        wat(&format!(
            r#"(module
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "\07\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\01")
            (data (i32.const 112) "\08\00\00\00\00\00\00\00\01")
            (data (i32.const 160) "\09\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\63")
            (func (export "f") (result i32) (local $errno i32)
                (local.set $errno (call $poll {call})) {result}))"#
        ))
        .grant(Capability::Clock)
    };
    let wpc = pool_with(1, immediate_restarts());
    let answer = |call: &str, result: &str| {
        wpc.define_worker_function("f", module(call, result)).unwrap();
        wpc.call::<i32>("f", ())
    };
    let (errno, count) = ("(local.get $errno)", "(i32.load (i32.const 512))");
    let all = "(i32.const 64) (i32.const 1024) (i32.const 3) (i32.const 512)";
    assert_eq!(
        answer("(i32.const 64) (i32.const 1024) (i32.const 1) (i32.const 512)", count).unwrap(),
        1
    );
    assert_eq!(answer(all, errno).unwrap(), 0);
    assert!((2..=3).contains(&answer(all, count).unwrap()), "the wait may have ended as well");
    let one = "(i32.const 112) (i32.const 1024) (i32.const 1) (i32.const 512)";
    assert_eq!(answer(one, "(i32.load (i32.const 1024))").unwrap(), 8);
    assert_eq!(answer(one, "(i32.load8_u (i32.const 1034))").unwrap(), 1);
    let none = "(i32.const 160) (i32.const 1024) (i32.const 1) (i32.const 512)";
    assert_eq!(answer(none, "(i32.load16_u (i32.const 1032))").unwrap(), 28);
    assert_eq!(
        answer("(i32.const 64) (i32.const 1024) (i32.const 0) (i32.const 512)", errno).unwrap(),
        28
    );
    assert_eq!(
        answer("(i32.const 64) (i32.const 1024) (i32.const -1) (i32.const 512)", errno).unwrap(),
        28
    );
    for outside in [
        "(i32.const 65535) (i32.const 1024) (i32.const 1) (i32.const 512)",
        "(i32.const 64) (i32.const 65535) (i32.const 1) (i32.const 512)",
        "(i32.const 64) (i32.const 1024) (i32.const 1) (i32.const 65535)",
        "(i32.const -1) (i32.const -1) (i32.const 1) (i32.const -1)",
    ] {
        assert_eq!(code(answer(outside, errno)), "bad_reply");
    }
}

#[test]
fn wasi_starts_no_threads() {
    let folder = Folder::new("threads");
    folder.put("a.txt", "alpha");
    let wpc = pool_of_tools(everything(&folder));
    assert_eq!(wpc.call::<String>("read_file", ("/data/a.txt",)).unwrap(), "alpha");
    wpc.call::<u64>("sleep_for", (1_u64,)).unwrap();
    let names = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let foreign: Vec<_> = names.filter(|name| name.contains("tokio")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}
