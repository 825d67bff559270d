//! What a worker function hands back: one byte that tells what it is, then the postcard of it.
//!
//! The first two kinds are postcard's own encoding of a `Result<value, GuestError>`.

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// First byte of a reply that carries the function's value.
pub const TAG_VALUE: u8 = 0;
/// First byte of a reply that carries a [`GuestError`].
pub const TAG_ERROR: u8 = 1;
/// First byte of a reply that tells that the arguments did not decode; a string says why.
pub const TAG_BAD_ARGUMENTS: u8 = 2;
/// First byte of a reply whose value is one string or one sequence of bytes that lies elsewhere in the
/// guest's memory, without the length that postcard puts before it: [`elsewhere`] makes it.
pub const TAG_ELSEWHERE: u8 = 3;

/// A failure that a function returned as a value.
///
/// It is no failure of the sandbox: the function ran to its end and its state is kept.
///
/// ```
/// use wpc_abi::GuestError;
///
/// fn price(item: &str) -> Result<u32, GuestError> {
///     match item {
///         "tea" => Ok(3),
///         other => Err(GuestError::new("NoPrice", format!("there is no price for {other}"))),
///     }
/// }
/// assert_eq!(price("ham").unwrap_err().to_string(), "NoPrice: there is no price for ham");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestError {
    /// What kind of failure, for a program to tell apart; the SDK takes the error type's name.
    pub name: String,
    /// What happened, for a person.
    pub message: String,
    /// Where it happened and what caused it, a line each; empty where the guest tells nothing.
    pub stack: String,
}

impl GuestError {
    /// An error without a stack.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into(), stack: String::new() }
    }
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl core::error::Error for GuestError {}

/// A reply, told apart by its first byte but not decoded further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The postcard of the function's value.
    Value(&'a [u8]),
    /// The postcard of a [`GuestError`].
    Error(&'a [u8]),
    /// The postcard of a string that says why the arguments did not decode.
    BadArguments(&'a [u8]),
    /// Where the function's value lies, which is a string or bytes.
    Elsewhere {
        /// Where it begins.
        ptr: u32,
        /// How many bytes it has.
        len: u32,
    },
}

impl<'a> Reply<'a> {
    /// Tells a reply's kind; `None` where the bytes are no reply.
    #[must_use]
    pub const fn split(bytes: &'a [u8]) -> Option<Self> {
        match bytes {
            [TAG_VALUE, rest @ ..] => Some(Self::Value(rest)),
            [TAG_ERROR, rest @ ..] => Some(Self::Error(rest)),
            [TAG_BAD_ARGUMENTS, rest @ ..] => Some(Self::BadArguments(rest)),
            [TAG_ELSEWHERE, p0, p1, p2, p3, l0, l1, l2, l3] => Some(Self::Elsewhere {
                ptr: u32::from_le_bytes([*p0, *p1, *p2, *p3]),
                len: u32::from_le_bytes([*l0, *l1, *l2, *l3]),
            }),
            _ => None,
        }
    }
}

/// The reply whose value lies at `ptr`: its first byte, then both numbers, their lowest byte first.
#[must_use]
pub const fn elsewhere(ptr: u32, len: u32) -> [u8; 9] {
    let (ptr, len) = (ptr.to_le_bytes(), len.to_le_bytes());
    [TAG_ELSEWHERE, ptr[0], ptr[1], ptr[2], ptr[3], len[0], len[1], len[2], len[3]]
}

/// The most bytes that [`length`] takes.
pub const MAX_LENGTH: usize = usize::BITS.div_ceil(7) as usize;

/// A length as postcard puts it before strings and bytes, and how many bytes of it count.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the low seven bits are what is meant")]
pub const fn length(mut len: usize) -> ([u8; MAX_LENGTH], usize) {
    let (mut bytes, mut used) = ([0; MAX_LENGTH], 0);
    while len >= 0x80 {
        bytes[used] = len as u8 | 0x80;
        len >>= 7;
        used += 1;
    }
    bytes[used] = len as u8;
    (bytes, used + 1)
}

/// Packs a reply's place in the guest's memory into a worker function's result.
#[must_use]
pub const fn pack(ptr: u32, len: u32) -> u64 {
    (ptr as u64) << 32 | len as u64
}

/// The pointer and the length of a worker function's result.
#[must_use]
pub const fn unpack(packed: u64) -> (u32, u32) {
    let bytes = packed.to_be_bytes();
    (
        u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_the_postcard_of_a_result() {
        let ok: Result<u32, GuestError> = Ok(300);
        let bytes = postcard::to_allocvec(&ok).unwrap();
        assert_eq!(Reply::split(&bytes), Some(Reply::Value(&[0xac, 0x02])));

        let error: Result<u32, GuestError> = Err(GuestError::new("a", "b"));
        let bytes = postcard::to_allocvec(&error).unwrap();
        assert_eq!(Reply::split(&bytes), Some(Reply::Error(&[1, b'a', 1, b'b', 0])));
    }

    #[test]
    fn other_first_bytes_and_no_bytes_are_no_reply() {
        assert_eq!(Reply::split(&[]), None);
        for tag in 3..=255 {
            assert_eq!(Reply::split(&[tag; 3]), None);
        }
    }

    #[test]
    fn a_value_elsewhere_is_told_by_its_place_and_nothing_else() {
        let reply = elsewhere(0x0102_0304, u32::MAX);
        let expected = Reply::Elsewhere { ptr: 0x0102_0304, len: u32::MAX };
        assert_eq!(Reply::split(&reply), Some(expected));
        assert_eq!(reply, [3, 4, 3, 2, 1, 255, 255, 255, 255]);
        assert_eq!(Reply::split(&reply[..8]), None);
        assert_eq!(Reply::split(&[reply.as_slice(), &[0]].concat()), None);
    }

    #[test]
    fn lengths_are_postcards() {
        for len in [0, 1, 127, 128, 16_383, 16_384, u32::MAX as usize, usize::MAX] {
            let (bytes, used) = length(len);
            assert_eq!(&bytes[..used], postcard::to_allocvec(&len).unwrap());
        }
    }

    #[test]
    fn packing_keeps_the_extremes_apart() {
        for (ptr, len) in [(0, 0), (1, u32::MAX), (u32::MAX, 0), (u32::MAX, u32::MAX)] {
            assert_eq!(unpack(pack(ptr, len)), (ptr, len));
        }
    }
}
