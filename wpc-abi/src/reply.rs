//! What a worker function hands back: one byte that tells what it is, then the postcard of it.
//!
//! The first two kinds are postcard's own encoding of a `Result<value, GuestError>`.

use alloc::string::String;
use alloc::vec::Vec;
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

/// The name of the error of a function that read a constant which is not defined.
pub const CONSTANT_NOT_DEFINED: &str = "ConstantNotDefined";

/// The most bytes of an encoded error that a [`GuestError`] carries. A longer one is left out.
pub const MAX_PAYLOAD: usize = 64 * 1024;

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
#[non_exhaustive]
pub struct GuestError {
    /// What kind of failure, for a program to tell apart; the SDK takes the error type's name.
    pub name: String,
    /// What happened, for a person.
    pub message: String,
    /// Where it happened and what caused it, a line each; empty where the guest tells nothing.
    pub stack: String,
    /// The variant of the error's type; empty if the type has none, or is not known to have any.
    #[serde(skip)]
    pub variant: String,
    /// The error itself, in postcard, where its type can be encoded and has a schema. At most [`MAX_PAYLOAD`] bytes
    /// reach the caller.
    #[serde(skip)]
    pub payload: Option<Vec<u8>>,
}

impl GuestError {
    /// An error of a name and a message, without anything else.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            message: message.into(),
            stack: String::new(),
            variant: String::new(),
            payload: None,
        }
    }

    /// The same error with another stack.
    #[must_use]
    pub fn with_stack(mut self, stack: impl Into<String>) -> Self {
        self.stack = stack.into();
        self
    }

    /// Reads the bytes of a [`Reply::Error`]: three strings, and where the guest reports more, the variant and the
    /// payload. What follows those is passed over.
    ///
    /// # Errors
    ///
    /// Why the bytes are not an error.
    pub fn decode(bytes: &[u8]) -> postcard::Result<Self> {
        let (mut error, rest) = postcard::take_from_bytes::<Self>(bytes)?;
        if !rest.is_empty() {
            let ((variant, payload), _) = postcard::take_from_bytes::<(&str, Option<&[u8]>)>(rest)?;
            error.variant = variant.into();
            error.payload = payload.filter(|bytes| bytes.len() <= MAX_PAYLOAD).map(Into::into);
        }
        Ok(error)
    }

    /// Whether a program that was told this name means the error: its name, its variant, or both as in `Why::Empty`.
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

/// The bytes of a [`Reply::Error`] without variant and payload. This is what a guest that called another one is given:
/// it may have been built before there was more, and the payload's type is not its own.
#[must_use]
pub fn plain_error(bytes: &[u8]) -> &[u8] {
    match postcard::take_from_bytes::<(&str, &str, &str)>(bytes) {
        Ok((_, rest)) => &bytes[..bytes.len() - rest.len()],
        // Its reader finds that it is not an error.
        Err(_) => bytes,
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
    use alloc::string::ToString as _;

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
    fn an_error_reads_back_with_and_without_its_payload() {
        let plain = GuestError::new("Why", "too long").with_stack("in f");
        let old = postcard::to_allocvec(&plain).unwrap();
        assert_eq!(GuestError::decode(&old), Ok(plain.clone()));
        assert_eq!(plain_error(&old), old);

        let more = |payload: Option<&[u8]>| {
            [old.clone(), postcard::to_allocvec(&("TooLong", payload)).unwrap()].concat()
        };
        let full = more(Some(&[1, 9]));
        let error = GuestError::decode(&full).unwrap();
        assert_eq!(
            (error.variant.as_str(), error.payload.as_deref()),
            ("TooLong", Some(&[1, 9][..]))
        );
        assert_eq!(error.to_string(), "Why::TooLong: too long");
        assert_eq!(plain_error(&full), old);
        // What was built before there was more reads the strings, and stops there.
        assert_eq!(postcard::from_bytes::<GuestError>(&full), Ok(plain));
        let later = [full.as_slice(), &[7, 7]].concat();
        assert_eq!(GuestError::decode(&later), Ok(error));
        for end in 0..full.len() {
            // Either a whole error of the old form or none.
            assert_eq!(GuestError::decode(&full[..end]).is_ok(), end == old.len(), "cut at {end}");
        }
        assert_eq!(GuestError::decode(&more(None)).unwrap().payload, None);
        let largest = alloc::vec![0; MAX_PAYLOAD];
        assert_eq!(GuestError::decode(&more(Some(&largest))).unwrap().payload, Some(largest));
        let larger = alloc::vec![0; MAX_PAYLOAD + 1];
        let error = GuestError::decode(&more(Some(&larger))).unwrap();
        assert_eq!((error.variant.as_str(), error.payload), ("TooLong", None));
    }

    #[test]
    fn an_error_is_called_by_its_type_its_variant_or_both() {
        let mut error = GuestError::new("Why", "");
        assert!(error.is_called("Why") && !error.is_called("") && !error.is_called("Why::"));
        error.variant = "Empty".into();
        for (name, is_meant) in [
            ("Why", true),
            ("Empty", true),
            ("Why::Empty", true),
            ("Other::Empty", false),
            ("Why::Why", false),
        ] {
            assert_eq!(error.is_called(name), is_meant, "{name}");
        }
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
