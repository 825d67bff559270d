//! Arbitrary bytes as the custom sections `wpc` and `wpc.docs` of a module, alone and inside a module.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use wpc_abi::documentation::{self, Documentation};
use wpc_abi::section::{Section, custom_section};
use wpc_host::{Options, WorkerProcedureCall};

static POOL: LazyLock<WorkerProcedureCall> =
    LazyLock::new(|| WorkerProcedureCall::new(Options::default()).expect("the options are valid"));

fuzz_target!(|bytes: &[u8]| {
    let mut section = Section::default();
    let is_well_formed = section.read(bytes).is_ok();
    let mut documentation = Documentation::default();
    documentation.read(bytes);
    let text = documentation.functions.remove("f");

    // An empty module with one function `f`, and the section.
    let mut wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x05\x01\x01f\0\0\x0a\x04\x01\x02\0\x0b".to_vec();
    wasm.extend(custom_section(bytes));
    wasm.extend(documentation::custom_section(bytes));
    let defined = POOL.define_worker_function("f", wasm);
    if let Ok(defined) = &defined {
        assert_eq!(defined.documentation, text);
    }
    assert_eq!(defined.is_ok(), is_well_formed, "{defined:?}");
    let _ = POOL.get_remote_functions();
    let _ = POOL.function::<(String, u32), Option<bool>>("f");
});
