//! Encodes values as postcard does, but copies byte sequences with a single memcpy.
//!
//! Serde serializes a `Vec<u8>` element by element, which takes a thousand times as long as a memcpy. Here such a sequence
//! is recognized by the type of its items.

use crate::system::buffers::{Buffers, LARGE};
use postcard::ser_flavors::Flavor;
use postcard::{Error, Result};
use serde::ser::{self, Serialize};
use std::fmt::Display;

/// Appends the value's bytes to `output`.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, output: &mut Vec<u8>) -> Result<()> {
    encode_into(value, &mut [], output, None).map(drop)
}

/// Writes the value's bytes to the front of `buffer` and returns their number. If they do not fit, appends all of them to
/// `spare` and returns `None`. If `spare` has to grow for a large piece, it takes its memory from `buffers`.
#[inline]
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut [u8],
    spare: &mut Vec<u8>,
    buffers: Option<&Buffers>,
) -> Result<Option<usize>> {
    let mut postcard = postcard::Serializer { output: Output { buffer, used: 0, spare, buffers } };
    value.serialize(Encoder(&mut postcard))?;
    let Output { buffer, used, .. } = postcard.output;
    Ok((!buffer.is_empty()).then_some(used))
}

/// The output of the encoder.
struct Output<'a> {
    /// Empty if all bytes go to `spare`, including after something did not fit.
    buffer: &'a mut [u8],
    used: usize,
    spare: &'a mut Vec<u8>,
    buffers: Option<&'a Buffers>,
}

/// Extra capacity after a large piece, so that the small fields that usually follow it do not force a reallocation.
const BESIDE: usize = 1024;

impl Output<'_> {
    /// Continues in `spare` with the bytes written so far. The next piece has `more` bytes.
    #[inline]
    fn spill(&mut self, more: usize) -> &mut Vec<u8> {
        let buffer = std::mem::take(&mut self.buffer);
        self.spare.extend_from_slice(&buffer[..std::mem::take(&mut self.used)]);
        if more >= LARGE {
            self.grow(more);
        }
        self.spare
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let needed = self.spare.len().saturating_add(more);
        if let Some(buffers) = self.buffers.filter(|_| self.spare.capacity() < needed) {
            let mut buffer = buffers.take(needed.saturating_add(BESIDE));
            buffer.extend_from_slice(self.spare);
            buffers.put(std::mem::replace(self.spare, buffer));
        }
    }

    /// The next `len` bytes of `buffer`, if they fit there.
    #[inline]
    fn claim(&mut self, len: usize) -> Option<&mut [u8]> {
        let buffer = self.buffer.get_mut(self.used..)?.get_mut(..len)?;
        self.used += len;
        Some(buffer)
    }
}

impl Flavor for Output<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<()> {
        match self.buffer.get_mut(self.used) {
            Some(to) => {
                *to = byte;
                self.used += 1;
            }
            None => self.spill(1).push(byte),
        }
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<()> {
        match bytes {
            // Most pieces are small numbers.
            [byte] => return self.try_push(*byte),
            bytes => match self.claim(bytes.len()) {
                Some(buffer) => buffer.copy_from_slice(bytes),
                None => self.spill(bytes.len()).extend_from_slice(bytes),
            },
        }
        Ok(())
    }

    fn finalize(self) -> Result<()> {
        Ok(())
    }
}

/// The output for an item of one byte.
struct OneByte(Option<u8>);

impl Flavor for OneByte {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<()> {
        self.0 = Some(byte);
        Ok(())
    }

    fn finalize(self) -> Result<()> {
        Ok(())
    }
}

/// Whether items of this type are bytes. The compiler does not guarantee the name, but only speed depends on it: if an item
/// with that name is not one byte, encoding fails.
fn are_bytes<T>() -> bool {
    matches!(std::any::type_name::<T>(), "&u8" | "u8")
}

/// The item of a byte sequence, if it is one byte.
#[inline]
fn byte_of(item: &impl Serialize) -> Option<u8> {
    let mut byte = postcard::Serializer { output: OneByte(None) };
    item.serialize(&mut byte).ok()?;
    byte.output.0
}

/// Writes a byte sequence to `buffer` and returns its length; `None` if an item is not a byte.
// The compiler makes this loop a memcpy because an argument `buffer` cannot alias the items, unless it inlines the function.
#[inline(never)]
fn copy_bytes(buffer: &mut [u8], items: impl Iterator<Item: Serialize>) -> Option<usize> {
    let mut len = 0;
    for (to, item) in buffer.iter_mut().zip(items) {
        *to = byte_of(&item)?;
        len += 1;
    }
    Some(len)
}

/// Postcard's serializer, except for sequences.
struct Encoder<'a, 'out>(&'a mut postcard::Serializer<Output<'out>>);

impl Encoder<'_, '_> {
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(Encoder(self.0))
    }
}

macro_rules! forward {
    ($($method:ident($($argument:ident: $ty:ty),*))*) => {
        $(#[inline]
        fn $method(self, $($argument: $ty),*) -> Result<()> {
            self.0.$method($($argument),*)
        })*
    };
}

macro_rules! forward_compounds {
    ($($method:ident($($argument:ident: $ty:ty),*) -> $compound:ident)*) => {
        $(#[inline]
        fn $method(self, $($argument: $ty),*) -> Result<Self> {
            (&mut *self.0).$method($($argument),*)?;
            Ok(self)
        })*
    };
}

impl ser::Serializer for Encoder<'_, '_> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    forward! {
        serialize_bool(value: bool) serialize_i8(value: i8) serialize_i16(value: i16)
        serialize_i32(value: i32) serialize_i64(value: i64) serialize_i128(value: i128)
        serialize_u8(value: u8) serialize_u16(value: u16) serialize_u32(value: u32)
        serialize_u64(value: u64) serialize_u128(value: u128) serialize_f32(value: f32)
        serialize_f64(value: f64) serialize_char(value: char) serialize_str(value: &str)
        serialize_bytes(value: &[u8]) serialize_none() serialize_unit()
        serialize_unit_struct(name: &'static str)
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str)
    }

    forward_compounds! {
        serialize_seq(len: Option<usize>) -> SerializeSeq
        serialize_tuple(len: usize) -> SerializeTuple
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant
        serialize_map(len: Option<usize>) -> SerializeMap
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        // The tag of `Some` is encoded like `true`.
        self.0.serialize_bool(true)?;
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.0.serialize_unit_variant(name, index, variant)?;
        value.serialize(self)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<()> {
        self.0.collect_str(value)
    }

    fn collect_seq<I>(mut self, items: I) -> Result<()>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        let mut items = items.into_iter();
        let len = match items.size_hint() {
            (least, Some(most)) if least == most => Some(least),
            _ => None,
        };
        self.0.serialize_seq(len)?;
        if !are_bytes::<I::Item>() {
            return items.try_for_each(|item| self.part(&item));
        }
        let output = &mut self.0.output;
        let are_all = match len.and_then(|len| output.claim(len)) {
            Some(buffer) => copy_bytes(buffer, items) == len,
            None => {
                let mut are_all = true;
                let bytes = items.map(|item| {
                    let byte = byte_of(&item);
                    are_all &= byte.is_some();
                    byte.unwrap_or_default()
                });
                output.spill(len.unwrap_or_default()).extend(bytes);
                are_all
            }
        };
        if are_all {
            Ok(())
        } else {
            Err(ser::Error::custom("an item of a byte sequence is not a byte"))
        }
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! compounds {
    ($($trait:ident $method:ident($($name:ident: $ty:ty)?) $(, $skip_field:ident)?;)*) => {
        $(impl ser::$trait for Encoder<'_, '_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, $($name: $ty,)? value: &T) -> Result<()> {
                self.part(value)
            }

            // The decoder would read the bytes after it as the field.
            $(fn $skip_field(&mut self, _name: &'static str) -> Result<()> {
                Err(Error::WontImplement)
            })?

            #[inline]
            fn end(self) -> Result<()> {
                Ok(())
            }
        })*
    };
}

compounds! {
    SerializeSeq serialize_element();
    SerializeTuple serialize_element();
    SerializeTupleStruct serialize_field();
    SerializeTupleVariant serialize_field();
    SerializeStruct serialize_field(_name: &'static str), skip_field;
    SerializeStructVariant serialize_field(_name: &'static str), skip_field;
}

impl ser::SerializeMap for Encoder<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.part(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.part(value)
    }

    fn end(self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
