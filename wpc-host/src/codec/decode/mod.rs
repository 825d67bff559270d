//! Decodes the bytes of a guest, with a limit on the use of the host's stack.
//!
//! Postcard decodes a recursive type as deep as the bytes demand, so a few kilobytes of nested lists would overflow the stack
//! of the caller's thread and abort the process. Here every value that contains others counts as a level, and the number of
//! levels is limited, see `level`. The number of items is limited too, see `budget`.

mod budget;
mod level;

pub(crate) use budget::{Budget, Payment};

use level::Level;
use postcard::de_flavors::Flavor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::any::{Any, TypeId};
use wpc_abi::reply::{MAX_LENGTH, length};

/// Decodes a value that must use all of `bytes`.
#[inline]
pub(crate) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, String> {
    let mut postcard = postcard::Deserializer::from_bytes(bytes);
    let budget = Budget::new(bytes.len());
    let value = T::deserialize(Level::new(&mut postcard, &budget));
    let value = value.map_err(|error| error.to_string())?;
    match postcard.finalize() {
        Ok([]) => Ok(value),
        Ok(rest) => Err(trailing(rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// The same for a value that borrows nothing. A `Vec<u8>` is copied with a single memcpy, where serde would decode it byte
/// by byte.
#[inline]
pub(crate) fn decode_owned<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    if TypeId::of::<T>() == TypeId::of::<Vec<u8>>() {
        return from_vec(decode::<&[u8]>(bytes)?.to_vec());
    }
    if is_primitive::<T>() {
        // A primitive value cannot nest.
        return all(postcard::take_from_bytes(bytes));
    }
    decode(bytes)
}

fn all<T>(taken: postcard::Result<(T, &[u8])>) -> Result<T, String> {
    match taken {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(trailing(rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// The reason for a value that does not use all of the bytes.
#[cold]
pub(crate) fn trailing(bytes: usize) -> String {
    crate::error::counted(bytes, "trailing byte")
}

/// Whether `T` is a primitive type. The compiler evaluates it, together with the branches that depend on it.
fn is_primitive<T: 'static>() -> bool {
    fn is<T: 'static, U: 'static>() -> bool {
        TypeId::of::<T>() == TypeId::of::<U>()
    }
    is::<T, u8>()
        || is::<T, u16>()
        || is::<T, u32>()
        || is::<T, u64>()
        || is::<T, usize>()
        || is::<T, i8>()
        || is::<T, i16>()
        || is::<T, i32>()
        || is::<T, i64>()
        || is::<T, isize>()
        || is::<T, f32>()
        || is::<T, f64>()
        || is::<T, bool>()
}

/// Decodes a value that consists of one string or byte sequence, whose content is `bytes` without a length before it.
#[inline]
pub(crate) fn decode_bytes<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    if TypeId::of::<T>() == TypeId::of::<Vec<u8>>() {
        return from_vec(bytes.to_vec());
    }
    let (head, end) = length(bytes.len());
    let parts = Parts { head, head_left: 0..end, body: bytes };
    let mut postcard = postcard::Deserializer::from_flavor(parts);
    let budget = Budget::new(bytes.len());
    let value = T::deserialize(Level::new(&mut postcard, &budget));
    let value = value.map_err(|error| error.to_string())?;
    match postcard.finalize() {
        Ok(0) => Ok(value),
        Ok(left) => Err(trailing(left)),
        Err(error) => Err(error.to_string()),
    }
}

/// The same for owned bytes. A `Vec<u8>` or a `String` takes them without a copy.
#[inline]
pub(crate) fn from_vec<T: DeserializeOwned + 'static>(mut bytes: Vec<u8>) -> Result<T, String> {
    let mut value = None::<T>;
    let target: &mut dyn Any = &mut value;
    if let Some(target) = target.downcast_mut() {
        *target = Some(std::mem::take(&mut bytes));
    } else if let Some(target) = target.downcast_mut() {
        let text = String::from_utf8(std::mem::take(&mut bytes));
        *target = Some(text.map_err(|error| error.to_string())?);
    }
    value.map_or_else(|| decode_bytes(&bytes), Ok)
}

/// The input of postcard for bytes without a length: the length, then the bytes.
struct Parts<'de> {
    head: [u8; MAX_LENGTH],
    head_left: std::ops::Range<usize>,
    body: &'de [u8],
}

impl<'de> Flavor<'de> for Parts<'de> {
    type Remainder = usize;
    type Source = &'de [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        if let Some(at) = self.head_left.next() {
            return Ok(self.head[at]);
        }
        let (first, rest) =
            self.body.split_first().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.body = rest;
        Ok(*first)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.body.len())
    }

    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'de [u8]> {
        // A type that reads bytes before the length is neither a string nor a byte sequence.
        if !self.head_left.is_empty() || count > self.body.len() {
            return Err(postcard::Error::DeserializeUnexpectedEnd);
        }
        let (taken, rest) = self.body.split_at(count);
        self.body = rest;
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.head_left.len() + self.body.len())
    }
}

#[cfg(test)]
mod tests;
