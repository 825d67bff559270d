//! Checks arguments while they are encoded: each value is read once.

use super::place::{BYTE, Differs, Place, Step, Trace, address, is_named};
use super::rust_type::has_one_shape;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
};
use serde::ser::{self, Serialize, Serializer};
use std::any::type_name;
use std::fmt::Display;

/// A value that is compared with a declared type while it is serialized. Where they differ it does not serialize, and
/// the trace has the reason.
pub(crate) struct Checked<'a, T: ?Sized> {
    value: &'a T,
    place: Place<'a>,
}

impl<'a, T: Serialize + ?Sized> Checked<'a, T> {
    pub(super) fn new(value: &'a T, declared: &'a OwnedNamedType, trace: &'a Trace) -> Self {
        Self { value, place: Place { named: declared, rust: type_name::<T>(), trace } }
    }

    fn part(value: &'a T, place: Place<'a>, named: &'a OwnedNamedType) -> Self {
        Self { value, place: place.of(named, type_name::<T>()) }
    }
}

impl<T: Serialize + ?Sized> Serialize for Checked<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.place.named.ty {
            // Not declared, see `Declared`.
            Type::Schema => {
                self.place.trace.see_type(self.place.named);
                self.value.serialize(serializer)
            }
            _ => self.value.serialize(Checker { inner: serializer, place: self.place }),
        }
    }
}

struct Checker<'a, S> {
    inner: S,
    place: Place<'a>,
}

fn refused<E: ser::Error>(_: Differs) -> E {
    E::custom("the types differ")
}

impl<'a, S: Serializer> Checker<'a, S> {
    /// Takes note of a value whose `Serialize` calls itself `name`, if it has a name.
    fn begin(&self, name: Option<&str>) {
        if !has_one_shape(self.place.rust, name) {
            self.place.trace.set_variable();
        }
    }

    fn scalar(&self, found: &Type, name: &'static str) -> Result<(), S::Error> {
        self.begin(None);
        self.place.scalar(found, name).map_err(refused)
    }

    fn differs(&self) -> S::Error {
        refused(self.place.differs_as_a_whole())
    }

    fn tuple(&self, name: Option<&str>, len: usize) -> Result<Parts<'a>, S::Error> {
        self.begin(name);
        match self.place.enter() {
            Type::Tuple(types) | Type::TupleStruct(types) if types.len() == len => {
                Ok(Parts::Items(types))
            }
            _ => Err(self.differs()),
        }
    }

    /// What the variant holds, if it is declared under this number and name.
    fn variant(&self, name: &str, index: u32, variant: &str) -> Result<&'a Variant, S::Error> {
        self.begin(Some(name));
        let Type::Enum(variants) = self.place.enter() else { return Err(self.differs()) };
        let declared = usize::try_from(index).ok().and_then(|index| variants.get(index));
        let Some(declared) = declared.filter(|declared| is_named(&declared.name, variant)) else {
            let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
            let expected = format!("one of {}", names.join(", "));
            let found = format!("{variant} (number {index})");
            return Err(refused(self.place.differs_in(expected, found)));
        };
        self.place.trace.see(address(declared));
        Ok(&declared.ty)
    }

    fn variant_differs(&self, variant: &'static str) -> S::Error {
        let differs = self.place.differs_in(format!("another form of {variant}"), variant);
        self.place.trace.step(|| Step::Variant(variant.to_owned()));
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
        self.place.bytes().map_err(refused)?;
        self.inner.serialize_bytes(value)
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.begin(None);
        // The arguments of a function without parameters.
        if !matches!(self.place.enter(), Type::Tuple(types) if types.is_empty()) {
            self.place.scalar(&Type::Unit, "()").map_err(refused)?;
        }
        self.inner.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.begin(Some(name));
        self.place.scalar(&Type::Unit, name).map_err(refused)?;
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.begin(None);
        let Type::Option(_) = self.place.enter() else { return Err(self.differs()) };
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.begin(None);
        let Type::Option(inner) = self.place.enter() else { return Err(self.differs()) };
        self.inner.serialize_some(&Checked::part(value, self.place, inner))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.begin(Some(name));
        let value = Checked::part(value, self.place, self.place.named);
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
            // As the schema of `Result` has it.
            Variant::TupleVariant(types) if types.len() == 1 => &types[0],
            _ => return Err(self.variant_differs(variant)),
        };
        let value = Checked::part(value, self.place, inner);
        let done = self.inner.serialize_newtype_variant(name, index, variant, &value);
        done.inspect_err(|_| self.place.trace.step(|| Step::Variant(variant.to_owned())))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.begin(None);
        let item = match self.place.enter() {
            Type::Seq(item) => &**item,
            Type::ByteArray => &BYTE,
            _ => return Err(self.differs()),
        };
        Ok(Compound::new(self.inner.serialize_seq(len)?, self.place, Parts::Elements(item)))
    }

    fn collect_seq<I>(self, items: I) -> Result<S::Ok, S::Error>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        if type_name::<I::Item>().trim_start_matches('&') == "u8" {
            // The encoder writes them in one piece.
            self.begin(None);
            self.place.bytes().map_err(refused)?;
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
        Ok(Compound::new(self.inner.serialize_tuple(len)?, self.place, parts))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let parts = self.tuple(Some(name), len)?;
        Ok(Compound::new(self.inner.serialize_tuple_struct(name, len)?, self.place, parts))
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
        Ok(Compound::new(inner, self.place, parts).in_variant(variant))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.begin(None);
        let Type::Map { key, val } = self.place.enter() else { return Err(self.differs()) };
        Ok(Compound::new(self.inner.serialize_map(len)?, self.place, Parts::Entries(key, val)))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.begin(Some(name));
        let Type::Struct(fields) = self.place.enter() else { return Err(self.differs()) };
        let inner = self.inner.serialize_struct(name, len)?;
        Ok(Compound::new(inner, self.place, Parts::Fields(fields)))
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
        Ok(Compound::new(inner, self.place, Parts::Fields(fields)).in_variant(variant))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// What a value with parts is declared to hold.
#[derive(Clone, Copy)]
enum Parts<'a> {
    Elements(&'a OwnedNamedType),
    Items(&'a [OwnedNamedType]),
    Fields(&'a [OwnedNamedValue]),
    Entries(&'a OwnedNamedType, &'a OwnedNamedType),
}

struct Compound<'a, C> {
    inner: C,
    place: Place<'a>,
    parts: Parts<'a>,
    /// Which part is next.
    at: usize,
    variant: Option<&'static str>,
}

impl<'a, C> Compound<'a, C> {
    fn new(inner: C, place: Place<'a>, parts: Parts<'a>) -> Self {
        Self { inner, place, parts, at: 0, variant: None }
    }

    fn in_variant(self, variant: &'static str) -> Self {
        Self { variant: Some(variant), ..self }
    }

    /// The next part's type and the step to it.
    fn part<E: ser::Error>(&mut self, field: Option<&str>) -> Result<&'a OwnedNamedType, E> {
        let at = self.at;
        self.at += 1;
        let declared = match (self.parts, field) {
            (Parts::Elements(item), None) => Some(item),
            (Parts::Items(types), None) => types.get(at),
            (Parts::Entries(key, value), None) => {
                Some(if at.is_multiple_of(2) { key } else { value })
            }
            (Parts::Fields(fields), Some(field)) => match fields.get(at) {
                Some(declared) if is_named(&declared.name, field) => Some(&declared.ty),
                declared => {
                    let expected = declared.map_or_else(
                        || format!("no more than {} fields", fields.len()),
                        |declared| format!("the field {}", declared.name),
                    );
                    return Err(self.differs(expected, format!("the field {field}")));
                }
            },
            _ => None,
        };
        declared.ok_or_else(|| self.differs_as_a_whole())
    }

    fn differs<E: ser::Error>(&self, expected: String, found: String) -> E {
        let differs = self.place.differs_in(expected, found);
        self.step_variant();
        refused(differs)
    }

    fn differs_as_a_whole<E: ser::Error>(&self) -> E {
        let differs = self.place.differs_as_a_whole();
        self.step_variant();
        refused(differs)
    }

    fn step_variant(&self) {
        if let Some(variant) = self.variant {
            self.place.trace.step(|| Step::Variant(variant.to_owned()));
        }
    }

    /// Adds the way to the part that was just serialized.
    fn step(&self) {
        let at = self.at.saturating_sub(1);
        self.place.trace.step(|| match self.parts {
            Parts::Elements(_) => Step::Element(at),
            Parts::Items(_) => Step::Item(at),
            Parts::Entries(..) if at.is_multiple_of(2) => Step::Key,
            Parts::Entries(..) => Step::Value,
            Parts::Fields(fields) => {
                Step::Field(fields.get(at).map(|field| field.name.clone()).unwrap_or_default())
            }
        });
        self.step_variant();
    }

    fn skip<E: ser::Error>(&self, field: &str) -> E {
        self.differs(format!("the field {field}"), "a field that is skipped".to_owned())
    }

    /// Whether all is there that is declared.
    fn finish<E: ser::Error>(&self) -> Result<(), E> {
        match self.parts {
            Parts::Fields(fields) if self.at < fields.len() => {
                let expected = format!("the field {}", fields[self.at].name);
                Err(self.differs(expected, format!("{} fields", self.at)))
            }
            Parts::Items(types) if self.at < types.len() => Err(self.differs_as_a_whole()),
            _ => Ok(()),
        }
    }
}

macro_rules! compounds {
    ($($trait:ident $($method:ident)*;)*) => {
        $(impl<'a, C: ser::$trait> ser::$trait for Compound<'a, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            $(fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                let declared = self.part(None)?;
                let done = self.inner.$method(&Checked::part(value, self.place, declared));
                done.inspect_err(|_| self.step())
            })*

            fn end(self) -> Result<C::Ok, C::Error> {
                self.finish()?;
                self.inner.end()
            }
        })*
    };
}

compounds! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
    SerializeMap serialize_key serialize_value;
}

macro_rules! structs {
    ($($trait:ident)*) => {
        $(impl<'a, C: ser::$trait> ser::$trait for Compound<'a, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), C::Error> {
                let declared = self.part(Some(name))?;
                let value = Checked::part(value, self.place, declared);
                self.inner.serialize_field(name, &value).inspect_err(|_| self.step())
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), C::Error> {
                Err(self.skip(name))
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.finish()?;
                self.inner.end()
            }
        })*
    };
}

structs! { SerializeStruct SerializeStructVariant }
