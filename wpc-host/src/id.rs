//! Numbers and hashes that identify workers, calls, definitions and modules. A pool never reuses a number.

mod call_context;
mod trace_context;

pub(crate) use call_context::CallContext;
pub use trace_context::{InvalidTraceContext, TraceContext};

use crate::sync::atomic::{AtomicU64, Ordering};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use std::fmt;
use std::str::FromStr;

/// A worker's number. A replacement gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerId(pub(crate) u64);

/// A call's number, which the events about the call carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId(pub(crate) u64);

/// A listener's number, for [`off_worker_event`](crate::WorkerProcedureCall::off_worker_event).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListenerId(pub(crate) u64);

/// The number of one linking of a definition, from which sandboxes are instantiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Generation(pub(crate) u64);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker_{}", self.0)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call_{}", self.0)
    }
}

macro_rules! number {
    ($id:ident) => {
        impl From<u64> for $id {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }

        impl From<$id> for u64 {
            fn from(id: $id) -> Self {
                id.0
            }
        }
    };
}

number!(WorkerId);
number!(CallId);
number!(ListenerId);

/// Counts up from 1.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes `count` numbers at once.
    pub(crate) fn next_many(&self, count: u64) -> std::ops::Range<u64> {
        let last = self.0.fetch_add(count, Ordering::Relaxed);
        last + 1..last + 1 + count
    }
}

/// The SHA-1 of a module's bytes: `sha1sum file.wasm` prints the same.
///
/// It identifies versions, but does not authenticate them, because SHA-1 collisions can be constructed. To require exact
/// bytes, pass a [`Sha256Hash`] with the definition.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FunctionHash([u8; 20]);

impl FunctionHash {
    /// The hash of a module.
    #[must_use]
    pub fn of(wasm: &[u8]) -> Self {
        Self(Sha1::digest(wasm).into())
    }
}

/// The SHA-256 of a module's bytes: `sha256sum file.wasm` prints the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256Hash([u8; 32]);

impl Sha256Hash {
    /// The hash of a module.
    #[must_use]
    pub fn of(wasm: &[u8]) -> Self {
        Self(Sha256::digest(wasm).into())
    }
}

/// The error of parsing a text that is not such a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a hash of {expected} hexadecimal digits, found {found:?}")]
pub struct ParseHashError {
    /// How many digits the hash has.
    pub expected: usize,
    /// The text.
    pub found: String,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseHashError> {
    let error = || ParseHashError { expected: N * 2, found: text.to_owned() };
    if text.len() != N * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(error());
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| error())?;
    }
    Ok(bytes)
}

/// The hexadecimal digit of a number below 16.
const fn digit(number: u8) -> u8 {
    number + if number < 10 { b'0' } else { b'a' - 10 }
}

macro_rules! hash_text {
    ($hash:ident $len:literal) => {
        impl From<[u8; $len]> for $hash {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl From<$hash> for [u8; $len] {
            fn from(hash: $hash) -> Self {
                hash.0
            }
        }

        impl fmt::Display for $hash {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Formatting each byte by itself takes as long as a short call.
                let mut digits = [0; size_of::<Self>() * 2];
                for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(self.0) {
                    *pair = [digit(byte >> 4), digit(byte & 15)];
                }
                f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }

        impl fmt::Debug for $hash {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($hash))
            }
        }

        impl Serialize for $hash {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $hash {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl FromStr for $hash {
            type Err = ParseHashError;

            fn from_str(text: &str) -> Result<Self, ParseHashError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

hash_text!(FunctionHash 20);
hash_text!(Sha256Hash 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_round_trips_in_the_format_of_sha1sum() {
        let hash = FunctionHash::of(b"abc");
        assert_eq!(hash.to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }

    #[test]
    fn other_text_is_rejected() {
        for text in ["", "a9993e36", &"g".repeat(40), &"é".repeat(20), &"+1".repeat(20)] {
            assert!(text.parse::<FunctionHash>().is_err(), "{text:?}");
        }
    }
}
