//! The host's files, compiled with threads, locks and atomics whose every step is ordered by a
//! scheduler ([`sync`]), and with a sandbox that only pretends ([`sandbox`]). Everything between the two
//! is the host's own: queue, calls, registry, workers, supervisor, start and stop.
//!
//! `tests/models.rs` has the checks.

// The host's unit tests are the host's: here they would find no scheduler.
#![cfg(not(test))]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    unnameable_types,
    missing_docs,
    missing_debug_implementations,
    clippy::disallowed_methods,
    unfulfilled_lint_expectations,
    reason = "the host's files are held to these where they are at home"
)]

macro_rules! of_the_host {
    ($($module:ident $path:literal),+ $(,)?) => {
        $(#[path = $path] mod $module;)+
    };
}

of_the_host! {
    arguments "../../wpc-host/src/arguments.rs",
    background "../../wpc-host/src/background.rs",
    buffers "../../wpc-host/src/buffers.rs",
    bulkhead "../../wpc-host/src/bulkhead.rs",
    by_name "../../wpc-host/src/by_name.rs",
    call "../../wpc-host/src/call.rs",
    capability "../../wpc-host/src/capability.rs",
    capacity "../../wpc-host/src/capacity.rs",
    changes "../../wpc-host/src/changes.rs",
    compile_cache "../../wpc-host/src/compile_cache.rs",
    compiler "../../wpc-host/src/compiler.rs",
    config "../../wpc-host/src/config.rs",
    contain "../../wpc-host/src/contain.rs",
    decode "../../wpc-host/src/decode.rs",
    dependency "../../wpc-host/src/dependency.rs",
    encode "../../wpc-host/src/encode.rs",
    engine "../../wpc-host/src/engine.rs",
    error "../../wpc-host/src/error.rs",
    error_code "../../wpc-host/src/error_code.rs",
    event "../../wpc-host/src/event.rs",
    gc_heap "../../wpc-host/src/gc_heap.rs",
    grants "../../wpc-host/src/grants.rs",
    host_function "../../wpc-host/src/host_function.rs",
    id "../../wpc-host/src/id.rs",
    information "../../wpc-host/src/information.rs",
    intake "../../wpc-host/src/intake.rs",
    job "../../wpc-host/src/job.rs",
    lifecycle "../../wpc-host/src/lifecycle.rs",
    limits "../../wpc-host/src/limits.rs",
    metering "../../wpc-host/src/metering/mod.rs",
    module "../../wpc-host/src/module.rs",
    observer "../../wpc-host/src/observer.rs",
    offload "../../wpc-host/src/offload.rs",
    os_limits "../../wpc-host/src/os_limits.rs",
    payload "../../wpc-host/src/payload.rs",
    payload_type "../../wpc-host/src/payload_type.rs",
    pending "../../wpc-host/src/pending.rs",
    pool "../../wpc-host/src/pool.rs",
    proposal "../../wpc-host/src/proposal.rs",
    queue "../../wpc-host/src/queue.rs",
    registry "../../wpc-host/src/registry.rs",
    remedy "../../wpc-host/src/remedy.rs",
    reply "../../wpc-host/src/reply.rs",
    restart_policy "../../wpc-host/src/restart_policy.rs",
    scheduler "../../wpc-host/src/scheduler.rs",
    signature "../../wpc-host/src/signature.rs",
    supervisor "../../wpc-host/src/supervisor.rs",
    ticker "../../wpc-host/src/ticker.rs",
    types "../../wpc-host/src/types.rs",
    type_check "../../wpc-host/src/type_check/mod.rs",
    waiting "../../wpc-host/src/waiting.rs",
    wasi "../../wpc-host/src/wasi.rs",
    wasm_module "../../wpc-host/src/wasm_module.rs",
    worker "../../wpc-host/src/worker/mod.rs",
}

// Names that the host's files refer to from its root.
use config::{CallOptions, Options};
use error::Error;
use event::EventDetails;
use limits::Limits;
use os_limits::OsResource;
use wasm_module::WasmModule;

mod sandbox;
mod sync;

pub mod checks;
