//! Arbitrary declared types, JSON and bytes: matching arguments are called, others are rejected, and nothing panics or
//! takes unbounded memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use wpc_fuzz::pool;
use wpc_host::{CallOptions, Error, WorkerProcedureCall};

static POOL: LazyLock<WorkerProcedureCall> = LazyLock::new(|| pool(u32::MAX));

/// A function `f` that returns the bytes of its one argument, and declares the type for both, unless `ty` has the bytes
/// of more than one type.
fn echo(ty: &[u8]) -> Vec<u8> {
    let mut wasm = wat::parse_str(
        r#"(module (memory (export "memory") 4)
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4097)
            (func (export "f") (param i32 i32) (result i64)
                (i32.store8 (i32.const 4096) (i32.const 0))
                (i64.or (i64.shl (i64.const 4096) (i64.const 32))
                    (i64.extend_i32_u (i32.add (local.get 1) (i32.const 1))))))"#,
    )
    .expect("the module should be valid");
    let varint = |mut number: usize, out: &mut Vec<u8>| {
        while number >= 0x80 {
            out.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    };
    // The name, one argument `x` of the type, and the type again for the result.
    let mut record = b"\x01f\x01\x01x\x01".to_vec();
    record.extend(ty);
    record.push(1);
    record.extend(ty);
    let mut section = b"\x03wpc\x01".to_vec();
    varint(record.len(), &mut section);
    section.extend(record);
    wasm.push(0);
    varint(section.len(), &mut wasm);
    wasm.extend(section);
    wasm
}

fuzz_target!(|input: (Vec<u8>, String, Vec<u8>)| {
    let (ty, json, bytes) = input;
    // Most types do not decode, so the module is rejected.
    if POOL.define_worker_function("f", echo(&ty)).is_err() {
        return;
    }
    let options = CallOptions::new();
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(&json) {
        let result = POOL.call_json("f", &[value]);
        let is_allowed = matches!(
            result,
            Ok(_)
                | Err(Error::BadArguments { .. }
                    | Error::ResultDecode { .. }
                    | Error::Untyped { .. })
        );
        assert!(is_allowed, "{result:?}");
    }
    if bytes.len() < 60_000 {
        let call = POOL.submit_encoded("f", &bytes, &options).expect("arbitrary bytes can be sent");
        let echoed = call.wait_encoded().expect("the bytes should be returned").value;
        assert_eq!(echoed, bytes);
    }
    let _: Result<_, Error> = POOL.call_json("f", &[serde_json::Value::String(json)]);
});
