//! The buffers of arguments and replies. They exist in a sandbox only, which has one thread.

use super::arguments::left_over;
use super::reply::{error_reply, strings_reply, value_reply, write_number, zigzag};
use crate::one_thread::OneThread;
use crate::text;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use serde::Serialize;
use wpc_abi::GuestError;
use wpc_abi::reply::{TAG_BAD_ARGUMENTS, TAG_VALUE, elsewhere, pack};

/// Where the host writes arguments of up to 1 KiB. A guest that gets no larger ones and does not allocate needs no heap.
static SHORT: OneThread<Cell<[u8; 1024]>> = OneThread(Cell::new([0; 1024]));

/// Where the host writes larger arguments.
static BUFFER: OneThread<Cell<Vec<u8>>> = OneThread(Cell::new(Vec::new()));

/// The last reply, kept until the next call.
static REPLY: OneThread<Cell<Vec<u8>>> = OneThread(Cell::new(Vec::new()));

/// The last reply if it is a number: the kind, then the number in at most ten bytes.
static NUMBER: OneThread<Cell<[u8; 11]>> = OneThread(Cell::new([TAG_VALUE; 11]));

/// The owned value that the last reply refers to.
static VALUE: OneThread<Cell<Vec<u8>>> = OneThread(Cell::new(Vec::new()));

/// The contract's buffer export; the host calls it before the first call.
#[unsafe(no_mangle)]
extern "C" fn wpc_buffer_v1(len: usize) -> *mut u8 {
    #[cfg(feature = "std")]
    crate::panics::install_hook();
    // The old buffer is freed first, so that its memory can be reused.
    BUFFER.0.set(Vec::new());
    if len <= size_of_val(&SHORT.0) {
        return SHORT.0.as_ptr().cast();
    }
    let mut buffer = Vec::with_capacity(len);
    let address = buffer.as_mut_ptr();
    BUFFER.0.set(buffer);
    address
}

/// The arguments' bytes.
///
/// # Safety
///
/// `ptr` and `len` are the arguments that the host passed to a function: `len` bytes in the buffer, which the host
/// wrote and which do not change until the function returns. `scope` is a local of that function, so that no reference
/// outlives the call.
pub unsafe fn arguments<'a>(_scope: &'a (), ptr: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: see the requirements on the caller.
    unsafe { core::slice::from_raw_parts(ptr, len) }
}

/// The reply that reports why an argument did not decode.
#[cold]
pub fn reply_bad_arguments(error: &postcard::Error) -> u64 {
    let why = text::decode_reason(error);
    keep(strings_reply(REPLY.0.take(), TAG_BAD_ARGUMENTS, &[why]))
}

/// The reply that reports trailing bytes after the arguments.
#[cold]
pub fn reply_left_over(rest: &[u8]) -> u64 {
    keep(strings_reply(REPLY.0.take(), TAG_BAD_ARGUMENTS, &[&left_over(rest)]))
}

/// A function's value. Method resolution selects `into_reply` by its type: a string or bytes are returned by address,
/// numbers of several bytes are encoded by hand, and any other value by serde.
///
/// A value that a function returns by reference is valid until the next call: it is in the arguments' buffer or
/// `'static`, because everything else the function could borrow from is dropped when it returns.
#[derive(Debug)]
pub struct Value<T>(pub T);

/// The reply of any value that can be encoded.
pub trait ReplyOfAny {
    /// Encodes the reply and packs its address and length.
    fn into_reply(self) -> u64;
}

impl<T: Serialize> ReplyOfAny for Value<T> {
    fn into_reply(self) -> u64 {
        keep(value_reply(REPLY.0.take(), &self.0))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a guest's addresses have 32 bits")]
fn reply_number(number: u64) -> u64 {
    let reply: &Cell<[u8]> = &NUMBER.0;
    let used = write_number(&reply.as_slice_of_cells()[1..], number);
    pack(reply.as_ptr().addr() as u32, 1 + used)
}

macro_rules! numbers {
    ($($type:ident)* => $encoded:expr) => {
        $(impl Value<$type> {
            /// Encodes the reply and packs its address and length.
            #[must_use]
            pub fn into_reply(self) -> u64 {
                reply_number($encoded(self.0.into()))
            }
        })*
    };
}

numbers!(u16 u32 u64 => core::convert::identity);
numbers!(i16 i32 i64 => zigzag);

impl Value<&[u8]> {
    /// Encodes the reply and packs its address and length.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a guest's addresses have 32 bits")]
    pub fn into_reply(self) -> u64 {
        // A short value is copied into the reply, which saves the host a second read; its length takes one byte.
        const SHORT: usize = 127;
        let mut reply = REPLY.0.take();
        reply.clear();
        if self.0.len() <= SHORT {
            reply.push(TAG_VALUE);
            reply.push(self.0.len() as u8);
            reply.extend_from_slice(self.0);
        } else {
            let address = self.0.as_ptr().addr() as u32;
            reply.extend_from_slice(&elsewhere(address, self.0.len() as u32));
        }
        keep(reply)
    }
}

impl Value<&str> {
    /// Encodes the reply and packs its address and length.
    #[must_use]
    pub fn into_reply(self) -> u64 {
        Value(self.0.as_bytes()).into_reply()
    }
}

impl Value<Vec<u8>> {
    /// Encodes the reply and packs its address and length.
    #[must_use]
    pub fn into_reply(self) -> u64 {
        let reply = Value(self.0.as_slice()).into_reply();
        VALUE.0.set(self.0);
        reply
    }
}

impl Value<String> {
    /// Encodes the reply and packs its address and length.
    #[must_use]
    pub fn into_reply(self) -> u64 {
        Value(self.0.into_bytes()).into_reply()
    }
}

/// The reply that contains a guest error.
#[cold]
pub fn reply_error(error: &GuestError) -> u64 {
    keep(error_reply(REPLY.0.take(), error))
}

#[expect(clippy::cast_possible_truncation, reason = "a guest's addresses have 32 bits")]
fn keep(reply: Vec<u8>) -> u64 {
    let packed = pack(reply.as_ptr().addr() as u32, reply.len() as u32);
    REPLY.0.set(reply);
    packed
}
