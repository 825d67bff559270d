//! Infers the type of a value by serializing it. A constant may be any value that serde can serialize, and guests declare
//! the type as which they decode it. The two types are compared.
//!
//! Parts of the type that the value does not show are [`unknown`]: the items of an empty sequence, the content of `None`, the
//! other variants of an enum. The value's bytes decode with any type in those positions.

use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
    OwnedNamedVariant,
};
use serde::ser::{self, Serialize};
use std::fmt::Display;
use wpc_abi::compare::unknown;

/// The value's type, as far as the value shows it; `None` if the value cannot be serialized.
pub(crate) fn type_of<T: Serialize + ?Sized>(value: &T) -> Option<OwnedNamedType> {
    let mut ty = unknown();
    value.serialize(Tracer(&mut ty)).ok().map(|()| ty)
}

/// The value cannot be serialized. The reason is dropped, because encoding the value reports it.
#[derive(Debug)]
pub(crate) struct Refused;

impl Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the value cannot be serialized")
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

/// Merges the type information of a value with that of earlier values of the same type.
struct Tracer<'a>(&'a mut OwnedNamedType);

impl<'a> Tracer<'a> {
    fn is_unknown(&self) -> bool {
        self.0.ty == Type::Schema
    }

    fn set(&mut self, name: &str, ty: Type) {
        *self.0 = OwnedNamedType { name: name.to_owned(), ty };
    }

    /// A type without parts. If a hand-written `Serialize` gives the items of one sequence different types, their type
    /// becomes unknown.
    fn leaf(mut self, name: &str, ty: Type) -> Result<(), Refused> {
        if self.is_unknown() {
            self.set(name, ty);
        } else if self.0.ty != ty {
            *self.0 = unknown();
        }
        Ok(())
    }

    fn items(mut self, name: &str, len: usize) -> Items<'a> {
        if self.is_unknown() {
            self.set(name, Type::Tuple(vec![unknown(); len]));
        }
        match &mut self.0.ty {
            Type::Tuple(items) => Items(items.iter_mut()),
            _ => Items([].iter_mut()),
        }
    }

    fn fields(mut self, name: &str) -> Fields<'a> {
        if self.is_unknown() {
            self.set(name, Type::Struct(Vec::new()));
        }
        match &mut self.0.ty {
            Type::Struct(fields) => Fields { fields: Some(fields), next: 0 },
            _ => Fields { fields: None, next: 0 },
        }
    }

    /// Returns the content type recorded for a variant; records `empty` if the variant was not seen before.
    fn variant(
        mut self,
        name: &str,
        index: u32,
        variant: &str,
        empty: Variant,
    ) -> Option<&'a mut Variant> {
        /// Serde numbers variants in their order. A greater number comes from a hand-written `Serialize`.
        const MOST: usize = 4096;
        if self.is_unknown() {
            self.set(name, Type::Enum(Vec::new()));
        }
        let Type::Enum(variants) = &mut self.0.ty else { return None };
        let index = usize::try_from(index).ok().filter(|index| *index < MOST)?;
        while variants.len() <= index {
            let ty = Variant::NewtypeVariant(Box::new(unknown()));
            variants.push(OwnedNamedVariant { name: HIDDEN.to_owned(), ty });
        }
        let found = &mut variants[index];
        if found.name == HIDDEN {
            *found = OwnedNamedVariant { name: variant.to_owned(), ty: empty };
        }
        Some(&mut found.ty)
    }
}

/// The name of a variant that was not shown.
const HIDDEN: &str = "?";

macro_rules! leaves {
    ($($method:ident($ty:ty) $name:literal $kind:ident)*) => {
        $(fn $method(self, _: $ty) -> Result<(), Refused> {
            self.leaf($name, Type::$kind)
        })*
    };
}

impl<'a> ser::Serializer for Tracer<'a> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Sequence<'a>;
    type SerializeTuple = Items<'a>;
    type SerializeTupleStruct = Items<'a>;
    type SerializeTupleVariant = Items<'a>;
    type SerializeMap = Map<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    leaves! {
        serialize_bool(bool) "bool" Bool
        serialize_i8(i8) "i8" I8
        serialize_i16(i16) "i16" I16
        serialize_i32(i32) "i32" I32
        serialize_i64(i64) "i64" I64
        serialize_i128(i128) "i128" I128
        serialize_u8(u8) "u8" U8
        serialize_u16(u16) "u16" U16
        serialize_u32(u32) "u32" U32
        serialize_u64(u64) "u64" U64
        serialize_u128(u128) "u128" U128
        serialize_f32(f32) "f32" F32
        serialize_f64(f64) "f64" F64
        serialize_char(char) "char" Char
        serialize_str(&str) "String" String
        serialize_bytes(&[u8]) "Vec<u8>" ByteArray
    }

    fn serialize_none(mut self) -> Result<(), Refused> {
        if self.is_unknown() {
            self.set("Option", Type::Option(Box::new(unknown())));
        }
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), Refused> {
        if self.is_unknown() {
            self.set("Option", Type::Option(Box::new(unknown())));
        }
        match &mut self.0.ty {
            Type::Option(inner) => value.serialize(Tracer(inner)),
            _ => Ok(()),
        }
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        self.leaf("()", Type::Unit)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Refused> {
        self.leaf(name, Type::UnitStruct)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), Refused> {
        self.variant(name, index, variant, Variant::UnitVariant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        let empty = Variant::NewtypeVariant(Box::new(unknown()));
        match self.variant(name, index, variant, empty) {
            Some(Variant::NewtypeVariant(inner)) => value.serialize(Tracer(inner)),
            _ => Ok(()),
        }
    }

    fn serialize_seq(mut self, _: Option<usize>) -> Result<Sequence<'a>, Refused> {
        if self.is_unknown() {
            self.set("Vec", Type::Seq(Box::new(unknown())));
        }
        Ok(Sequence(match &mut self.0.ty {
            Type::Seq(item) => Some(item),
            _ => None,
        }))
    }

    fn serialize_tuple(self, len: usize) -> Result<Items<'a>, Refused> {
        Ok(self.items("tuple", len))
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Items<'a>, Refused> {
        Ok(self.items(name, len))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Items<'a>, Refused> {
        let empty = Variant::TupleVariant(vec![unknown(); len]);
        Ok(match self.variant(name, index, variant, empty) {
            Some(Variant::TupleVariant(items)) => Items(items.iter_mut()),
            _ => Items([].iter_mut()),
        })
    }

    fn serialize_map(mut self, _: Option<usize>) -> Result<Map<'a>, Refused> {
        if self.is_unknown() {
            let [key, val] = [(); 2].map(|()| Box::new(unknown()));
            self.set("Map", Type::Map { key, val });
        }
        Ok(Map(match &mut self.0.ty {
            Type::Map { key, val } => Some((key, val)),
            _ => None,
        }))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'a>, Refused> {
        Ok(self.fields(name))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Refused> {
        let fields = match self.variant(name, index, variant, Variant::StructVariant(Vec::new())) {
            Some(Variant::StructVariant(fields)) => Some(fields),
            _ => None,
        };
        Ok(Fields { fields, next: 0 })
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<(), Refused> {
        self.leaf("String", Type::String)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The items of a sequence, which have the same type.
pub(crate) struct Sequence<'a>(Option<&'a mut OwnedNamedType>);

impl ser::SerializeSeq for Sequence<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        match &mut self.0 {
            Some(item) => value.serialize(Tracer(item)),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<(), Refused> {
        Ok(())
    }
}

/// The items of a tuple, one after another.
pub(crate) struct Items<'a>(std::slice::IterMut<'a, OwnedNamedType>);

impl Items<'_> {
    fn next<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        match self.0.next() {
            Some(item) => value.serialize(Tracer(item)),
            None => Ok(()),
        }
    }
}

macro_rules! items {
    ($($trait:ident $method:ident)*) => {
        $(impl ser::$trait for Items<'_> {
            type Ok = ();
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                self.next(value)
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        })*
    };
}

items! {
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

/// The keys and the values of a map.
pub(crate) struct Map<'a>(Option<(&'a mut OwnedNamedType, &'a mut OwnedNamedType)>);

impl ser::SerializeMap for Map<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        match &mut self.0 {
            Some((ty, _)) => key.serialize(Tracer(ty)),
            None => Ok(()),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        match &mut self.0 {
            Some((_, ty)) => value.serialize(Tracer(ty)),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<(), Refused> {
        Ok(())
    }
}

/// The fields of a structure, which each value of its type shows in the same order.
pub(crate) struct Fields<'a> {
    fields: Option<&'a mut Vec<OwnedNamedValue>>,
    next: usize,
}

impl Fields<'_> {
    fn next<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Refused> {
        let Some(fields) = &mut self.fields else { return Ok(()) };
        if self.next == fields.len() {
            fields.push(OwnedNamedValue { name: name.to_owned(), ty: unknown() });
        }
        let field = &mut fields[self.next];
        self.next += 1;
        value.serialize(Tracer(&mut field.ty))
    }
}

macro_rules! fields {
    ($($trait:ident)*) => {
        $(impl ser::$trait for Fields<'_> {
            type Ok = ();
            type Error = Refused;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Refused> {
                self.next(name, value)
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        })*
    };
}

fields! { SerializeStruct SerializeStructVariant }

#[cfg(test)]
mod tests;
