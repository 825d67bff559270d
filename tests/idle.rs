//! An idle pool uses no CPU: none of its threads is ever woken. This is a separate binary, because it inspects every
//! thread of the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::time::{Duration, Instant};
use wpc_host::{Options, WasmModule, WorkerProcedureCall};

/// The number of context switches of the pool's threads so far. `None` until all threads have their names, which each
/// sets when it first runs, and until the threads of the compiler have ended.
fn runs_of_the_pools_threads() -> Option<u64> {
    let mut threads = 0;
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let statuses =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    let ours = statuses.filter(|status| status.starts_with("Name:\twpc-"));
    let runs = ours.map(|status| {
        threads += 1;
        let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
        switches
            .map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
            .sum::<u64>()
    });
    let runs = runs.sum();
    // Four workers, the supervisor, and the thread of the runtime for async host functions.
    (threads == 6).then_some(runs)
}

#[test]
fn an_idle_pool_and_suspended_calls_are_never_woken() {
    let options = Options::default().call_timeout(Duration::from_secs(3600));
    let wpc = WorkerProcedureCall::new(options).unwrap();
    let wasm = wat::parse_str(r#"(module (func (export "f") (result i32) i32.const 7))"#).unwrap();
    wpc.define_worker_function("f", wasm).unwrap();
    for number in 0..1000 {
        let unused = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
        wpc.define_worker_function(&format!("unused{number}"), unused).unwrap();
    }
    wpc.start_workers(4).unwrap();
    for _ in 0..100 {
        assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 7);
    }
    // Calls that stay suspended, and one that ended after it was suspended, cost nothing either.
    wpc.define_async_host_function("never", |_, (): ()| {
        std::future::pending::<Result<(), String>>()
    })
    .unwrap();
    let waits = r#"(module
        (import "wpc-host" "never" (func $never (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (func (export "waits")
            (drop (call $never (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 64)))))"#;
    let waits = WasmModule::new(wat::parse_str(waits).unwrap()).grant_host_function("never");
    wpc.define_worker_function("waits", waits).unwrap();
    let suspended: Vec<_> = (0..10).map(|_| wpc.submit::<()>("waits", ()).unwrap()).collect();
    while wpc.metrics().suspended_calls < suspended.len() {
        std::thread::yield_now();
    }
    suspended[0].cancel();
    // The pool spins for a moment after the last call. After that, no thread runs.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let before = runs_of_the_pools_threads();
        std::thread::sleep(Duration::from_millis(500));
        if before.is_some() && runs_of_the_pools_threads() == before {
            break;
        }
        assert!(Instant::now() < deadline, "the pool has other threads, or they keep running");
    }
    assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 7, "the pool wakes up for a call");
    assert!(suspended[1..].iter().all(|call| !call.is_answered()));
}
