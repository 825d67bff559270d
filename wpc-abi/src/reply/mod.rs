//! The reply of a function: one byte with its kind, then the content encoded with postcard.
//!
//! The first two kinds together are postcard's encoding of a `Result<value, GuestError>`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// First byte of a reply that contains the function's value.
pub const TAG_VALUE: u8 = 0;
/// First byte of a reply that contains a [`GuestError`].
pub const TAG_ERROR: u8 = 1;
/// First byte of a reply that reports that the arguments did not decode; a string with the reason follows.
pub const TAG_BAD_ARGUMENTS: u8 = 2;
/// First byte of a reply whose value is one string or one sequence of bytes elsewhere in the guest's memory, without
/// postcard's length prefix; [`elsewhere`] encodes it.
pub const TAG_ELSEWHERE: u8 = 3;

/// The name of the error of a function that read an undefined constant.
pub const CONSTANT_NOT_DEFINED: &str = "ConstantNotDefined";

/// The largest encoded error that a [`GuestError`] contains, in bytes. A larger one is omitted.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// A failure that a function returned as a value.
///
/// The sandbox did not fail: the function ran to its end and its state is kept.
///
/// ```
/// use wpc_abi::GuestError;
///
/// fn price(item: &str) -> Result<u32, GuestError> {
///     match item {
///         "tea" => Ok(3),
///         other => Err(GuestError::new("NoPrice", format!("{other} has no price"))),
///     }
/// }
/// assert_eq!(price("ham").unwrap_err().to_string(), "NoPrice: ham has no price");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuestError {
    /// The kind of failure, for programs; the SDK uses the name of the error's type.
    pub name: String,
    /// What happened, for people.
    pub message: String,
    /// Where it happened and what caused it, a line each; empty if the guest reports neither.
    pub stack: String,
    /// The variant of the error's type; empty if the type has none or the guest does not report it.
    #[serde(skip)]
    pub variant: String,
    /// The error encoded with postcard, if its type can be encoded and has a schema. At most [`MAX_PAYLOAD`] bytes
    /// reach the caller.
    #[serde(skip)]
    pub payload: Option<Vec<u8>>,
}

impl GuestError {
    /// An error with a name and a message only.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            message: message.into(),
            stack: String::new(),
            variant: String::new(),
            payload: None,
        }
    }

    /// Sets the stack.
    #[must_use]
    pub fn with_stack(mut self, stack: impl Into<String>) -> Self {
        self.stack = stack.into();
        self
    }

    /// Decodes the bytes of a [`Reply::Error`]: three strings, and if the guest reports more, the variant and the
    /// payload. Bytes after those are ignored.
    ///
    /// # Errors
    ///
    /// The reason if the bytes are not an error.
    pub fn decode(bytes: &[u8]) -> postcard::Result<Self> {
        let (mut error, rest) = postcard::take_from_bytes::<Self>(bytes)?;
        if !rest.is_empty() {
            let ((variant, payload), _) = postcard::take_from_bytes::<(&str, Option<&[u8]>)>(rest)?;
            error.variant = variant.into();
            error.payload = payload.filter(|bytes| bytes.len() <= MAX_PAYLOAD).map(Into::into);
        }
        Ok(error)
    }

    /// Returns whether `name` refers to the error: by its name, by its variant, or by both as in `Why::Empty`.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let is_variant = |variant| !self.variant.is_empty() && self.variant == variant;
        match name.rsplit_once("::") {
            Some((ty, variant)) => ty == self.name && is_variant(variant),
            None => name == self.name || is_variant(name),
        }
    }
}

impl fmt::Display for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colons = if self.variant.is_empty() { "" } else { "::" };
        write!(f, "{}{colons}{}: {}", self.name, self.variant, self.message)
    }
}

impl core::error::Error for GuestError {}

/// A reply by its kind, not decoded further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The function's value, encoded with postcard.
    Value(&'a [u8]),
    /// A [`GuestError`], see [`GuestError::decode`].
    Error(&'a [u8]),
    /// An encoded string: the reason why the arguments did not decode.
    BadArguments(&'a [u8]),
    /// The function's value, a string or bytes elsewhere in the guest's memory.
    Elsewhere {
        /// Its address.
        ptr: u32,
        /// Its length in bytes.
        len: u32,
    },
}

impl<'a> Reply<'a> {
    /// Splits off the kind; `None` if the bytes are not a reply.
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

/// The bytes of a [`Reply::Error`] without variant and payload. A guest that called another guest gets these: it may be
/// older than variant and payload, and does not know the payload's type.
#[must_use]
pub fn plain_error(bytes: &[u8]) -> &[u8] {
    match postcard::take_from_bytes::<(&str, &str, &str)>(bytes) {
        Ok((_, rest)) => &bytes[..bytes.len() - rest.len()],
        // The reader of these bytes reports that they are not an error.
        Err(_) => bytes,
    }
}

/// Encodes a reply whose value is at `ptr`: its first byte, then both numbers in little-endian order.
#[must_use]
pub const fn elsewhere(ptr: u32, len: u32) -> [u8; 9] {
    let (ptr, len) = (ptr.to_le_bytes(), len.to_le_bytes());
    [TAG_ELSEWHERE, ptr[0], ptr[1], ptr[2], ptr[3], len[0], len[1], len[2], len[3]]
}

/// The most bytes that [`length`] returns.
pub const MAX_LENGTH: usize = usize::BITS.div_ceil(7) as usize;

/// Encodes postcard's length prefix of strings and bytes, and returns how many bytes of the array it takes.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "only the low seven bits are written")]
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

/// Packs a reply's address and length into a function's result.
#[must_use]
pub const fn pack(ptr: u32, len: u32) -> u64 {
    (ptr as u64) << 32 | len as u64
}

/// The address and the length in a function's result.
#[must_use]
pub const fn unpack(packed: u64) -> (u32, u32) {
    let bytes = packed.to_be_bytes();
    (
        u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    )
}

#[cfg(test)]
mod tests;
