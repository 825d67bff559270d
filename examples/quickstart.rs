//! Constants, dependencies and functions, defined before and after start.
//!
//! cargo run --release --example quickstart

use std::time::Duration;
use wpc_host::{Capability, Options, WasmModule, WorkerEvent, WorkerProcedureCall};

fn main() -> anyhow::Result<()> {
    let wpc = WorkerProcedureCall::new(
        Options::default()
            .call_timeout(Duration::from_secs(30))
            .max_restarts_per_worker(3)
            .max_pending_calls_per_worker(1_000),
    )?;

    let listener = wpc.on_worker_event(print_event)?;

    // A constant that functions read, and a dependency that they link to, before the workers start.
    wpc.define_worker_constant("SERVICE_PREFIX", "api-v1")?;
    wpc.define_worker_dependency("path_dep", guest("path")?)?;
    wpc.define_worker_function("WPCFunction1", guest("function1")?)?;

    wpc.start_workers(4)?;

    // Another dependency after the start. It uses randomness, which has to be granted.
    wpc.define_worker_dependency("crypto_dep", guest("crypto")?.grant(Capability::Random))?;
    wpc.define_worker_function("WPCFunction2", guest("function2")?)?;

    // The information on a function has the SHA-1 of its module.
    println!("{:#?}", wpc.get_remote_functions());
    println!("{:#?}", wpc.get_worker_dependencies());
    println!("{:#?}", wpc.get_worker_constants());

    let name: String = wpc.call("WPCFunction1", ("/tmp/example.txt",))?;
    let uuid: String = wpc.call("WPCFunction2", ())?;
    println!("WPCFunction1: {name}");
    println!("WPCFunction2: {uuid}");

    wpc.undefine_worker_dependency("crypto_dep");
    wpc.undefine_worker_function("WPCFunction2");
    wpc.off_worker_event(listener);
    wpc.stop_workers();
    Ok(())
}

fn print_event(event: &WorkerEvent) {
    let worker = event.worker_id.map_or_else(|| "pool".to_owned(), |id| id.to_string());
    println!("event {}: {worker} {} {:?}", event.event_id, event.event_name(), event.details);
}

/// A guest that `cargo xtask guests` built from `examples/guests`.
fn guest(name: &str) -> anyhow::Result<WasmModule> {
    let path = format!("{}/../examples/guests/wasm/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    Ok(WasmModule::new(std::fs::read(path)?))
}
