//! Arbitrary bytes after the header of a module or component are inspected or rejected. The host does not panic, and
//! its report is bounded by a multiple of the input's size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wpc_host::WasmModule;

/// The approximate maximum of report bytes for each input byte, which may refer to a name or a type.
const TIMES: usize = 2_000;

fuzz_target!(|input: (bool, &[u8])| {
    let (is_component, rest) = input;
    let header: &[u8] = if is_component { b"\0asm\x0d\0\x01\0" } else { b"\0asm\x01\0\0\0" };
    let report = WasmModule::new([header, rest].concat()).inspect();
    // With a valid header, inspection succeeds.
    let report = report.unwrap();
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.len() <= 2_000 + rest.len() * TIMES, "{} bytes of {}", json.len(), rest.len());
});
