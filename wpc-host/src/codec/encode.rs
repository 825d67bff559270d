//! Encodes what guests read, as postcard does, but with sequences of bytes in one piece.
//!
//! Serde hands out a `Vec<u8>` element by element, which takes a thousand times as long as a copy. Here
//! such a sequence is noticed by the type of its items.

use crate::system::buffers::{Buffers, LARGE};
use postcard::ser_flavors::Flavor;
use postcard::{Error, Result};
use serde::ser::{self, Serialize};
use std::fmt::Display;

/// Writes the value's bytes after what `room` has.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, room: &mut Vec<u8>) -> Result<()> {
    encode_into(value, &mut [], room, None).map(drop)
}

/// Writes the value's bytes to the front of `place` and returns how many they are; where there are more, all of them go
/// after what `spare` has. Where that has to grow for one large piece, its memory comes from `buffers`.
#[inline]
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    place: &mut [u8],
    spare: &mut Vec<u8>,
    buffers: Option<&Buffers>,
) -> Result<Option<usize>> {
    let mut postcard = postcard::Serializer { output: Room { place, used: 0, spare, buffers } };
    value.serialize(Encoder(&mut postcard))?;
    let Room { place, used, .. } = postcard.output;
    Ok((!place.is_empty()).then_some(used))
}

/// Where the bytes go.
struct Room<'a> {
    /// Empty where all goes into the spare room, and once something did not fit.
    place: &'a mut [u8],
    used: usize,
    spare: &'a mut Vec<u8>,
    buffers: Option<&'a Buffers>,
}

/// How much capacity a buffer has beyond its large piece: what mostly comes after it does not make it grow, which copies
/// it.
const BESIDE: usize = 1024;

impl Room<'_> {
    /// Goes on in the spare room, with what is written already. The next piece has `more` bytes.
    #[inline]
    fn spill(&mut self, more: usize) -> &mut Vec<u8> {
        let place = std::mem::take(&mut self.place);
        self.spare.extend_from_slice(&place[..std::mem::take(&mut self.used)]);
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

    /// Where so many bytes go, if that is not the spare room.
    #[inline]
    fn claim(&mut self, len: usize) -> Option<&mut [u8]> {
        let place = self.place.get_mut(self.used..)?.get_mut(..len)?;
        self.used += len;
        Some(place)
    }
}

impl Flavor for Room<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<()> {
        match self.place.get_mut(self.used) {
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
            // Most numbers are small.
            [byte] => return self.try_push(*byte),
            bytes => match self.claim(bytes.len()) {
                Some(place) => place.copy_from_slice(bytes),
                None => self.spill(bytes.len()).extend_from_slice(bytes),
            },
        }
        Ok(())
    }

    fn finalize(self) -> Result<()> {
        Ok(())
    }
}

/// Where the one byte of an item goes.
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

/// Whether items of this type are bytes. The name is a hint of the compiler's that nothing but speed
/// depends on: an item of that name that is none is refused.
fn are_bytes<T>() -> bool {
    matches!(std::any::type_name::<T>(), "&u8" | "u8")
}

/// Postcard's serializer, but for sequences.
struct Encoder<'a, 'room>(&'a mut postcard::Serializer<Room<'room>>);

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
        // One byte, as `bool` has it.
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
        let mut are_all = true;
        let bytes = items.map(|item| {
            let mut byte = postcard::Serializer { output: OneByte(None) };
            let done = item.serialize(&mut byte);
            are_all &= done.is_ok() && byte.output.0.is_some();
            byte.output.0.unwrap_or_default()
        });
        let room = &mut self.0.output;
        match len.and_then(|len| room.claim(len)) {
            Some(place) => {
                let written = place.iter_mut().zip(bytes).map(|(to, byte)| *to = byte).count();
                are_all &= Some(written) == len;
            }
            None => room.spill(len.unwrap_or_default()).extend(bytes),
        }
        if are_all { Ok(()) } else { Err(ser::Error::custom("a byte is none")) }
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

            // Its reader would take what comes next for the field.
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
mod tests {
    use super::*;
    use serde::Serialize;
    use std::collections::{BTreeMap, LinkedList, VecDeque};

    #[derive(Serialize)]
    enum Variants<'a> {
        Unit,
        Newtype(Vec<u8>),
        Tuple(&'a [u8], i64),
        Named { bytes: VecDeque<u8>, texts: Vec<&'a str> },
    }

    #[derive(Serialize)]
    struct Unit;

    #[derive(Serialize)]
    struct Newtype(Option<Vec<u8>>);

    #[derive(Serialize)]
    struct Tuple(u8, LinkedList<u8>);

    fn same(value: &impl Serialize) {
        let expected = postcard::to_extend(value, vec![7]).unwrap();
        let mut room = vec![7];
        encode(value, &mut room).unwrap();
        assert_eq!(room, expected);
        // Whole, or up to anywhere, and then all of it elsewhere.
        let len = expected.len() - 1;
        for fits in (0..len.min(400)).chain([len]) {
            let (mut place, mut spare) = (vec![0; fits], vec![7]);
            match encode_into(value, &mut place, &mut spare, None).unwrap() {
                Some(used) => assert_eq!((&place[..used], fits), (&expected[1..], len)),
                None => assert_eq!(spare, expected),
            }
        }
    }

    #[test]
    fn everything_is_written_as_postcard_writes_it() {
        same(&(true, -1_i8, -2_i16, -3_i32, -4_i64, i128::MIN));
        same(&(1_u8, 2_u16, 3_u32, u64::MAX, u128::MAX, 0.5_f32, -0.25_f64, 'é', "text"));
        same(&(Unit, (), Some(Some(3)), None::<u8>, [1_u8; 32], [300_u16; 3]));
        same(&(Newtype(Some(vec![1, 2])), Newtype(None), Tuple(9, LinkedList::from([1, 2]))));
        same(&Variants::Unit);
        same(&[Variants::Newtype(vec![0; 300]), Variants::Tuple(&[1, 2], -9)].as_slice());
        same(&Variants::Named { bytes: VecDeque::from([1, 2]), texts: vec!["a", "bc"] });
        same(&BTreeMap::from([("a", vec![1_u8]), ("b", vec![])]));
        same(&(std::net::Ipv4Addr::LOCALHOST, vec![vec![1_u8, 2], vec![3]], vec![-1_i8, 1]));
    }

    #[test]
    fn bytes_are_written_as_postcard_writes_them_whatever_their_number() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 100_000] {
            let bytes = (0..=255).cycle().take(len).collect::<Vec<u8>>();
            same(&(&bytes, bytes.as_slice(), 7));
        }
    }

    #[test]
    fn a_field_that_is_skipped_is_refused() {
        #[derive(Serialize)]
        struct Skips {
            #[serde(skip_serializing_if = "Option::is_none")]
            a: Option<u8>,
        }
        assert_eq!(encode(&Skips { a: None }, &mut Vec::new()), Err(Error::WontImplement));
        same(&Skips { a: Some(1) });
    }

    #[test]
    fn a_sequence_of_unknown_length_is_refused_as_postcard_refuses_it() {
        struct Odd;
        impl Serialize for Odd {
            fn serialize<S: serde::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_seq((0_u8..9).filter(|byte| byte % 2 == 1))
            }
        }
        assert_eq!(encode(&Odd, &mut Vec::new()), Err(postcard::to_allocvec(&Odd).unwrap_err()));
    }
}
