//! Compares arguments with the declared types while they are encoded, so that each value is read once.

mod compound;

use super::position::{BYTE, Differs, Position, Step, Trace, address, is_named};
use super::rust_type::has_one_shape;
use compound::{Compound, Parts};
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType,
};
use serde::ser::{self, Serialize, Serializer};
use std::any::type_name;
use std::fmt::Display;

/// A value that is compared with a declared type while it is serialized. If they differ, serialization fails, and the trace
/// has the mismatch.
pub(crate) struct Checked<'a, T: ?Sized> {
    value: &'a T,
    position: Position<'a>,
}

impl<'a, T: Serialize + ?Sized> Checked<'a, T> {
    pub(super) fn new(value: &'a T, declared: &'a OwnedNamedType, trace: &'a Trace) -> Self {
        Self { value, position: Position { named: declared, rust: type_name::<T>(), trace } }
    }

    fn part(value: &'a T, position: Position<'a>, named: &'a OwnedNamedType) -> Self {
        Self { value, position: position.of(named, type_name::<T>()) }
    }
}

impl<T: Serialize + ?Sized> Serialize for Checked<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.position.named.ty {
            // The type is not declared, see `Declared`.
            Type::Schema => {
                self.position.trace.see_type(self.position.named);
                self.value.serialize(serializer)
            }
            _ => self.value.serialize(Checker { inner: serializer, position: self.position }),
        }
    }
}

struct Checker<'a, S> {
    inner: S,
    position: Position<'a>,
}

fn refused<E: ser::Error>(_: Differs) -> E {
    E::custom("the types differ")
}

impl<'a, S: Serializer> Checker<'a, S> {
    /// Records a value whose `Serialize` passes `name`, if it passes one.
    fn begin(&self, name: Option<&str>) {
        if !has_one_shape(self.position.rust, name) {
            self.position.trace.set_variable();
        }
    }

    fn scalar(&self, found: &Type, name: &'static str) -> Result<(), S::Error> {
        self.begin(None);
        self.position.scalar(found, name).map_err(refused)
    }

    fn differs(&self) -> S::Error {
        refused(self.position.differs_as_a_whole())
    }

    fn tuple(&self, name: Option<&str>, len: usize) -> Result<Parts<'a>, S::Error> {
        self.begin(name);
        match self.position.enter() {
            Type::Tuple(types) | Type::TupleStruct(types) if types.len() == len => {
                Ok(Parts::Items(types))
            }
            _ => Err(self.differs()),
        }
    }

    /// The content of the variant, if one with this number and name is declared.
    fn variant(&self, name: &str, index: u32, variant: &str) -> Result<&'a Variant, S::Error> {
        self.begin(Some(name));
        let Type::Enum(variants) = self.position.enter() else { return Err(self.differs()) };
        let declared = usize::try_from(index).ok().and_then(|index| variants.get(index));
        let Some(declared) = declared.filter(|declared| is_named(&declared.name, variant)) else {
            let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
            let expected = format!("one of {}", names.join(", "));
            let found = format!("{variant} (number {index})");
            return Err(refused(self.position.differs_in(expected, found)));
        };
        self.position.trace.see(address(declared));
        Ok(&declared.ty)
    }

    fn variant_differs(&self, variant: &'static str) -> S::Error {
        let differs =
            self.position.differs_in(format!("another kind of variant {variant}"), variant);
        self.position.trace.step(|| Step::Variant(variant.to_owned()));
        refused(differs)
    }
}

macro_rules! scalars {
    ($($method:ident $ty:ty, $declared:ident $name:literal;)*) => {
        $(fn $method(self, value: $ty) -> Result<S::Ok, S::Error> {
            self.scalar(&Type::$declared, $name)?;
            self.inner.$method(value)
        })*
    };
}

impl<'a, S: Serializer> Serializer for Checker<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Compound<'a, S::SerializeSeq>;
    type SerializeTuple = Compound<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Compound<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Compound<'a, S::SerializeTupleVariant>;
    type SerializeMap = Compound<'a, S::SerializeMap>;
    type SerializeStruct = Compound<'a, S::SerializeStruct>;
    type SerializeStructVariant = Compound<'a, S::SerializeStructVariant>;

    scalars! {
        serialize_bool bool, Bool "bool";
        serialize_i8 i8, I8 "i8";
        serialize_i16 i16, I16 "i16";
        serialize_i32 i32, I32 "i32";
        serialize_i64 i64, I64 "i64";
        serialize_i128 i128, I128 "i128";
        serialize_u8 u8, U8 "u8";
        serialize_u16 u16, U16 "u16";
        serialize_u32 u32, U32 "u32";
        serialize_u64 u64, U64 "u64";
        serialize_u128 u128, U128 "u128";
        serialize_f32 f32, F32 "f32";
        serialize_f64 f64, F64 "f64";
        serialize_char char, Char "char";
        serialize_str &str, String "String";
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.scalar(&Type::String, "String")?;
        self.inner.collect_str(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        self.begin(None);
        self.position.bytes().map_err(refused)?;
        self.inner.serialize_bytes(value)
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.begin(None);
        // `()` also stands for the arguments of a function without parameters.
        if !matches!(self.position.enter(), Type::Tuple(types) if types.is_empty()) {
            self.position.scalar(&Type::Unit, "()").map_err(refused)?;
        }
        self.inner.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.begin(Some(name));
        self.position.scalar(&Type::Unit, name).map_err(refused)?;
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.begin(None);
        let Type::Option(_) = self.position.enter() else { return Err(self.differs()) };
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.begin(None);
        let Type::Option(inner) = self.position.enter() else { return Err(self.differs()) };
        self.inner.serialize_some(&Checked::part(value, self.position, inner))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.begin(Some(name));
        let value = Checked::part(value, self.position, self.position.named);
        self.inner.serialize_newtype_struct(name, &value)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        match self.variant(name, index, variant)? {
            Variant::UnitVariant => self.inner.serialize_unit_variant(name, index, variant),
            _ => Err(self.variant_differs(variant)),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let inner = match self.variant(name, index, variant)? {
            Variant::NewtypeVariant(inner) => inner,
            // The schema of `Result` declares its variants like this.
            Variant::TupleVariant(types) if types.len() == 1 => &types[0],
            _ => return Err(self.variant_differs(variant)),
        };
        let value = Checked::part(value, self.position, inner);
        let done = self.inner.serialize_newtype_variant(name, index, variant, &value);
        done.inspect_err(|_| self.position.trace.step(|| Step::Variant(variant.to_owned())))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.begin(None);
        let item = match self.position.enter() {
            Type::Seq(item) => &**item,
            Type::ByteArray => &BYTE,
            _ => return Err(self.differs()),
        };
        Ok(Compound::new(self.inner.serialize_seq(len)?, self.position, Parts::Elements(item)))
    }

    fn collect_seq<I>(self, items: I) -> Result<S::Ok, S::Error>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        if type_name::<I::Item>().trim_start_matches('&') == "u8" {
            // The encoder copies them with a single memcpy.
            self.begin(None);
            self.position.bytes().map_err(refused)?;
            return self.inner.collect_seq(items);
        }
        let mut items = items.into_iter();
        let len = match items.size_hint() {
            (least, Some(most)) if least == most => Some(least),
            _ => None,
        };
        let mut sequence = self.serialize_seq(len)?;
        items.try_for_each(|item| ser::SerializeSeq::serialize_element(&mut sequence, &item))?;
        ser::SerializeSeq::end(sequence)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let parts = self.tuple(None, len)?;
        Ok(Compound::new(self.inner.serialize_tuple(len)?, self.position, parts))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let parts = self.tuple(Some(name), len)?;
        Ok(Compound::new(self.inner.serialize_tuple_struct(name, len)?, self.position, parts))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let parts = match self.variant(name, index, variant)? {
            Variant::TupleVariant(types) if types.len() == len => Parts::Items(types),
            Variant::NewtypeVariant(inner) if len == 1 => {
                Parts::Items(std::slice::from_ref(&**inner))
            }
            _ => return Err(self.variant_differs(variant)),
        };
        let inner = self.inner.serialize_tuple_variant(name, index, variant, len)?;
        Ok(Compound::new(inner, self.position, parts).in_variant(variant))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.begin(None);
        let Type::Map { key, val } = self.position.enter() else { return Err(self.differs()) };
        Ok(Compound::new(self.inner.serialize_map(len)?, self.position, Parts::Entries(key, val)))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        // A variant of an untagged or internally tagged enum passes the enum's name, so it looks like a struct.
        self.position.trace.set_variable();
        let Type::Struct(fields) = self.position.enter() else { return Err(self.differs()) };
        let inner = self.inner.serialize_struct(name, len)?;
        Ok(Compound::new(inner, self.position, Parts::Fields(fields)))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let Variant::StructVariant(fields) = self.variant(name, index, variant)? else {
            return Err(self.variant_differs(variant));
        };
        let inner = self.inner.serialize_struct_variant(name, index, variant, len)?;
        Ok(Compound::new(inner, self.position, Parts::Fields(fields)).in_variant(variant))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}
