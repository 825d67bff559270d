//! Whatever follows the header of a module or of a component is read, or refused as what it is not: the
//! host does not panic, and what it tells of one is no more than some times its size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wpc_host::WasmModule;

/// About what a name, a type and their places take at most, for each byte that may stand for one.
const TIMES: usize = 2_000;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_component, rest) = input;
    let header: &[u8] = if is_component { b"\0asm\x0d\0\x01\0" } else { b"\0asm\x01\0\0\0" };
    let told = WasmModule::new([header, rest].concat()).inspect();
    // It begins as one, so it is told of.
    let told = told.unwrap();
    let said = serde_json::to_string(&told).unwrap();
    assert!(said.len() <= 2_000 + rest.len() * TIMES, "{} bytes of {}", said.len(), rest.len());
});
