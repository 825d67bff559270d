//! Arbitrary bytes as arguments of functions written with the SDK: the guest answers, rejects them or traps, and the
//! host does not panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::time::Duration;
use wpc_fuzz::{Raw, pool};
use wpc_host::{CallOptions, Error, WasmModule, WorkerProcedureCall};

const FUNCTIONS: [&str; 8] =
    ["add", "join", "borrow", "echo_bytes", "sum", "order", "opaque", "nothing"];

static POOL: LazyLock<WorkerProcedureCall> = LazyLock::new(|| {
    let wpc = pool(u32::MAX);
    let sdk = WasmModule::new(include_bytes!("../../../fixtures/wasm/sdk.wasm").as_slice());
    for function in FUNCTIONS {
        wpc.define_worker_function(function, sdk.clone()).expect("the function is defined");
    }
    wpc
});

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (function, bytes) = input;
    let function = FUNCTIONS[usize::from(function) % FUNCTIONS.len()];
    let options = CallOptions::new().timeout(Duration::from_secs(5));
    let result = POOL.call_with::<Vec<u8>>(function, Raw(&bytes), &options);
    let is_allowed = matches!(
        result,
        Ok(_)
            | Err(Error::BadArguments { .. }
                | Error::ResultDecode { .. }
                | Error::Trap { .. }
                | Error::OutOfMemory { .. }
                | Error::OutOfTableElements { .. })
    );
    assert!(is_allowed, "{function}: {result:?}");
});
