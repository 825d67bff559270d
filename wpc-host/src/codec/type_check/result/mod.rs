//! Decodes a value by its declared type, and compares that with what the caller's type requests.

mod parts;

use super::position::{BYTE, Differs, Position, Step, Trace, address, is_named};
use crate::codec::decode::{Budget, Payment, trailing};
use parts::{Chosen, Items, Parts};
use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType, OwnedNamedValue};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use std::any::type_name;
use std::cell::Cell;
use std::fmt;

/// Decodes a value that must use all of `bytes`, which are of the declared type. If the types differ, the trace has the
/// mismatch.
pub(super) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    declared: &OwnedNamedType,
    trace: &Trace,
) -> Result<T, Unreadable> {
    let rest = Cell::new(bytes);
    let position = Position { named: declared, rust: type_name::<T>(), trace };
    let budget = Budget::new(bytes.len());
    let value = T::deserialize(Reader { rest: &rest, budget: &budget, position })?;
    match rest.get() {
        [] => Ok(value),
        rest => Err(Unreadable(trailing(rest.len()))),
    }
}

/// Why decoding failed. If the types differ, the trace has the mismatch.
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
    /// The items that the whole value may still have.
    budget: &'a Budget,
    position: Position<'a>,
}

impl<'a, 'de> Reader<'a, 'de> {
    fn part(self, named: &'a OwnedNamedType, rust: &'static str) -> Self {
        Self { position: self.position.of(named, rust), ..self }
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
        self.position.scalar(found, name)?;
        self.take()
    }

    fn bytes(self) -> Result<&'de [u8], Unreadable> {
        self.position.bytes()?;
        self.take()
    }

    fn differs(self) -> Unreadable {
        self.position.differs_as_a_whole().into()
    }

    fn parts(self, parts: Parts<'a>) -> Items<'a, 'de> {
        let payment = match parts {
            Parts::Elements(_, len) | Parts::Entries(_, _, len) => self.budget.pay_all(Some(len)),
            Parts::Items(_) | Parts::Fields(_) => Payment::Done,
        };
        Items { reader: self, parts, at: 0, payment }
    }

    /// Decodes a tuple of `len` items, or the content of a tuple variant.
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
        // `fields` includes aliases, so it may be longer than the declared list.
        let names = declared.iter().map(|field| field.name.as_str());
        if let Some(missing) = first_missing(names, fields) {
            let expected = format!("the field {missing}");
            let found = format!("the fields {}", fields.join(", "));
            return Err(self.position.differs_in(expected, found).into());
        }
        self.parts(Parts::Fields(declared)).visit(visitor)
    }
}

/// The first name that is missing in `all`, where the names must have the same order.
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
        Err(de::Error::custom(
            "the type needs a self-describing format, and postcard is not self-describing",
        ))
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
        let Type::Option(inner) = self.position.enter() else { return Err(self.differs()) };
        match self.take::<u8>()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.part(inner, self.position.rust)),
            other => {
                Err(de::Error::custom(format_args!("{other} is not a valid tag of an `Option`")))
            }
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.position.scalar(&Type::Unit, "()")?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.position.scalar(&Type::Unit, name)?;
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
        match self.position.enter() {
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
        match self.position.enter() {
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
        let Type::Map { key, val } = self.position.enter() else { return Err(self.differs()) };
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
        match self.position.enter() {
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
        let Type::Enum(declared) = self.position.enter() else { return Err(self.differs()) };
        let names = || declared.iter().map(|variant| variant.name.as_str());
        if let Some(missing) = first_missing(names(), variants) {
            let found = format!("one of {}", variants.join(", "));
            return Err(self.position.differs_in(format!("the variant {missing}"), found).into());
        }
        let at: u32 = self.take()?;
        let variant = usize::try_from(at).ok().and_then(|at| declared.get(at));
        let Some(variant) = variant else {
            return Err(de::Error::custom(format_args!("variant number {at} is not declared")));
        };
        self.position.trace.see(address(variant));
        // `variants` includes aliases, so numbers may be shifted. Names always match.
        let is_by_name = variants.len() != declared.len();
        if is_by_name {
            self.position.trace.set_variable();
        }
        let name = is_by_name.then_some(variant.name.as_str());
        let done = visitor.visit_enum(Chosen { reader: self, at, name, holds: &variant.ty });
        done.inspect_err(|_| self.position.trace.step(|| Step::Variant(variant.name.clone())))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
