//! Decodes a value by its declared type, and compares with it what the caller's type asks for.

use super::place::{BYTE, Differs, Place, Step, Trace, address, is_named};
use crate::codec::decode::MAX_NOTHINGS;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
};
use serde::Deserialize;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use std::any::type_name;
use std::cell::Cell;
use std::fmt;

/// A value that is all there is in `bytes`, which are of the declared type. Where the types differ the trace has the
/// reason.
pub(super) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    declared: &OwnedNamedType,
    trace: &Trace,
) -> Result<T, Unreadable> {
    let rest = Cell::new(bytes);
    let place = Place { named: declared, rust: type_name::<T>(), trace };
    let value = T::deserialize(Reader { rest: &rest, place })?;
    match rest.get() {
        [] => Ok(value),
        rest => Err(de::Error::custom(format_args!("{} bytes are left over", rest.len()))),
    }
}

/// Why there is no value; where the types differ, the trace says so.
#[derive(Debug)]
pub(super) struct Unreadable(pub(super) String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl de::Error for Unreadable {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self(reason.to_string())
    }
}

impl From<Differs> for Unreadable {
    fn from(_: Differs) -> Self {
        Self("the types differ".to_owned())
    }
}

impl From<postcard::Error> for Unreadable {
    fn from(error: postcard::Error) -> Self {
        Self(error.to_string())
    }
}

#[derive(Clone, Copy)]
struct Reader<'a, 'de> {
    rest: &'a Cell<&'de [u8]>,
    place: Place<'a>,
}

impl<'a, 'de> Reader<'a, 'de> {
    fn part(self, named: &'a OwnedNamedType, rust: &'static str) -> Self {
        Self { place: self.place.of(named, rust), ..self }
    }

    fn take<T: Deserialize<'de>>(self) -> Result<T, Unreadable> {
        let (value, rest) = postcard::take_from_bytes(self.rest.get())?;
        self.rest.set(rest);
        Ok(value)
    }

    fn scalar<T: Deserialize<'de>>(
        self,
        found: &Type,
        name: &'static str,
    ) -> Result<T, Unreadable> {
        self.place.scalar(found, name)?;
        self.take()
    }

    fn bytes(self) -> Result<&'de [u8], Unreadable> {
        self.place.bytes()?;
        self.take()
    }

    fn differs(self) -> Unreadable {
        self.place.differs_as_a_whole().into()
    }

    fn parts(self, parts: Parts<'a>) -> Items<'a, 'de> {
        Items { reader: self, parts, at: 0, nothings: 0 }
    }

    /// A tuple of `len` items, or the variant that holds them.
    fn tuple<V: Visitor<'de>>(
        self,
        types: &'a [OwnedNamedType],
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        if types.len() != len {
            return Err(self.differs());
        }
        self.parts(Parts::Items(types)).visit(visitor)
    }

    fn fields<V: Visitor<'de>>(
        self,
        declared: &'a [OwnedNamedValue],
        fields: &[&str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        // Aliases are listed like fields.
        let names = declared.iter().map(|field| field.name.as_str());
        if let Some(missing) = first_missing(names, fields) {
            let expected = format!("the field {missing}");
            let found = format!("the fields {}", fields.join(", "));
            return Err(self.place.differs_in(expected, found).into());
        }
        self.parts(Parts::Fields(declared)).visit(visitor)
    }
}

/// The first name that is not among `all`, in order.
fn first_missing<'n>(names: impl Iterator<Item = &'n str>, all: &[&str]) -> Option<&'n str> {
    let mut rest = all.iter();
    names.into_iter().find(|name| !rest.any(|other| is_named(name, other)))
}

macro_rules! scalars {
    ($($method:ident $visit:ident $declared:ident $name:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
            visitor.$visit(self.scalar(&Type::$declared, $name)?)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_, 'de> {
    type Error = Unreadable;

    scalars! {
        deserialize_bool visit_bool Bool "bool";
        deserialize_i8 visit_i8 I8 "i8";
        deserialize_i16 visit_i16 I16 "i16";
        deserialize_i32 visit_i32 I32 "i32";
        deserialize_i64 visit_i64 I64 "i64";
        deserialize_i128 visit_i128 I128 "i128";
        deserialize_u8 visit_u8 U8 "u8";
        deserialize_u16 visit_u16 U16 "u16";
        deserialize_u32 visit_u32 U32 "u32";
        deserialize_u64 visit_u64 U64 "u64";
        deserialize_u128 visit_u128 U128 "u128";
        deserialize_f32 visit_f32 F32 "f32";
        deserialize_f64 visit_f64 F64 "f64";
        deserialize_char visit_char Char "char";
        deserialize_str visit_borrowed_str String "String";
        deserialize_string visit_borrowed_str String "String";
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unreadable> {
        Err(de::Error::custom("its type depends on the value, which encoded values do not tell"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_any(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let Type::Option(inner) = self.place.enter() else { return Err(self.differs()) };
        match self.take::<u8>()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.part(inner, self.place.rust)),
            other => Err(de::Error::custom(format_args!("{other} is not an option"))),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.place.scalar(&Type::Unit, "()")?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.place.scalar(&Type::Unit, name)?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        match self.place.enter() {
            Type::Seq(item) => {
                let len = self.take()?;
                self.parts(Parts::Elements(item, len)).visit(visitor)
            }
            Type::ByteArray => {
                let len = self.take()?;
                self.parts(Parts::Elements(&BYTE, len)).visit(visitor)
            }
            _ => Err(self.differs()),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        match self.place.enter() {
            Type::Tuple(types) | Type::TupleStruct(types) => self.tuple(types, len, visitor),
            _ => Err(self.differs()),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let Type::Map { key, val } = self.place.enter() else { return Err(self.differs()) };
        let len: usize = self.take()?;
        let mut entries = self.parts(Parts::Entries(key, val, len));
        visitor.visit_map(&mut entries)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        match self.place.enter() {
            Type::Struct(declared) => self.fields(declared, fields, visitor),
            _ => Err(self.differs()),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        let Type::Enum(declared) = self.place.enter() else { return Err(self.differs()) };
        let names = || declared.iter().map(|variant| variant.name.as_str());
        if let Some(missing) = first_missing(names(), variants) {
            let found = format!("one of {}", variants.join(", "));
            return Err(self.place.differs_in(format!("the variant {missing}"), found).into());
        }
        let at: u32 = self.take()?;
        let variant = usize::try_from(at).ok().and_then(|at| declared.get(at));
        let Some(variant) = variant else {
            return Err(de::Error::custom(format_args!("there is no variant {at}")));
        };
        self.place.trace.see(address(variant));
        // Aliases are listed like variants, so that the number may be another's. The name is right in any case.
        let is_by_name = variants.len() != declared.len();
        if is_by_name {
            self.place.trace.set_variable();
        }
        let name = is_by_name.then_some(variant.name.as_str());
        let done = visitor.visit_enum(Chosen { reader: self, at, name, holds: &variant.ty });
        done.inspect_err(|_| self.place.trace.step(|| Step::Variant(variant.name.clone())))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// What a value with parts is declared to hold, with the number of parts where bytes tell it.
#[derive(Clone, Copy)]
enum Parts<'a> {
    Elements(&'a OwnedNamedType, usize),
    Items(&'a [OwnedNamedType]),
    Fields(&'a [OwnedNamedValue]),
    Entries(&'a OwnedNamedType, &'a OwnedNamedType, usize),
}

struct Items<'a, 'de> {
    reader: Reader<'a, 'de>,
    parts: Parts<'a>,
    /// Which part is next.
    at: usize,
    /// How many parts without bytes there were.
    nothings: usize,
}

impl<'a, 'de> Items<'a, 'de> {
    fn visit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unreadable> {
        let value = visitor.visit_seq(&mut self)?;
        match self.parts {
            Parts::Fields(fields) if self.at < fields.len() => {
                let (expected, found) = (&fields[self.at].name, format!("{} fields", self.at));
                Err(self.reader.place.differs_in(format!("the field {expected}"), found).into())
            }
            Parts::Items(types) if self.at < types.len() => Err(self.reader.differs()),
            _ => Ok(value),
        }
    }

    fn read<S: DeserializeSeed<'de>>(
        &mut self,
        declared: &'a OwnedNamedType,
        step: Step,
        seed: S,
    ) -> Result<S::Value, Unreadable> {
        self.at += 1;
        if size_of::<S::Value>() == 0 {
            // A guest may claim any number of those.
            self.nothings += 1;
            if self.nothings > MAX_NOTHINGS {
                return Err(de::Error::custom(format_args!(
                    "it has more than {MAX_NOTHINGS} items that take no bytes"
                )));
            }
        }
        let part = self.reader.part(declared, type_name::<S::Value>());
        seed.deserialize(part).inspect_err(|_| self.reader.place.trace.step(|| step))
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Unreadable;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Unreadable> {
        let at = self.at;
        let (declared, step) = match self.parts {
            Parts::Elements(item, len) if at < len => (item, Step::Element(at)),
            Parts::Items(types) if at < types.len() => (&types[at], Step::Item(at)),
            Parts::Fields(fields) => match fields.get(at) {
                Some(field) => (&field.ty, Step::Field(field.name.clone())),
                // It would read what comes after the structure.
                None => {
                    let expected = format!("no more than {at} fields");
                    return Err(self.reader.place.differs_in(expected, "another field").into());
                }
            },
            _ => return Ok(None),
        };
        self.read(declared, step, seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        match self.parts {
            Parts::Elements(_, len) => Some(len.saturating_sub(self.at)),
            Parts::Items(types) => Some(types.len() - self.at),
            Parts::Fields(fields) => Some(fields.len() - self.at),
            Parts::Entries(..) => None,
        }
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Unreadable;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Unreadable> {
        match self.parts {
            Parts::Entries(key, _, len) if self.at / 2 < len => {
                self.read(key, Step::Key, seed).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Unreadable> {
        match self.parts {
            Parts::Entries(_, value, _) => self.read(value, Step::Value, seed),
            _ => Err(self.reader.differs()),
        }
    }
}

/// The variant that the bytes name.
struct Chosen<'a, 'de> {
    reader: Reader<'a, 'de>,
    at: u32,
    /// Its name, where the number may be another variant's.
    name: Option<&'a str>,
    holds: &'a Variant,
}

impl<'a, 'de> EnumAccess<'de> for Chosen<'a, 'de> {
    type Error = Unreadable;
    type Variant = Held<'a, 'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Unreadable> {
        let variant = match self.name {
            Some(name) => seed.deserialize(IntoDeserializer::<Unreadable>::into_deserializer(name)),
            None => seed.deserialize(self.at.into_deserializer()),
        };
        Ok((variant?, Held { reader: self.reader, holds: self.holds }))
    }
}

/// What a variant holds.
struct Held<'a, 'de> {
    reader: Reader<'a, 'de>,
    holds: &'a Variant,
}

impl<'de> VariantAccess<'de> for Held<'_, 'de> {
    type Error = Unreadable;

    fn unit_variant(self) -> Result<(), Unreadable> {
        match self.holds {
            Variant::UnitVariant => Ok(()),
            _ => Err(self
                .reader
                .place
                .differs_in("a variant with content".to_owned(), "one without")
                .into()),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, Unreadable> {
        let inner = match self.holds {
            Variant::NewtypeVariant(inner) => inner,
            // As the schema of `Result` has it.
            Variant::TupleVariant(types) if types.len() == 1 => &types[0],
            _ => return Err(self.reader.differs()),
        };
        seed.deserialize(self.reader.part(inner, type_name::<S::Value>()))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        match self.holds {
            Variant::TupleVariant(types) => self.reader.tuple(types, len, visitor),
            Variant::NewtypeVariant(inner) => {
                self.reader.tuple(std::slice::from_ref(&**inner), len, visitor)
            }
            _ => Err(self.reader.differs()),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        match self.holds {
            Variant::StructVariant(declared) => self.reader.fields(declared, fields, visitor),
            _ => Err(self.reader.differs()),
        }
    }
}
