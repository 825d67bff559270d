//! Decodes what a guest wrote, without letting it choose how deep the host's stack goes.
//!
//! Postcard follows a recursive type for as long as the bytes say so: some kilobytes of nested lists
//! would end a caller's thread by its stack, and with it the process. Here every value that holds
//! others counts as a level, and there are [`MAX_DEPTH`] of them.

use postcard::de_flavors::Flavor;
use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use std::any::{Any, TypeId};
use std::fmt;
use wpc_abi::reply::{MAX_LENGTH, length};

/// How deep values may nest. Types written by people rarely reach a dozen; a level takes at most a
/// few kilobytes of stack even where nothing is optimised.
const MAX_DEPTH: usize = 128;

/// How many items that take no bytes a sequence may have: a guest may claim any number of those.
pub(crate) const MAX_NOTHINGS: usize = 1 << 16;

/// A value that is all there is in `bytes`.
#[inline]
pub(crate) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, String> {
    let mut postcard = postcard::Deserializer::from_bytes(bytes);
    let value = T::deserialize(Level { inner: &mut postcard, left: MAX_DEPTH, nothings: 0 });
    let value = value.map_err(|error| error.to_string())?;
    match postcard.finalize() {
        Ok([]) => Ok(value),
        Ok(rest) => Err(trailing(rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// The same for a value that owns what it is made of. A `Vec<u8>` is copied in one piece, which serde would
/// take apart.
#[inline]
pub(crate) fn decode_owned<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    if TypeId::of::<T>() == TypeId::of::<Vec<u8>>() {
        return from_vec(decode::<&[u8]>(bytes)?.to_vec());
    }
    if is_primitive::<T>() {
        // It has no parts, so nesting need not be counted.
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

/// Why a value does not take all of the bytes.
#[cold]
pub(crate) fn trailing(bytes: usize) -> String {
    counted(bytes, "trailing byte")
}

/// A number of things, in the singular or the plural.
pub(crate) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Known when it is compiled, as is all that depends on it.
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

/// A value that is one string or sequence of bytes, which are all there is in `bytes`, without a length.
pub(crate) fn decode_bytes<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    if TypeId::of::<T>() == TypeId::of::<Vec<u8>>() {
        return from_vec(bytes.to_vec());
    }
    let (head, end) = length(bytes.len());
    let parts = Parts { head, head_left: 0..end, body: bytes };
    let mut postcard = postcard::Deserializer::from_flavor(parts);
    let value = T::deserialize(Level { inner: &mut postcard, left: MAX_DEPTH, nothings: 0 });
    let value = value.map_err(|error| error.to_string())?;
    match postcard.finalize() {
        Ok(0) => Ok(value),
        Ok(left) => Err(trailing(left)),
        Err(error) => Err(error.to_string()),
    }
}

/// The same of bytes that are owned, which a `Vec<u8>` and a `String` take over.
pub(crate) fn from_vec<T: DeserializeOwned + 'static>(bytes: Vec<u8>) -> Result<T, String> {
    let bytes = match cast(bytes) {
        Ok(bytes) => return Ok(bytes),
        Err(bytes) => bytes,
    };
    if TypeId::of::<T>() == TypeId::of::<String>() {
        let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        return cast(text).map_err(|_| unreachable!("a string is one"));
    }
    decode_bytes(&bytes)
}

/// The value, if that is what a `T` is.
fn cast<U: 'static, T: 'static>(value: U) -> Result<T, U> {
    let mut value = Some(value);
    let cast = (&mut value as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take);
    match (cast, value) {
        (Some(cast), _) => Ok(cast),
        (None, Some(value)) => Err(value),
        (None, None) => unreachable!("it was there"),
    }
}

/// Bytes whose length lies elsewhere, as postcard would have them in a row.
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
        // Whatever takes its bytes before the length is read is no string and no bytes.
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

/// Anything of serde's that hands out values, and how many levels they may still have.
struct Level<T> {
    inner: T,
    left: usize,
    /// How many items without bytes it handed out, where it is a sequence.
    nothings: usize,
}

impl<T> Level<T> {
    fn with<U>(&self, inner: U) -> Level<U> {
        Level { inner, left: self.left, nothings: 0 }
    }

    /// One level further down.
    fn deeper<U, E: serde::de::Error>(&self, inner: U) -> Result<Level<U>, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Level { inner, left, nothings: 0 }),
            None => Err(E::custom(TooDeep)),
        }
    }
}

impl<T> Level<T> {
    fn count_nothing<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.nothings += 1;
        if self.nothings > MAX_NOTHINGS {
            return Err(E::custom(format_args!(
                "it has more than {MAX_NOTHINGS} items that take no bytes"
            )));
        }
        Ok(())
    }
}

struct TooDeep;

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it nests deeper than {MAX_DEPTH} levels")
    }
}

macro_rules! forward_deserialize {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.with(visitor);
            self.inner.$method(visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Level<D> {
    type Error = D::Error;

    forward_deserialize! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_option deserialize_unit deserialize_seq
        deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! forward_visit {
    ($($method:ident: $ty:ty),* $(,)?) => {
        $(fn $method<E: serde::de::Error>(self, value: $ty) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Level<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    forward_visit! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128,
        visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32,
        visit_f64: f64, visit_char: char, visit_str: &str, visit_borrowed_str: &'de str,
        visit_string: String, visit_bytes: &[u8], visit_borrowed_bytes: &'de [u8],
        visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.deeper(deserializer)?;
        self.inner.visit_some(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<V::Value, D::Error> {
        let deserializer = self.deeper(deserializer)?;
        self.inner.visit_newtype_struct(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        let items = self.deeper(items)?;
        self.inner.visit_seq(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let entries = self.deeper(entries)?;
        self.inner.visit_map(entries)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let variant = self.deeper(variant)?;
        self.inner.visit_enum(variant)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Level<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Level<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        if size_of::<S::Value>() == 0 {
            self.count_nothing()?;
        }
        let seed = self.with(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Level<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        if size_of::<S::Value>() == 0 {
            self.count_nothing()?;
        }
        let seed = self.with(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Level<A> {
    type Error = A::Error;
    type Variant = Level<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let left = self.left;
        let seed = self.with(seed);
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, Level { inner: variant, left, nothings: 0 }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Level<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Boxed(Box<Tree>),
        Pair(Box<Tree>, Option<Box<Tree>>),
        Named { children: Vec<Tree>, notes: BTreeMap<String, (u8, char)> },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wide(i8, i16, i32, i64, i128, u8, u16, u32, u64, u128, f32, f64, bool, String, ());

    fn round_trip<T: Serialize + for<'de> Deserialize<'de> + PartialEq + fmt::Debug>(value: &T) {
        let bytes = postcard::to_allocvec(value).unwrap();
        assert_eq!(&decode::<T>(&bytes).unwrap(), value);
        for end in 0..bytes.len() {
            assert!(decode::<T>(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_postcard_wrote_reads_back_and_every_cut_is_refused() {
        round_trip(&Tree::Pair(
            Box::new(Tree::Leaf),
            Some(Box::new(Tree::Boxed(Box::new(Tree::Leaf)))),
        ));
        round_trip(&Tree::Named {
            children: vec![Tree::Leaf, Tree::Leaf],
            notes: BTreeMap::from([("a".to_owned(), (1, 'é'))]),
        });
        let (min, max) = (i128::MIN, u128::MAX);
        round_trip(&Wide(
            -1,
            -2,
            -3,
            -4,
            min,
            1,
            2,
            3,
            4,
            max,
            0.5,
            -0.25,
            true,
            "text".to_owned(),
            (),
        ));
    }

    #[test]
    fn borrowed_values_stay_borrowed() {
        let bytes = postcard::to_allocvec(&("text", [1_u8, 2].as_slice())).unwrap();
        assert_eq!(decode::<(&str, &[u8])>(&bytes).unwrap(), ("text", [1, 2].as_slice()));
    }

    #[test]
    fn endless_nesting_is_refused_and_does_not_end_the_stack() {
        let boxed: Vec<u8> = [1].repeat(10_000_000);
        assert!(decode::<Tree>(&boxed).unwrap_err().len() < 100);
        // A variant and its box are one level each at most: what people write fits.
        let deep = [vec![1; MAX_DEPTH - 1], vec![0]].concat();
        assert!(decode::<Tree>(&deep).is_ok());
    }

    #[test]
    fn items_that_take_no_bytes_are_counted() {
        let many = |count: u64| postcard::to_allocvec(&count).unwrap();
        assert_eq!(decode::<Vec<()>>(&many(60_000)).unwrap().len(), 60_000);
        assert!(decode::<Vec<()>>(&many(u64::MAX)).is_err());
        assert!(decode::<BTreeMap<(), ()>>(&many(u64::MAX)).is_err());
        assert!(decode::<Vec<Vec<()>>>(&[many(1), many(u64::MAX)].concat()).is_err());
    }

    #[test]
    fn one_string_or_bytes_are_read_without_a_length() {
        for len in [0, 1, 127, 128, 20_000] {
            let bytes = "a".repeat(len).into_bytes();
            let text = "a".repeat(len);
            assert_eq!(decode_bytes::<Vec<u8>>(&bytes).unwrap(), bytes);
            assert_eq!(decode_bytes::<String>(&bytes).unwrap(), text);
            assert_eq!(decode_bytes::<Box<str>>(&bytes).unwrap(), text.as_str().into());
            assert_eq!(decode_bytes::<std::collections::VecDeque<u8>>(&bytes).unwrap(), bytes);
            assert_eq!(from_vec::<Vec<u8>>(bytes.clone()).unwrap(), bytes);
            assert_eq!(from_vec::<String>(bytes.clone()).unwrap(), text);
            assert_eq!(from_vec::<Box<[u8]>>(bytes.clone()).unwrap(), bytes.clone().into());
        }
        assert!(decode_bytes::<String>(&[0xff]).is_err());
        assert!(from_vec::<String>(vec![0xff]).is_err());
        assert!(decode_bytes::<f32>(&[0; 8]).is_err());
        assert_eq!(decode_bytes::<u8>(&[1, 2]).unwrap_err(), "2 trailing bytes");
    }

    #[test]
    fn owned_bytes_are_all_there_is() {
        let bytes = postcard::to_allocvec(&vec![1_u8, 2]).unwrap();
        assert_eq!(decode_owned::<Vec<u8>>(&bytes).unwrap(), [1, 2]);
        assert!(decode_owned::<Vec<u8>>(&bytes[..2]).is_err());
        let longer = [bytes.as_slice(), &[9]].concat();
        assert_eq!(decode_owned::<Vec<u8>>(&longer).unwrap_err(), "1 trailing byte");
    }

    #[test]
    fn bytes_left_over_are_told() {
        assert_eq!(decode::<u8>(&[1, 2, 3]).unwrap_err(), "2 trailing bytes");
    }
}
