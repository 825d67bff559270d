//! Any bytes as the section in which a module tells about itself, alone and inside a module.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use wpc_abi::section::Section;
use wpc_host::{Options, WorkerProcedureCall};

static POOL: LazyLock<WorkerProcedureCall> =
    LazyLock::new(|| WorkerProcedureCall::new(Options::default()).expect("the options are valid"));

fuzz_target!(|bytes: &[u8]| {
    let mut section = Section::default();
    let is_well_formed = section.read(bytes).is_ok();

    // An empty module with one function `f`, and the section.
    let mut wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x05\x01\x01f\0\0\x0a\x04\x01\x02\0\x0b".to_vec();
    let mut body = b"\x03wpc".to_vec();
    body.extend(bytes);
    wasm.push(0);
    let mut len = body.len();
    while len >= 0x80 {
        wasm.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    wasm.push(len as u8);
    wasm.extend(body);
    let defined = POOL.define_worker_function("f", wasm);
    assert_eq!(defined.is_ok(), is_well_formed, "{defined:?}");
    let _ = POOL.get_remote_functions();
    let _ = POOL.function::<(String, u32), Option<bool>>("f");
});
