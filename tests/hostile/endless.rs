//! Guests that do not return: loops, recursion, start functions, hooks, sleep, and code that takes a long time to compile.

use super::{attack, attack_by, hostile};
use crate::support::eventually;
use std::time::Duration;
use wpc_host::{Capability, Limits, WasmModule, WorkerProcedureCall};

fn trampoline(wpc: &WorkerProcedureCall) {
    wpc.define_worker_dependency("trampoline", hostile("trampoline")).unwrap();
}

#[test]
fn endless_loop() {
    attack("endless-loop").ends_with("timeout");
}

#[test]
fn endless_tail_call() {
    attack("endless-tail-call").ends_with("timeout");
}

#[test]
fn endless_recursion() {
    attack("endless-recursion").ends_with("stack_overflow");
}

#[test]
fn endless_indirect_recursion() {
    attack("endless-indirect-recursion").ends_with("stack_overflow");
}

#[test]
fn buffer_loops() {
    attack("buffer-loops").ends_with("timeout");
}

#[test]
fn start_loops() {
    attack("start-loops").ends_with("timeout");
}

#[test]
fn initialize_loops() {
    attack("initialize-loops").ends_with("timeout");
}

#[test]
fn init_hook_loops() {
    attack("init-hook-loops").ends_with("timeout");
}

#[test]
fn calls_itself_through_a_dependency() {
    attack("calls-itself-through-a-dependency").given(trampoline).ends_with("stack_overflow");
}

#[test]
fn calls_a_dependency_that_loops() {
    attack("calls-a-dependency-that-loops").given(trampoline).ends_with("timeout");
}

#[test]
fn wasi_sleeps_for_ever() {
    attack("wasi-sleeps-for-ever")
        .granted(|module| module.grant(Capability::Clock))
        .ends_with("timeout");
}

#[test]
fn throws_for_ever() {
    attack("throws-for-ever").ends_with("timeout");
}

/// A module with a function of many branches.
fn long_body(length: usize) -> Vec<u8> {
    let body =
        "(if (i32.eqz (local.get 0)) (then (local.set 0 (i32.add (local.get 0) (i32.const 7)))))"
            .repeat(length);
    wat::parse_str(format!(r#"(module (func (export "f") (param i32) {body}))"#)).unwrap()
}

#[test]
fn a_module_that_takes_too_long_to_compile_is_rejected() {
    let limits = Limits::default().compile_time(Duration::from_millis(1));
    let module = WasmModule::new(long_body(20_000)).limits(limits);
    // On a busy machine, the module may be compiled before the thread that waits for it runs again.
    attack_by(module).run(|wpc, module, _| {
        eventually(|| match wpc.define_worker_function("f", module.clone()) {
            Ok(_) => !wpc.undefine_worker_function("f"),
            Err(error) => {
                assert_eq!(error.code().as_str(), "compile_timeout");
                true
            }
        });
    });
}
