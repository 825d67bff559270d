//! The benchmarked functions as an Extism plug-in.

use extism_pdk::{FnResult, plugin_fn};

/// Two numbers of four bytes, little-endian: cheaper for Extism than JSON.
#[plugin_fn]
pub fn add(numbers: Vec<u8>) -> FnResult<Vec<u8>> {
    let (a, b) = numbers.split_at(4);
    let (a, b) = (i32::from_le_bytes(a.try_into()?), i32::from_le_bytes(b.try_into()?));
    Ok(a.wrapping_add(b).to_le_bytes().to_vec())
}

#[plugin_fn]
pub fn echo(bytes: Vec<u8>) -> FnResult<Vec<u8>> {
    Ok(bytes)
}

#[plugin_fn]
pub fn traps(_: Vec<u8>) -> FnResult<Vec<u8>> {
    core::arch::wasm32::unreachable()
}
