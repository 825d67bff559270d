//! Decodes a value with parts while they are compared.

use super::{Reader, Unreadable};
use crate::codec::decode::Payment;
use crate::codec::type_check::position::Step;
use postcard_schema::schema::owned::{
    OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
};
use serde::de::{
    self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use std::any::type_name;

/// The declared types of a value's parts, with the number of parts if the bytes contain it.
#[derive(Clone, Copy)]
pub(super) enum Parts<'a> {
    Elements(&'a OwnedNamedType, usize),
    Items(&'a [OwnedNamedType]),
    Fields(&'a [OwnedNamedValue]),
    Entries(&'a OwnedNamedType, &'a OwnedNamedType, usize),
}

pub(super) struct Items<'a, 'de> {
    pub(super) reader: Reader<'a, 'de>,
    pub(super) parts: Parts<'a>,
    /// The index of the next part.
    pub(super) at: usize,
    /// When the elements or entries are deducted from the budget.
    pub(super) payment: Payment,
}

impl<'a, 'de> Items<'a, 'de> {
    pub(super) fn visit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unreadable> {
        let value = visitor.visit_seq(&mut self)?;
        match self.parts {
            Parts::Fields(fields) if self.at < fields.len() => {
                let (expected, found) = (&fields[self.at].name, format!("{} fields", self.at));
                Err(self.reader.position.differs_in(format!("the field {expected}"), found).into())
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
        if let Payment::Each = self.payment {
            self.reader
                .budget
                .pay(size_of::<S::Value>())
                .map_err(<Unreadable as de::Error>::custom)?;
        }
        let part = self.reader.part(declared, type_name::<S::Value>());
        seed.deserialize(part).inspect_err(|_| self.reader.position.trace.step(|| step))
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
                // A further field would be read from the bytes after the structure.
                None => {
                    let expected = format!("no more than {at} fields");
                    return Err(self.reader.position.differs_in(expected, "another field").into());
                }
            },
            _ => return Ok(None),
        };
        self.read(declared, step, seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        match self.parts {
            Parts::Elements(..) if matches!(self.payment, Payment::Each) => None,
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

/// The variant that the bytes contain.
pub(super) struct Chosen<'a, 'de> {
    pub(super) reader: Reader<'a, 'de>,
    pub(super) at: u32,
    /// Its name, if the caller's variants may have other numbers.
    pub(super) name: Option<&'a str>,
    pub(super) holds: &'a Variant,
}

impl<'a, 'de> EnumAccess<'de> for Chosen<'a, 'de> {
    type Error = Unreadable;
    type Variant = VariantContent<'a, 'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Unreadable> {
        let variant = match self.name {
            Some(name) => seed.deserialize(IntoDeserializer::<Unreadable>::into_deserializer(name)),
            None => seed.deserialize(self.at.into_deserializer()),
        };
        Ok((variant?, VariantContent { reader: self.reader, holds: self.holds }))
    }
}

/// The content of a variant.
pub(super) struct VariantContent<'a, 'de> {
    pub(super) reader: Reader<'a, 'de>,
    pub(super) holds: &'a Variant,
}

impl<'de> VariantAccess<'de> for VariantContent<'_, 'de> {
    type Error = Unreadable;

    fn unit_variant(self) -> Result<(), Unreadable> {
        match self.holds {
            Variant::UnitVariant => Ok(()),
            _ => Err(self
                .reader
                .position
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
            // The schema of `Result` declares its variants like this.
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
