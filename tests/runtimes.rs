//! Calls from within every kind of async runtime.

use crate::foreign_code::writes;
use crate::support::*;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use wpc_host::{Options, Output, Wasi, WorkerProcedureCall};

/// A module that opens a file of its only directory and reads its standard input.
fn reads() -> wpc_host::WasmModule {
    wat(r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\40\00\00\00\05\00\00\00" "Cargo.toml")
        (func (export "reads") (result i32)
            (i32.or
                (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 10) (i32.const 0)
                    (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 32))
                (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 36)))))"#)
}

/// Runs WASI guests in every way, and runs guests from within the code that guests call.
fn use_everything() {
    let wpc = Arc::new(pool_with(2, Options::default()));
    wpc.define_worker_function("quick", spinner()).unwrap();
    let discards = Wasi::minimal().stdout(Output::discard());
    wpc.define_worker_function("writes", writes().grant_wasi(discards)).unwrap();
    // A writer and a host function that run guests themselves, on this thread and on the pool.
    let runs_guests = {
        let wpc = Arc::downgrade(&wpc);
        move || {
            let Some(wpc) = wpc.upgrade() else { return };
            assert_eq!(wpc.local_worker().call::<i32>("writes", ()).unwrap(), 0);
            assert_eq!(wpc.call::<i32>("writes", ()).unwrap(), 0);
        }
    };
    struct Writer<F>(F);
    impl<F: Fn()> std::io::Write for Writer<F> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            (self.0)();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let nests = Wasi::minimal().stdout(Output::writer(Writer(runs_guests.clone())));
    wpc.define_worker_function("nests", writes().export("writes").grant_wasi(nests)).unwrap();
    wpc.define_host_function("runs", move |_, (): ()| {
        runs_guests();
        Ok::<_, String>(())
    })
    .unwrap();
    let calls_host = wat(r#"(module
        (import "wpc-host" "runs" (func $runs (param i32 i32 i32 i32) (result i64)))
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 1)
        (func (export "runs") (result i64)
            (drop (call $yield))
            (call $runs (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 64))))"#);
    let granted = calls_host.grant_host_function("runs").grant_wasi(Wasi::minimal());
    wpc.define_worker_function("runs", granted).unwrap();

    let granted =
        Wasi::minimal().stdin(b"Ada".as_slice()).read_directory(env!("CARGO_MANIFEST_DIR"), "/");
    wpc.define_worker_function("reads", reads().grant_wasi(granted)).unwrap();
    // A listener that runs guests once.
    let (heard, hears) = channel();
    let listens = {
        let (wpc, heard) = (Arc::downgrade(&wpc), Mutex::new(Some(heard)));
        move |_: &wpc_host::WorkerEvent| {
            let Some(heard) = heard.lock().unwrap().take() else { return };
            let Some(wpc) = wpc.upgrade() else { return };
            let status = wpc.local_worker().call::<i32>("reads", ()).unwrap();
            heard.send(status + wpc.call::<i32>("reads", ()).unwrap()).unwrap();
        }
    };
    wpc.on_worker_event(listens).unwrap();

    let mut here = wpc.local_worker();
    assert_eq!(here.call::<i32>("writes", ()).unwrap(), 0);
    assert_eq!(here.call::<i32>("reads", ()).unwrap(), 0);
    assert_eq!(wpc.call::<i32>("reads", ()).unwrap(), 0);
    assert_eq!(hears.recv_timeout(TEST_TIMEOUT).unwrap(), 0);
    assert_eq!(here.call::<i32>("nests", ()).unwrap(), 0);
    assert!(here.call::<i64>("runs", ()).unwrap() > 0);
    assert_eq!(wpc.call::<i32>("writes", ()).unwrap(), 0);
    assert_eq!(wpc.call::<i32>("nests", ()).unwrap(), 0);
    assert!(wpc.call::<i64>("runs", ()).unwrap() > 0);
    assert_eq!(here.call::<i32>("writes", ()).unwrap(), 0);
    stop(wpc);
}

fn stop(wpc: Arc<WorkerProcedureCall>) {
    wpc.stop_workers();
}

/// Their threads have names of their own, because another test looks for threads of tokio by their usual name.
fn runtimes() -> [tokio::runtime::Runtime; 2] {
    let mut builders = [
        tokio::runtime::Builder::new_current_thread(),
        tokio::runtime::Builder::new_multi_thread(),
    ];
    builders
        .each_mut()
        .map(|builder| builder.worker_threads(2).thread_name("embedder").build().unwrap())
}

#[test]
fn everything_runs_on_a_plain_thread() {
    use_everything();
}

#[test]
fn everything_runs_within_an_entered_runtime() {
    for runtime in runtimes() {
        let _entered = runtime.enter();
        use_everything();
    }
}

#[test]
fn everything_runs_inside_block_on() {
    for runtime in runtimes() {
        runtime.block_on(async { use_everything() });
    }
}

#[test]
fn everything_runs_inside_a_task() {
    for runtime in runtimes() {
        runtime.block_on(async { tokio::spawn(async { use_everything() }).await.unwrap() });
    }
}

#[test]
fn everything_runs_inside_a_local_set() {
    for runtime in runtimes() {
        let set = tokio::task::LocalSet::new();
        set.block_on(&runtime, async {
            tokio::task::spawn_local(async { use_everything() }).await.unwrap();
        });
    }
}

#[test]
fn everything_runs_inside_spawn_blocking() {
    for runtime in runtimes() {
        runtime.block_on(async { tokio::task::spawn_blocking(use_everything).await.unwrap() });
    }
}

#[test]
fn everything_runs_inside_block_in_place() {
    let [_, runtime] = runtimes();
    runtime.block_on(async {
        let task = async { tokio::task::block_in_place(use_everything) };
        tokio::spawn(task).await.unwrap();
    });
}

#[test]
fn a_task_awaits_a_call_that_runs_a_guest_of_wasi() {
    for runtime in runtimes() {
        let wpc = pool(1);
        let discards = Wasi::minimal().stdout(Output::discard());
        wpc.define_worker_function("writes", writes().grant_wasi(discards)).unwrap();
        let status = runtime.block_on(async {
            let call = pin!(wpc.call_async::<i32>("writes", ()));
            call.await.unwrap()
        });
        assert_eq!(status, 0);
    }
}
