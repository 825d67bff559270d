//! Any bytes as the arguments of functions written with the SDK: the guest answers, refuses them, or
//! traps; its host does not mind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::time::Duration;
use wpc_host::{CallOptions, Error, Options, WasmModule, WorkerProcedureCall};

const FUNCTIONS: [&str; 8] = ["add", "join", "borrow", "echo_bytes", "sum", "order", "opaque", "nothing"];

static POOL: LazyLock<WorkerProcedureCall> = LazyLock::new(|| {
    let wpc = WorkerProcedureCall::new(Options {
        max_restarts_per_worker: u32::MAX,
        restart_base_delay: Duration::from_nanos(1),
        restart_max_delay: Duration::from_nanos(1),
        restart_jitter: Duration::ZERO,
        ..Options::default()
    })
    .expect("the options are valid");
    wpc.start_workers(1).expect("a worker starts");
    let sdk = WasmModule::new(include_bytes!("../../fixtures/wasm/sdk.wasm").as_slice());
    for function in FUNCTIONS {
        wpc.define_worker_function(function, sdk.clone()).expect("it is defined");
    }
    wpc
});

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (function, bytes) = input;
    let function = FUNCTIONS[usize::from(function) % FUNCTIONS.len()];
    let options = CallOptions::new().time_limit(Duration::from_secs(5));
    let result = POOL.call_with::<Vec<u8>>(function, Raw(&bytes), &options);
    let lawful = matches!(
        result,
        Ok(_) | Err(Error::BadArguments { .. } | Error::ResultDecode { .. } | Error::Trap { .. } | Error::OutOfMemory { .. } | Error::OutOfTableElements { .. })
    );
    assert!(lawful, "{function}: {result:?}");
});

/// Bytes that encode as nothing but themselves.
struct Raw<'a>(&'a [u8]);

impl serde::Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple as _;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}
