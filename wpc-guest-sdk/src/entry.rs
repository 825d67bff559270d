//! The wall's inner side: the buffer that the host fills, and the reply that it reads.
//!
//! A sandbox runs one call at a time on one thread, and no call enters it again before its own end
//! (circles of dependencies are refused), so both buffers have one user at any time.

use postcard_schema::Schema;
use postcard_schema::schema::NamedType;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::marker::PhantomData;
use wpc_abi::GuestError;
use wpc_abi::reply::{TAG_BAD_ARGUMENTS, TAG_ERROR, TAG_VALUE, pack};

thread_local! {
    /// Where the last reply lies until the next call.
    static REPLY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[cfg(target_arch = "wasm32")]
mod buffer {
    use std::cell::RefCell;

    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// The contract's buffer export; the host calls it before the first call.
    #[unsafe(no_mangle)]
    extern "C" fn wpc_buffer_v1(len: usize) -> *mut u8 {
        crate::host::tell_of_panics();
        BUFFER.with_borrow_mut(|buffer| {
            // Nothing in the old buffer is of use: a new one is not copied into.
            *buffer = Vec::new();
            buffer.reserve_exact(len);
            buffer.as_mut_ptr()
        })
    }
}

/// The arguments' bytes.
///
/// # Safety
///
/// `ptr` and `len` are what the host passed to a worker function: a place in the buffer that holds
/// `len` bytes it wrote, untouched until the function returns.
pub unsafe fn arguments<'a>(ptr: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(ptr, len) }
}

/// The arguments, or the reply that says why they are none.
///
/// # Errors
///
/// A packed reply, to be returned as it is.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, u64> {
    let why = match postcard::take_from_bytes(bytes) {
        Ok((arguments, [])) => return Ok(arguments),
        Ok((_, rest)) => format!("{} bytes are left over after the last argument", rest.len()),
        Err(error) => error.to_string(),
    };
    Err(reply(TAG_BAD_ARGUMENTS, &why))
}

/// The reply that carries a function's value.
pub fn reply_value<T: Serialize>(value: &T) -> u64 {
    reply(TAG_VALUE, value)
}

/// The reply that carries a guest error.
pub fn reply_error(error: &GuestError) -> u64 {
    reply(TAG_ERROR, error)
}

#[expect(clippy::cast_possible_truncation, reason = "a guest's addresses have 32 bits")]
fn reply<T: Serialize + ?Sized>(tag: u8, value: &T) -> u64 {
    REPLY.with_borrow_mut(|bytes| {
        let mut room = std::mem::take(bytes);
        room.clear();
        room.push(tag);
        match postcard::to_extend(value, room) {
            Ok(encoded) => *bytes = encoded,
            Err(error) => {
                let error =
                    GuestError::new("EncodeError", format!("the result does not encode: {error}"));
                let room = vec![TAG_ERROR];
                // Three strings always encode; were it not so, an empty reply is refused by the host.
                *bytes = postcard::to_extend(&error, room).unwrap_or_default();
            }
        }
        pack(bytes.as_ptr().addr() as u32, bytes.len() as u32)
    })
}

/// Asks whether a type has a schema, without asking for one: an inherent constant goes before a
/// trait's, but counts only where its bounds hold.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

impl<T: Schema> Probe<T> {
    /// The type's schema.
    pub const SCHEMA: Option<&'static NamedType> = Some(T::SCHEMA);
}

impl<T, E> Probe<Result<T, E>> {
    /// Whether the type is a `Result`.
    pub const IS_RESULT: bool = true;
}

/// What [`Probe`] answers for types without a schema.
pub trait NoSchema {
    /// No schema.
    const SCHEMA: Option<&'static NamedType> = None;
}

impl<T> NoSchema for Probe<T> {}

/// What [`Probe`] answers for types that are no `Result`.
pub trait NotAResult {
    /// Whether the type is a `Result`.
    const IS_RESULT: bool = false;
}

impl<T> NotAResult for Probe<T> {}

/// Only types that serde can deserialize may be arguments.
pub fn is_argument<T: Deserialize<'static>>() {}

/// Only types that serde can serialize may be results.
pub fn is_result<T: Serialize>() {}
