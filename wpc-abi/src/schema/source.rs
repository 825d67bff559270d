//! The decoder of types, for bytes that are not trusted.

use super::{Malformed, RAW};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use postcard_schema::schema::owned::{
    OwnedDataModelType as OwnedType, OwnedDataModelVariant as OwnedVariantType, OwnedNamedType,
    OwnedNamedValue, OwnedNamedVariant,
};

/// Reads what a [`Sink`](super::Sink) wrote, and reports anything else as [`Malformed`].
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

    /// A name. The derive of `postcard-schema` keeps the `r#` of raw identifiers, which is not part of a name.
    pub(crate) fn name(&mut self) -> Result<String, Malformed> {
        let name = self.str()?;
        Ok(name.strip_prefix(RAW).map(String::from).unwrap_or(name))
    }

    /// A list with its length. A length above the number of remaining bytes is rejected before memory is allocated.
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
                // serde treats a tuple of one item as a newtype, but `postcard-schema` describes `Result` with tuples.
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
