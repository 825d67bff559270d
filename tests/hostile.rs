//! An attack for each file of `fixtures/hostile`. Each test checks that the attacker's call ends with the expected
//! outcome, that calls to other functions keep succeeding, that the worker serves again with their state, and that the
//! sandbox's memory is released.
//!
//! In those files, a reply is written as `0xPPPPPPPP_LLLLLLLL`: the pointer, then the length.

mod calls;
mod endless;
mod floods;
mod imports;
mod memory;
mod modules;
mod replies;
mod streams;
mod suspended;

use crate::support::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wpc_host::{CallOptions, Limits, WasmModule, WorkerProcedureCall};

fn hostile(name: &str) -> WasmModule {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures/hostile")
        .join(format!("{name}.wat"));
    WasmModule::new(wat::parse_file(path).unwrap())
}

/// A hostile module with its grants and with what is defined before it.
struct Attack {
    module: WasmModule,
    given: Box<dyn Fn(&WorkerProcedureCall)>,
    /// Ends what keeps resources in use before the test looks for leaks.
    release: Box<dyn Fn()>,
    loses_its_worker: bool,
}

/// The module of this name in `fixtures/hostile`. Its function is `f`.
fn attack(name: &str) -> Attack {
    attack_by(hostile(name))
}

fn attack_by(module: WasmModule) -> Attack {
    Attack { module, given: Box::new(|_| {}), release: Box::new(|| {}), loses_its_worker: false }
}

impl Attack {
    fn granted(mut self, grant: impl FnOnce(WasmModule) -> WasmModule) -> Self {
        self.module = grant(self.module);
        self
    }

    fn given(mut self, given: impl Fn(&WorkerProcedureCall) + 'static) -> Self {
        self.given = Box::new(given);
        self
    }

    /// Checks the outcome of a call: the code of an error, or `value`.
    fn ends_with(self, outcome: &str) {
        let limit = if outcome == "timeout" { Duration::from_millis(50) } else { TEST_TIMEOUT };
        self.run(|wpc, module, here| {
            wpc.define_worker_function("f", module).unwrap();
            let here = here.clone().timeout(limit);
            match wpc.call_with::<()>("f", (), &here) {
                Ok(()) => assert_eq!("value", outcome),
                Err(error) => assert_eq!(error.code().as_str(), outcome, "{error}"),
            }
        });
    }

    /// Checks that the definition is rejected with this code.
    fn rejected_with(self, expected: &str) {
        self.run(|wpc, module, _| {
            assert_eq!(code(wpc.define_worker_function("f", module)), expected);
        });
    }

    fn run(self, attack: impl FnOnce(&WorkerProcedureCall, WasmModule, &CallOptions)) {
        let grace = Duration::from_millis(if self.loses_its_worker { 20 } else { 10_000 });
        let wpc = pool_with(2, immediate_restarts().unresponsive_worker_grace(grace));
        // Defined separately, so that each has its own sandbox on each worker.
        define_sdk(&wpc, &["add", "count"]);
        wpc.warm_worker_function("add").unwrap();
        wpc.warm_worker_function("count").unwrap();
        (self.given)(&wpc);
        let held_before = wpc.get_sandbox_usage();
        let here = CallOptions::new().affinity("here");
        assert_eq!(wpc.call_with::<u64>("count", (), &here).unwrap(), 1);

        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let neighbour = scope.spawn(|| {
                let mut calls = 0;
                while calls < 100 || !is_over.load(Ordering::Acquire) {
                    assert_eq!(wpc.call::<i32>("add", (calls, 1)).unwrap(), calls + 1);
                    calls += 1;
                }
            });
            let attacked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                attack(&wpc, self.module, &here);
            }));
            is_over.store(true, Ordering::Release);
            neighbour.join().expect("calls to other functions keep succeeding");
            if let Err(panic) = attacked {
                std::panic::resume_unwind(panic);
            }
        });
        assert_eq!(
            wpc.call_with::<i32>("add", (1, 2), &here).unwrap(),
            3,
            "the worker serves again"
        );
        if !self.loses_its_worker {
            let count = wpc.call_with::<u64>("count", (), &here).unwrap();
            assert_eq!(count, 2, "the other function on this worker keeps its state");
            for health in wpc.get_worker_health_states() {
                assert_eq!(health.restart_attempt, 0, "no worker is replaced");
            }
        }
        (self.release)();
        wpc.undefine_worker_function("f");
        eventually(|| wpc.get_sandbox_usage().live_memories <= held_before.live_memories);
        eventually(|| wpc.get_sandbox_usage().live_instances <= held_before.live_instances);
        wpc.stop_workers();
        eventually(|| wpc.get_sandbox_usage().live_instances == 0);
    }
}

fn with_memory(bytes: usize) -> impl FnOnce(WasmModule) -> WasmModule {
    move |module| module.limits(Limits::default().memory(bytes))
}

fn long_constant(wpc: &WorkerProcedureCall) {
    wpc.define_worker_constant("word", &"w".repeat(4000)).unwrap();
}

#[test]
fn every_attack_has_a_test() {
    let tests = [
        include_str!("hostile/calls.rs"),
        include_str!("hostile/endless.rs"),
        include_str!("hostile/floods.rs"),
        include_str!("hostile/imports.rs"),
        include_str!("hostile/memory.rs"),
        include_str!("hostile/modules.rs"),
        include_str!("hostile/replies.rs"),
        include_str!("hostile/streams.rs"),
        include_str!("hostile/suspended.rs"),
    ];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/hostile");
    let mut attacks = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let quoted = format!("\"{name}\"");
        assert!(tests.iter().any(|source| source.contains(&quoted)), "{name} has no test");
        attacks += 1;
    }
    assert!(attacks >= 25);
}
