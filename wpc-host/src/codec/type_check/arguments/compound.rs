//! Serializes a value with parts while they are compared.

use super::{Checked, refused};
use crate::codec::type_check::position::{Position, Step, is_named};
use postcard_schema::schema::owned::{OwnedNamedType, OwnedNamedValue};
use serde::ser::{self, Serialize};

/// The declared types of a value's parts.
#[derive(Clone, Copy)]
pub(super) enum Parts<'a> {
    Elements(&'a OwnedNamedType),
    Items(&'a [OwnedNamedType]),
    Fields(&'a [OwnedNamedValue]),
    Entries(&'a OwnedNamedType, &'a OwnedNamedType),
}

pub(super) struct Compound<'a, C> {
    inner: C,
    position: Position<'a>,
    parts: Parts<'a>,
    /// The index of the next part.
    at: usize,
    variant: Option<&'static str>,
}

impl<'a, C> Compound<'a, C> {
    pub(super) fn new(inner: C, position: Position<'a>, parts: Parts<'a>) -> Self {
        Self { inner, position, parts, at: 0, variant: None }
    }

    pub(super) fn in_variant(self, variant: &'static str) -> Self {
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
        let differs = self.position.differs_in(expected, found);
        self.step_variant();
        refused(differs)
    }

    fn differs_as_a_whole<E: ser::Error>(&self) -> E {
        let differs = self.position.differs_as_a_whole();
        self.step_variant();
        refused(differs)
    }

    fn step_variant(&self) {
        if let Some(variant) = self.variant {
            self.position.trace.step(|| Step::Variant(variant.to_owned()));
        }
    }

    /// Adds the step to the part that was just serialized.
    fn step(&self) {
        let at = self.at.saturating_sub(1);
        self.position.trace.step(|| match self.parts {
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
        self.differs(format!("the field {field}"), "a skipped field".to_owned())
    }

    /// Checks that the value had all declared parts.
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
                let done = self.inner.$method(&Checked::part(value, self.position, declared));
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
                let value = Checked::part(value, self.position, declared);
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
