//! Types as bytes: postcard's encoding of a [`NamedType`], written while a guest is compiled and
//! read by a host that trusts none of it.
//!
//! Writing is hand-made because serde cannot run in a constant. Reading is hand-made because
//! serde's own would follow a hostile module's nesting until the host's stack ends.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use postcard_schema::schema::owned::{
    OwnedDataModelType as OwnedType, OwnedDataModelVariant as OwnedVariantType, OwnedNamedType,
    OwnedNamedValue, OwnedNamedVariant,
};
use postcard_schema::schema::{
    DataModelType as Type, DataModelVariant as VariantType, NamedType, NamedValue, NamedVariant,
};

/// How deep a schema may nest before the host refuses it.
///
/// Types written by people nest a handful of levels; 64 costs a few KiB of stack.
pub const MAX_DEPTH: usize = 64;

/// What a raw identifier starts with.
const RAW: &str = "r#";

/// Counts bytes, and writes them as long as there is room: one pass measures, a second one fills.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl<'a> Sink<'a> {
    pub(crate) const fn new(room: &'a mut [u8]) -> Self {
        Self { room, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn byte(&mut self, byte: u8) {
        if self.len < self.room.len() {
            self.room[self.len] = byte;
        }
        self.len += 1;
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low seven bits are what is meant")]
    pub(crate) const fn varint(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    pub(crate) const fn str(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.varint(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            self.byte(bytes[at]);
            at += 1;
        }
    }

    pub(crate) const fn named_type(&mut self, named: &NamedType) {
        self.str(named.name);
        match named.ty {
            Type::Bool => self.varint(0),
            Type::I8 => self.varint(1),
            Type::U8 => self.varint(2),
            Type::I16 => self.varint(3),
            Type::I32 => self.varint(4),
            Type::I64 => self.varint(5),
            Type::I128 => self.varint(6),
            Type::U16 => self.varint(7),
            Type::U32 => self.varint(8),
            Type::U64 => self.varint(9),
            Type::U128 => self.varint(10),
            Type::Usize => self.varint(11),
            Type::Isize => self.varint(12),
            Type::F32 => self.varint(13),
            Type::F64 => self.varint(14),
            Type::Char => self.varint(15),
            Type::String => self.varint(16),
            Type::ByteArray => self.varint(17),
            Type::Option(inner) => {
                self.varint(18);
                self.named_type(inner);
            }
            Type::Unit => self.varint(19),
            Type::UnitStruct => self.varint(20),
            Type::NewtypeStruct(inner) => {
                self.varint(21);
                self.named_type(inner);
            }
            Type::Seq(inner) => {
                self.varint(22);
                self.named_type(inner);
            }
            Type::Tuple(items) => {
                self.varint(23);
                self.types(items);
            }
            Type::TupleStruct(items) => {
                self.varint(24);
                self.types(items);
            }
            Type::Map { key, val } => {
                self.varint(25);
                self.named_type(key);
                self.named_type(val);
            }
            Type::Struct(fields) => {
                self.varint(26);
                self.fields(fields);
            }
            Type::Enum(variants) => {
                self.varint(27);
                self.variants(variants);
            }
            Type::Schema => self.varint(28),
        }
    }

    const fn types(&mut self, items: &[&NamedType]) {
        self.varint(items.len());
        let mut at = 0;
        while at < items.len() {
            self.named_type(items[at]);
            at += 1;
        }
    }

    const fn fields(&mut self, fields: &[&NamedValue]) {
        self.varint(fields.len());
        let mut at = 0;
        while at < fields.len() {
            self.str(fields[at].name);
            self.named_type(fields[at].ty);
            at += 1;
        }
    }

    const fn variants(&mut self, variants: &[&NamedVariant]) {
        self.varint(variants.len());
        let mut at = 0;
        while at < variants.len() {
            self.str(variants[at].name);
            match variants[at].ty {
                VariantType::UnitVariant => self.varint(0),
                VariantType::NewtypeVariant(inner) => {
                    self.varint(1);
                    self.named_type(inner);
                }
                VariantType::TupleVariant(items) => {
                    self.varint(2);
                    self.types(items);
                }
                VariantType::StructVariant(fields) => {
                    self.varint(3);
                    self.fields(fields);
                }
            }
            at += 1;
        }
    }
}

/// Why bytes are no schema, or no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end inside a value.
    Truncated,
    /// A number is larger than what follows it, or than what it may be.
    OutOfRange,
    /// A name is no UTF-8.
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

/// Reads what a [`Sink`] wrote, and survives what somebody else wrote.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    pub(crate) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn varint(&mut self) -> Result<usize, Malformed> {
        let mut number: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            let bits = u32::from(byte & 0x7f);
            if bits.checked_shl(shift).is_none_or(|shifted| shifted >> shift != bits) {
                return Err(Malformed::OutOfRange);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).map_err(|_| Malformed::OutOfRange);
            }
        }
        Err(Malformed::OutOfRange)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.varint()?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn str(&mut self) -> Result<String, Malformed> {
        core::str::from_utf8(self.bytes()?).map(String::from).map_err(|_| Malformed::NotUtf8)
    }

    /// A name. The derive of `postcard-schema` leaves raw identifiers their `r#`, which is not part of a name.
    pub(crate) fn name(&mut self) -> Result<String, Malformed> {
        let name = self.str()?;
        Ok(name.strip_prefix(RAW).map(String::from).unwrap_or(name))
    }

    /// As many items as the bytes say, which cannot be more than there are bytes.
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.varint()?;
        if count > self.rest.len() {
            return Err(Malformed::OutOfRange);
        }
        (0..count).map(|_| item(self)).collect()
    }

    pub(crate) fn named_type(&mut self, depth: usize) -> Result<OwnedNamedType, Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
        let name = self.name()?;
        let ty = match self.varint()? {
            0 => OwnedType::Bool,
            1 => OwnedType::I8,
            2 => OwnedType::U8,
            3 => OwnedType::I16,
            4 => OwnedType::I32,
            5 => OwnedType::I64,
            6 => OwnedType::I128,
            7 => OwnedType::U16,
            8 => OwnedType::U32,
            9 => OwnedType::U64,
            10 => OwnedType::U128,
            11 => OwnedType::Usize,
            12 => OwnedType::Isize,
            13 => OwnedType::F32,
            14 => OwnedType::F64,
            15 => OwnedType::Char,
            16 => OwnedType::String,
            17 => OwnedType::ByteArray,
            18 => OwnedType::Option(Box::new(self.named_type(depth)?)),
            19 => OwnedType::Unit,
            20 => OwnedType::UnitStruct,
            21 => OwnedType::NewtypeStruct(Box::new(self.named_type(depth)?)),
            22 => OwnedType::Seq(Box::new(self.named_type(depth)?)),
            23 => OwnedType::Tuple(self.list(|source| source.named_type(depth))?),
            24 => OwnedType::TupleStruct(self.list(|source| source.named_type(depth))?),
            25 => OwnedType::Map {
                key: Box::new(self.named_type(depth)?),
                val: Box::new(self.named_type(depth)?),
            },
            26 => OwnedType::Struct(self.list(|source| source.field(depth))?),
            27 => OwnedType::Enum(self.list(|source| source.variant(depth))?),
            28 => OwnedType::Schema,
            _ => return Err(Malformed::OutOfRange),
        };
        Ok(OwnedNamedType { name, ty })
    }

    fn field(&mut self, depth: usize) -> Result<OwnedNamedValue, Malformed> {
        Ok(OwnedNamedValue { name: self.name()?, ty: self.named_type(depth)? })
    }

    fn variant(&mut self, depth: usize) -> Result<OwnedNamedVariant, Malformed> {
        let name = self.name()?;
        let ty = match self.varint()? {
            0 => OwnedVariantType::UnitVariant,
            1 => OwnedVariantType::NewtypeVariant(Box::new(self.named_type(depth)?)),
            2 => {
                let mut items = self.list(|source| source.named_type(depth))?;
                // To serde a tuple of one is a newtype. `postcard-schema` describes `Result` as tuples.
                match (items.pop(), items.is_empty()) {
                    (Some(only), true) => OwnedVariantType::NewtypeVariant(Box::new(only)),
                    (last, _) => {
                        items.extend(last);
                        OwnedVariantType::TupleVariant(items)
                    }
                }
            }
            3 => OwnedVariantType::StructVariant(self.list(|source| source.field(depth))?),
            _ => return Err(Malformed::OutOfRange),
        };
        Ok(OwnedNamedVariant { name, ty })
    }
}

/// Whether both types agree, see [`compare`](crate::compare).
#[must_use]
pub fn agree(one: &OwnedNamedType, other: &OwnedNamedType) -> bool {
    crate::compare::compare(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Schema;
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use proptest::prelude::*;

    #[derive(Schema)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    enum Shape {
        Nothing,
        Line(u32),
        Box(i64, f32),
        Named { name: String, tags: BTreeMap<String, Option<bool>> },
    }

    fn written(schema: &NamedType) -> Vec<u8> {
        let mut room = vec![0; 4096];
        let mut sink = Sink::new(&mut room);
        sink.named_type(schema);
        let len = sink.len();
        room.truncate(len);
        room
    }

    #[test]
    fn the_constant_encoder_writes_what_serde_writes() {
        for schema in [
            Shape::SCHEMA,
            <(u8, i8, u16, i16, u32)>::SCHEMA,
            <(u64, i64, u128, i128, f64, char)>::SCHEMA,
            <Result<Vec<[u8; 3]>, ()>>::SCHEMA,
        ] {
            assert_eq!(written(schema), postcard::to_allocvec(schema).unwrap());
        }
    }

    #[test]
    fn what_was_written_reads_back_and_every_cut_of_it_is_refused() {
        let bytes = written(Shape::SCHEMA);
        let read = Source::new(&bytes).named_type(MAX_DEPTH).unwrap();
        assert_eq!(read, OwnedNamedType::from(Shape::SCHEMA));
        for end in 0..bytes.len() {
            assert!(Source::new(&bytes[..end]).named_type(MAX_DEPTH).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn endless_nesting_is_refused() {
        let bytes: Vec<u8> = [0, 18].repeat(1_000_000);
        assert_eq!(Source::new(&bytes).named_type(MAX_DEPTH), Err(Malformed::TooDeep));
    }

    #[test]
    fn names_of_types_and_newtypes_do_not_matter_but_fields_do() {
        #[derive(Schema)]
        #[expect(dead_code, reason = "only its schema is of interest")]
        struct Meters(u32);
        #[derive(Schema)]
        #[expect(dead_code, reason = "only its schema is of interest")]
        struct Point {
            x: u8,
            y: u8,
        }
        #[derive(Schema)]
        #[expect(dead_code, reason = "only its schema is of interest")]
        struct Swapped {
            y: u8,
            x: u8,
        }
        let owned = |schema: &NamedType| OwnedNamedType::from(schema);
        assert!(agree(&owned(<&str>::SCHEMA), &owned(String::SCHEMA)));
        assert!(agree(&owned(<Vec<Meters>>::SCHEMA), &owned(<Vec<u32>>::SCHEMA)));
        assert!(!agree(&owned(Point::SCHEMA), &owned(Swapped::SCHEMA)));
        assert!(!agree(&owned(u32::SCHEMA), &owned(i32::SCHEMA)));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Source::new(&bytes).named_type(MAX_DEPTH);
        }
    }
}
