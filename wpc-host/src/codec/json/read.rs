//! Converts the bytes of a guest into JSON.

use super::number::{Float, shortest};
use super::{is_text, may_be_null};
use crate::codec::decode::trailing;
use crate::error::counted;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
};
use serde::de::Deserialize;
use serde::ser::{Error as _, Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::Value;
use std::cell::Cell;
use std::io::{self, Write};

/// The most bytes that one value may take as [`Value`], estimated by [`VALUE`] and [`ENTRY`]. JSON may be much larger than the
/// guest's bytes: a value may take one byte or none there, and the module chooses the names.
const BUDGET: usize = 256 << 20;

/// The approximate size of a JSON value, in bytes.
const VALUE: usize = 72;

/// The approximate size of an object's entry in bytes, without its name and its value, but with its share of the object.
const ENTRY: usize = 256;

/// The most bytes that one value may take as text.
const MAX_TEXT: usize = 128 << 20;

/// Decodes one value of the type, which must use all of the bytes.
pub(crate) fn decode(ty: &OwnedNamedType, bytes: &[u8]) -> Result<Value, String> {
    let reader = Reader::new(bytes, BUDGET);
    let value = serde_json::to_value(reader.typed(ty)).map_err(|error| error.to_string())?;
    reader.end()?;
    Ok(value)
}

/// Decodes one value of the type into JSON text, which takes less memory and time than a [`Value`].
pub(crate) fn decode_to_text(ty: &OwnedNamedType, bytes: &[u8]) -> Result<Vec<u8>, String> {
    // Each value takes at least one byte, so the text's length bounds everything else.
    let reader = Reader::new(bytes, usize::MAX);
    let mut text = Text(Vec::with_capacity(bytes.len()));
    serde_json::to_writer(&mut text, &reader.typed(ty)).map_err(|error| error.to_string())?;
    reader.end()?;
    Ok(text.0)
}

/// A text of a bounded length.
struct Text(Vec<u8>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > MAX_TEXT - self.0.len() {
            return Err(io::Error::other(TOO_LARGE));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const TOO_LARGE: &str = "it is too large to be JSON";

/// The bytes that have not been read yet. Serializing a value reads it.
struct Reader<'a> {
    rest: Cell<&'a [u8]>,
    /// How many more bytes of JSON may be created.
    budget: Cell<usize>,
}

/// Reads the next value, which has this type, each time it is serialized.
struct Typed<'r, 'a> {
    reader: &'r Reader<'a>,
    ty: &'r OwnedNamedType,
}

impl Serialize for Typed<'_, '_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { reader, ty } = self;
        let wrong = S::Error::custom::<String>;
        reader.charge(VALUE).map_err(wrong)?;
        match &ty.ty {
            Type::Bool => to.serialize_bool(reader.take().map_err(wrong)?),
            Type::I8 => to.serialize_i8(reader.take().map_err(wrong)?),
            Type::I16 => to.serialize_i16(reader.take().map_err(wrong)?),
            Type::I32 | Type::Isize => to.serialize_i32(reader.take().map_err(wrong)?),
            Type::I64 => to.serialize_i64(reader.take().map_err(wrong)?),
            Type::U8 => to.serialize_u8(reader.take().map_err(wrong)?),
            Type::U16 => to.serialize_u16(reader.take().map_err(wrong)?),
            Type::U32 | Type::Usize => to.serialize_u32(reader.take().map_err(wrong)?),
            Type::U64 => to.serialize_u64(reader.take().map_err(wrong)?),
            Type::I128 => {
                let number: i128 = reader.take().map_err(wrong)?;
                match i64::try_from(number) {
                    Ok(number) => to.serialize_i64(number),
                    Err(_) => to.collect_str(&number),
                }
            }
            Type::U128 => {
                let number: u128 = reader.take().map_err(wrong)?;
                match u64::try_from(number) {
                    Ok(number) => to.serialize_u64(number),
                    Err(_) => to.collect_str(&number),
                }
            }
            Type::F32 => Float(shortest(reader.take().map_err(wrong)?)).serialize(to),
            Type::F64 => Float(reader.take().map_err(wrong)?).serialize(to),
            Type::Char => to.serialize_char(reader.take().map_err(wrong)?),
            Type::String => {
                let text: &str = reader.take().map_err(wrong)?;
                reader.charge(text.len()).map_err(wrong)?;
                to.serialize_str(text)
            }
            Type::Unit | Type::UnitStruct => to.serialize_unit(),
            Type::ByteArray => {
                let len = reader.len(|| false).map_err(wrong)?;
                reader.charge(len.saturating_mul(VALUE)).map_err(wrong)?;
                let mut items = to.serialize_seq(capacity(len))?;
                for _ in 0..len {
                    items.serialize_element(&reader.take::<u8>().map_err(wrong)?)?;
                }
                items.end()
            }
            Type::Option(inner) => match reader.take::<u8>().map_err(wrong)? {
                0 => to.serialize_unit(),
                1 if may_be_null(inner) => {
                    reader.charge(ENTRY).map_err(wrong)?;
                    object("Some", &reader.typed(inner), to)
                }
                1 => reader.typed(inner).serialize(to),
                other => Err(wrong(format!("{other} is not a valid tag of an `Option`"))),
            },
            Type::NewtypeStruct(inner) => reader.typed(inner).serialize(to),
            Type::Seq(inner) => {
                let len = reader.len(|| takes_nothing(inner)).map_err(wrong)?;
                let mut items = to.serialize_seq(capacity(len))?;
                (0..len).try_for_each(|_| items.serialize_element(&reader.typed(inner)))?;
                items.end()
            }
            Type::Tuple(types) | Type::TupleStruct(types) => Tuple(reader, types).serialize(to),
            Type::Map { key, val } => {
                let len = reader.len(|| takes_nothing(key) && takes_nothing(val)).map_err(wrong)?;
                if is_text(key) {
                    let mut entries = to.serialize_map(capacity(len))?;
                    for _ in 0..len {
                        let name: &str = reader.take().map_err(wrong)?;
                        reader.charge(ENTRY + name.len()).map_err(wrong)?;
                        entries.serialize_entry(name, &reader.typed(val))?;
                    }
                    entries.end()
                } else {
                    let mut pairs = to.serialize_seq(capacity(len))?;
                    let pair = [key, val].map(|ty| reader.typed(ty));
                    (0..len).try_for_each(|_| pairs.serialize_element(&pair))?;
                    pairs.end()
                }
            }
            Type::Struct(fields) => Fields(reader, fields).serialize(to),
            Type::Enum(variants) => {
                let at: usize = reader.take().map_err(wrong)?;
                let variant = variants.get(at).ok_or_else(|| {
                    let count = counted(variants.len(), "variant");
                    wrong(format!("`{}` has {count}, found number {at}", ty.name))
                })?;
                let name = variant.name.as_str();
                reader.charge(ENTRY + name.len()).map_err(wrong)?;
                match &variant.ty {
                    Variant::UnitVariant => to.serialize_str(name),
                    Variant::NewtypeVariant(inner) => object(name, &reader.typed(inner), to),
                    Variant::TupleVariant(types) => object(name, &Tuple(reader, types), to),
                    Variant::StructVariant(fields) => object(name, &Fields(reader, fields), to),
                }
            }
            Type::Schema => Err(S::Error::custom("JSON cannot represent a schema")),
        }
    }
}

/// The values of a tuple.
struct Tuple<'r, 'a>(&'r Reader<'a>, &'r [OwnedNamedType]);

impl Serialize for Tuple<'_, '_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.1.iter().map(|ty| self.0.typed(ty)))
    }
}

/// The fields of a struct.
struct Fields<'r, 'a>(&'r Reader<'a>, &'r [OwnedNamedValue]);

impl Serialize for Fields<'_, '_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(reader, fields) = self;
        let wrong = S::Error::custom::<String>;
        let mut entries = to.serialize_map(capacity(fields.len()))?;
        for field in *fields {
            reader.charge(ENTRY + field.name.len()).map_err(wrong)?;
            entries.serialize_entry(&field.name, &reader.typed(&field.ty))?;
        }
        entries.end()
    }
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], budget: usize) -> Self {
        Self { rest: Cell::new(bytes), budget: Cell::new(budget) }
    }

    fn typed<'r>(&'r self, ty: &'r OwnedNamedType) -> Typed<'r, 'a> {
        Typed { reader: self, ty }
    }

    /// Reads the number of items. It cannot exceed the number of remaining bytes, unless items take no bytes.
    fn len(&self, take_nothing: impl FnOnce() -> bool) -> Result<usize, String> {
        let (len, rest): (usize, usize) = (self.take()?, self.rest.get().len());
        if len > rest && !take_nothing() {
            return Err(format!("{len} items do not fit in {}", counted(rest, "byte")));
        }
        Ok(len)
    }

    fn charge(&self, bytes: usize) -> Result<(), String> {
        let left = self.budget.get().checked_sub(bytes);
        self.budget.set(left.ok_or(TOO_LARGE)?);
        Ok(())
    }

    fn take<T: Deserialize<'a>>(&self) -> Result<T, String> {
        let read = postcard::take_from_bytes(self.rest.get());
        let (value, rest) = read.map_err(|error| error.to_string())?;
        self.rest.set(rest);
        Ok(value)
    }

    fn end(&self) -> Result<(), String> {
        match self.rest.get().len() {
            0 => Ok(()),
            left => Err(trailing(left)),
        }
    }
}

/// An object with one entry.
fn object<S: Serializer>(name: &str, value: &impl Serialize, to: S) -> Result<S::Ok, S::Error> {
    let mut entries = to.serialize_map(Some(1))?;
    entries.serialize_entry(name, value)?;
    entries.end()
}

/// For how many items space is reserved before they are read. Bytes of a guest may claim more than it has.
fn capacity(len: usize) -> Option<usize> {
    const MOST: usize = 1024;
    Some(len.min(MOST))
}

/// Whether values of the type take no bytes at all.
fn takes_nothing(named: &OwnedNamedType) -> bool {
    match &named.ty {
        Type::Unit | Type::UnitStruct => true,
        Type::NewtypeStruct(inner) => takes_nothing(inner),
        Type::Tuple(types) | Type::TupleStruct(types) => types.iter().all(takes_nothing),
        Type::Struct(fields) => fields.iter().all(|field| takes_nothing(&field.ty)),
        _ => false,
    }
}
