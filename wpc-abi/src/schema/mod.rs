//! Types as bytes: postcard's encoding of a `NamedType`, written while a guest is compiled and read by a host that does
//! not trust it.
//!
//! The encoder is written by hand because serde cannot run in a constant. The decoder is written by hand because
//! serde's would follow a hostile module's nesting until the host's stack overflows.

mod fingerprint;
mod sink;
mod source;

use postcard_schema::schema::owned::OwnedNamedType;

pub use fingerprint::fingerprint;
pub(crate) use sink::Sink;
pub(crate) use source::Source;

/// The deepest nesting of types that the host accepts.
///
/// Types in source code nest a few levels deep; decoding 64 levels takes a few KiB of stack.
pub const MAX_DEPTH: usize = 64;

/// The prefix of a raw identifier.
const RAW: &str = "r#";

/// Why bytes are not a schema or not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end inside a value.
    Truncated,
    /// A number is larger than its maximum or than the bytes that follow it.
    OutOfRange,
    /// A name is not UTF-8.
    NotUtf8,
    /// Types nest deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated => f.write_str("it ends inside a value"),
            Self::OutOfRange => f.write_str("a number in it is out of range"),
            Self::NotUtf8 => f.write_str("a name in it is not UTF-8"),
            Self::TooDeep => write!(f, "its types nest deeper than {MAX_DEPTH} levels"),
        }
    }
}

/// Returns whether both types agree, see [`compare`](crate::compare).
#[must_use]
pub fn agree(one: &OwnedNamedType, other: &OwnedNamedType) -> bool {
    crate::compare::compare(one, other).is_ok()
}

#[cfg(test)]
mod tests;
