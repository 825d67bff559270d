//! What the host offers every module, as safe functions.

use wpc_abi::names::{ClockKind, LogLevel};

mod raw {
    #[link(wasm_import_module = "wpc")]
    unsafe extern "C" {
        pub(super) fn wpc_constant(
            name: *const u8,
            len: usize,
            room: *mut u8,
            capacity: usize,
        ) -> i64;
        pub(super) fn wpc_take(room: *mut u8, capacity: usize) -> i64;
        pub(super) fn wpc_log(level: i32, text: *const u8, len: usize);
        pub(super) fn wpc_panic(text: *const u8, len: usize);
        pub(super) fn wpc_random(room: *mut u8, len: usize);
        pub(super) fn wpc_clock(kind: i32) -> i64;
    }
}

pub(crate) fn constant(name: &str, room: &mut [u8]) -> i64 {
    // SAFETY: both places are the slices' own.
    unsafe { raw::wpc_constant(name.as_ptr(), name.len(), room.as_mut_ptr(), room.len()) }
}

pub(crate) fn take(room: &mut [u8]) {
    // SAFETY: the place is the slice's own.
    unsafe { raw::wpc_take(room.as_mut_ptr(), room.len()) };
}

pub(crate) fn log(level: LogLevel, text: &str) {
    // SAFETY: the place is the text's own.
    unsafe { raw::wpc_log(level as i32, text.as_ptr(), text.len()) };
}

pub(crate) fn panic(text: &str) {
    // SAFETY: the place is the text's own.
    unsafe { raw::wpc_panic(text.as_ptr(), text.len()) };
}

pub(crate) fn random(room: &mut [u8]) {
    // SAFETY: the place is the slice's own.
    unsafe { raw::wpc_random(room.as_mut_ptr(), room.len()) };
}

pub(crate) fn clock(kind: ClockKind) -> i64 {
    // SAFETY: the import takes a plain number.
    unsafe { raw::wpc_clock(kind as i32) }
}
