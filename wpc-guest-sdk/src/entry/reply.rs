//! Encodes replies.

use crate::text;
use alloc::vec::Vec;
#[cfg(any(test, target_arch = "wasm32"))]
use core::cell::Cell;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use wpc_abi::GuestError;
use wpc_abi::reply::{TAG_ERROR, TAG_VALUE, length};

/// The reply that contains a value. The buffer is reused.
pub(crate) fn value_reply<T: Serialize>(mut buffer: Vec<u8>, value: &T) -> Vec<u8> {
    buffer.clear();
    buffer.push(TAG_VALUE);
    match postcard::serialize_with_flavor(value, Buffer(buffer)) {
        Ok(reply) => reply,
        Err(error) => unencodable(&error),
    }
}

/// Encodes a value. The buffer is reused.
pub(crate) fn encode<T: Serialize + ?Sized>(
    mut buffer: Vec<u8>,
    value: &T,
) -> postcard::Result<Vec<u8>> {
    buffer.clear();
    postcard::serialize_with_flavor(value, Buffer(buffer))
}

/// Encodes a number as postcard does, with seven bits in each byte, and returns the number of bytes.
#[cfg(any(test, target_arch = "wasm32"))]
#[expect(clippy::cast_possible_truncation, reason = "only the low seven bits are written")]
pub(super) fn write_number(out: &[Cell<u8>], number: u64) -> u32 {
    let (mut left, mut used) = (number, 0);
    for byte in out {
        used += 1;
        if left < 0x80 {
            byte.set(left as u8);
            break;
        }
        byte.set(left as u8 | 0x80);
        left >>= 7;
    }
    used
}

/// The zigzag encoding of a signed number, in which numbers near zero are short.
#[cfg(any(test, target_arch = "wasm32"))]
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// Collects a value's bytes. Most writes are numbers of a few bytes; pushing those byte by byte is much cheaper than a
/// bulk memory copy by the engine.
struct Buffer(Vec<u8>);

impl Flavor for Buffer {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        /// The longest encoded number, in bytes.
        const SHORT: usize = 19;
        if bytes.len() > SHORT {
            self.0.extend_from_slice(bytes);
        } else {
            bytes.iter().for_each(|byte| self.0.push(*byte));
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// The reply of a function whose result does not encode.
#[cold]
fn unencodable(error: &postcard::Error) -> Vec<u8> {
    let message = text::joined(&["failed to encode the result: ", text::encode_reason(error)]);
    strings_reply(Vec::new(), TAG_ERROR, &["EncodeError", &message, ""])
}

/// The reply that contains a guest error without variant and payload, which only callers outside of guests receive.
#[cfg(any(test, not(target_arch = "wasm32")))]
pub(crate) fn plain_error_reply(buffer: Vec<u8>, error: &GuestError) -> Vec<u8> {
    strings_reply(buffer, TAG_ERROR, &[&error.name, &error.message, &error.stack])
}

/// The reply that contains a guest error.
pub(crate) fn error_reply(buffer: Vec<u8>, error: &GuestError) -> Vec<u8> {
    let GuestError { name, message, stack, variant, payload, .. } = error;
    let mut reply = strings_reply(buffer, TAG_ERROR, &[name, message, stack]);
    if !variant.is_empty() || payload.is_some() {
        push_bytes(&mut reply, variant.as_bytes());
        reply.push(u8::from(payload.is_some()));
        if let Some(payload) = payload {
            push_bytes(&mut reply, payload);
        }
    }
    reply
}

/// A reply of strings. The buffer is reused. Encoding by hand is much smaller code than serde's.
#[inline(never)]
pub(crate) fn strings_reply(mut reply: Vec<u8>, tag: u8, strings: &[&str]) -> Vec<u8> {
    reply.clear();
    reply.push(tag);
    for string in strings {
        push_bytes(&mut reply, string.as_bytes());
    }
    reply
}

fn push_bytes(reply: &mut Vec<u8>, bytes: &[u8]) {
    let (length, used) = length(bytes.len());
    reply.extend_from_slice(&length[..used]);
    reply.extend_from_slice(bytes);
}
