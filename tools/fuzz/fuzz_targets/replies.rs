//! A guest replies with arbitrary bytes at any address: they decode as the result type or are rejected.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;
use wpc_fuzz::{Raw, pool};
use wpc_host::WorkerProcedureCall;

static POOL: LazyLock<WorkerProcedureCall> = LazyLock::new(|| {
    let wpc = pool(u32::MAX);
    // The bytes are a constant, so that one compiled module serves every run: `f` returns them from the address and
    // with the length in its arguments.
    let wasm = wat::parse_str(
        r#"(module
            (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 2)
            (data (i32.const 16) "bytes")
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
            (func (export "f") (param i32 i32) (result i64)
                (drop (call $constant (i32.const 16) (i32.const 5) (i32.const 65536) (i32.const 65536)))
                (i64.load (local.get 0))))"#,
    )
    .expect("the text should parse");
    wpc.define_worker_function("f", wasm).expect("the function is defined");
    wpc
});

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only decoding is of interest")]
enum Tree {
    Leaf(Option<char>, f64, u128),
    Nodes(Vec<Tree>),
    Named { children: BTreeMap<String, Tree>, bytes: Vec<u8> },
}

fuzz_target!(|input: (Vec<u8>, Option<u64>)| {
    let (bytes, position) = input;
    // `Raw` encodes as its bytes alone, without a length.
    POOL.define_worker_constant("bytes", &Raw(&bytes)).expect("bytes encode");
    let position = position.unwrap_or(65_536 << 32 | bytes.len() as u64);
    let arguments = position.to_le_bytes();
    let result = POOL.call::<Tree>("f", &arguments);
    let mut text = String::new();
    let _ = write!(text, "{result:?}");
    let _ = POOL.call::<(String, Vec<Option<u32>>)>("f", &arguments);
    let _ = POOL.call::<String>("f", &arguments);
    // Byte vectors are decoded separately.
    let _ = POOL.call::<Vec<u8>>("f", &arguments);
    let _ = POOL.call::<()>("f", &arguments);
    // Items that take no bytes, but memory.
    let _ = POOL.call::<Vec<Vec<Box<()>>>>("f", &arguments);
    let _ = POOL.call::<BTreeMap<u8, Vec<[(); 2]>>>("f", &arguments);
});
