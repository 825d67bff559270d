//! Arbitrary valid modules are defined and all their functions are called. The host neither panics nor hangs, and its
//! counters return to zero.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::time::Duration;
use wpc_fuzz::pool;
use wpc_host::{CallOptions, Capability, Limits, WasmModule, WorkerProcedureCall};

/// One pool for all runs, as in an embedder.
static POOL: LazyLock<WorkerProcedureCall> = LazyLock::new(|| pool(3));

fuzz_target!(|input: (wasm_smith::Module, Vec<u8>)| {
    let (mut module, arguments) = input;
    if module.ensure_termination(10_000).is_err() {
        return;
    }
    let fuel = (arguments.len() % 2 == 0).then_some(1 << 40);
    let mut limits = Limits::default().memory(4 << 20).table_elements(1000);
    limits.fuel = fuel;
    let module = WasmModule::new(module.to_bytes())
        .limits(limits)
        .grant(Capability::Random)
        .grant(Capability::Clock);
    let Ok(functions) = POOL.define_worker_module(module) else { return };
    let options = CallOptions::new().timeout(Duration::from_millis(100));
    for function in functions.iter().take(8) {
        let _ = POOL.call_with::<Vec<u8>>(&function.name, (&arguments,), &options);
        let _ = POOL.call_with::<i64>(&function.name, (1_i32, 2_i64, 0.5_f32), &options);
    }
    for function in &functions {
        assert!(POOL.undefine_worker_function(&function.name));
    }
    let health = POOL.get_worker_health_states();
    assert_eq!(health.len(), 1);
    assert_eq!(health[0].restart_attempt, 0, "the worker was replaced");
});
