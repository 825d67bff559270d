//! Safe wrappers of the functions that the host provides for every module.

use wpc_abi::names::{ClockKind, LogLevel};

mod raw {
    #[link(wasm_import_module = "wpc")]
    unsafe extern "C" {
        pub(super) fn wpc_constant(
            name: *const u8,
            len: usize,
            buffer: *mut u8,
            capacity: usize,
        ) -> i64;
        pub(super) fn wpc_call(
            name: *const u8,
            name_len: usize,
            arguments: *const u8,
            len: usize,
            buffer: *mut u8,
            capacity: usize,
        ) -> i64;
        pub(super) fn wpc_take(buffer: *mut u8, capacity: usize) -> i64;
        pub(super) fn wpc_log(level: i32, text: *const u8, len: usize);
        pub(super) fn wpc_panic(text: *const u8, len: usize);
        pub(super) fn wpc_yield(item: *const u8, len: usize);
        pub(super) fn wpc_random(buffer: *mut u8, len: usize);
        pub(super) fn wpc_clock(kind: i32) -> i64;
    }
}

pub(crate) fn constant(name: &str, buffer: &mut [u8]) -> i64 {
    // SAFETY: pointers and lengths are those of the slices.
    unsafe { raw::wpc_constant(name.as_ptr(), name.len(), buffer.as_mut_ptr(), buffer.len()) }
}

pub(crate) fn call(name: &str, arguments: &[u8], buffer: &mut [u8]) -> i64 {
    let (name, name_len) = (name.as_ptr(), name.len());
    let (arguments, len) = (arguments.as_ptr(), arguments.len());
    // SAFETY: pointers and lengths are those of the slices.
    unsafe { raw::wpc_call(name, name_len, arguments, len, buffer.as_mut_ptr(), buffer.len()) }
}

pub(crate) fn take(buffer: &mut [u8]) {
    // SAFETY: pointer and length are those of the slice.
    unsafe { raw::wpc_take(buffer.as_mut_ptr(), buffer.len()) };
}

pub(crate) fn log(level: LogLevel, text: &str) {
    // SAFETY: pointer and length are those of the text.
    unsafe { raw::wpc_log(level as i32, text.as_ptr(), text.len()) };
}

pub(crate) fn panic(text: &str) {
    // SAFETY: pointer and length are those of the text.
    unsafe { raw::wpc_panic(text.as_ptr(), text.len()) };
}

pub(crate) fn yield_item(item: &[u8]) {
    // SAFETY: pointer and length are those of the slice.
    unsafe { raw::wpc_yield(item.as_ptr(), item.len()) };
}

pub(crate) fn random(buffer: &mut [u8]) {
    // SAFETY: pointer and length are those of the slice.
    unsafe { raw::wpc_random(buffer.as_mut_ptr(), buffer.len()) };
}

pub(crate) fn clock(kind: ClockKind) -> i64 {
    // SAFETY: the import takes a plain number.
    unsafe { raw::wpc_clock(kind as i32) }
}
