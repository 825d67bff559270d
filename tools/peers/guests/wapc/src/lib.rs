//! The benchmarked functions as a waPC module.

use wapc_guest::{CallResult, register_function};

/// Called once by waPC's host, before the first call.
#[unsafe(no_mangle)]
pub extern "C" fn wapc_init() {
    register_function("add", add);
    register_function("echo", echo);
    register_function("traps", traps);
}

/// Two numbers of four bytes, little-endian: cheaper for waPC than MessagePack.
fn add(numbers: &[u8]) -> CallResult {
    let (a, b) = numbers.split_at(4);
    let (a, b) = (i32::from_le_bytes(a.try_into()?), i32::from_le_bytes(b.try_into()?));
    Ok(a.wrapping_add(b).to_le_bytes().to_vec())
}

fn echo(bytes: &[u8]) -> CallResult {
    Ok(bytes.to_vec())
}

fn traps(_: &[u8]) -> CallResult {
    core::arch::wasm32::unreachable()
}
