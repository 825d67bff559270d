//! Compares types and reports where they first differ.
//!
//! Two types agree if their values have the same bytes and the same meaning. The comparison ignores:
//!
//! * the names of types and of parameters;
//! * newtypes: only their content is compared;
//! * `usize` against `u32` and `isize` against `i32`, because a guest's addresses have 32 bits;
//! * byte arrays against `Vec<u8>`, tuples against tuple structs, `()` against unit structs, and a variant's only item
//!   against a tuple of that item.
//!
//! Names of fields and variants and their order must be equal: two swapped fields of one type would otherwise be
//! confused silently. A type that is not declared agrees with every type.
//!
//! The comparison takes time in proportion to the types, and text of a bounded length: modules choose their types, and hosts
//! compare them while other definitions wait.

mod difference;

use crate::section::{Items, Signature};
use crate::text::{short_name, short_type_text};
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
    OwnedNamedVariant,
};

pub use difference::Difference;

/// Whether the declared type is compared with a complete type or with one inferred from a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A complete type.
    Type,
    /// A type inferred from one value, whose other parts are [`unknown`].
    Value,
}

/// A part of a type that a value does not reveal, such as the items' type of an empty sequence.
///
/// In [`compare_value`] it agrees with every type. As a variant's content it stands for a variant that the value does
/// not have.
#[must_use]
pub fn unknown() -> OwnedNamedType {
    OwnedNamedType { name: "?".to_owned(), ty: Type::Schema }
}

/// Compares two types.
///
/// # Errors
///
/// The first [`Difference`].
pub fn compare(expected: &OwnedNamedType, found: &OwnedNamedType) -> Result<(), Difference> {
    types(expected, found, Mode::Type).map_err(|inner| inner.of(expected, found))
}

/// Compares a type with as much as one value reveals of its own type: [`unknown`] parts agree with every type, and an
/// enum needs only the variants up to the last one that the value has.
///
/// # Errors
///
/// The first [`Difference`].
pub fn compare_value(expected: &OwnedNamedType, found: &OwnedNamedType) -> Result<(), Difference> {
    types(expected, found, Mode::Value).map_err(|inner| inner.of(expected, found))
}

/// Compares two signatures: the number of parameters, their types, the result's and that of items. A type that either
/// signature does not declare is not compared.
///
/// # Errors
///
/// The first [`Difference`], in parameter N, in the result or in the items.
pub fn compare_signatures(expected: &Signature, found: &Signature) -> Result<(), Difference> {
    let (wanted, there) = (expected.arguments.len(), found.arguments.len());
    if wanted != there {
        let difference = Difference::here(count(wanted), count(there));
        return Err(difference.within("number of parameters"));
    }
    for (at, (expected, found)) in expected.arguments.iter().zip(&found.arguments).enumerate() {
        optional(expected.ty.as_ref(), found.ty.as_ref())
            .map_err(|difference| difference.within(&format!("parameter {}", at + 1)))?;
    }
    optional(expected.result.as_ref(), found.result.as_ref())
        .map_err(|difference| difference.within("result"))?;
    items(&expected.items, &found.items)
}

/// Compares the types of items. They are not compared if one of the functions yields no items.
fn items(expected: &Items, found: &Items) -> Result<(), Difference> {
    optional(expected.ty(), found.ty()).map_err(|difference| difference.within("items"))
}

fn count(number: usize) -> String {
    number.to_string()
}

fn optional(
    expected: Option<&OwnedNamedType>,
    found: Option<&OwnedNamedType>,
) -> Result<(), Difference> {
    match (expected, found) {
        (Some(expected), Some(found)) => compare(expected, found),
        _ => Ok(()),
    }
}

/// How two types differ.
enum Differs {
    /// The types differ as a whole. The innermost named part that contains them reports the difference for its complete type.
    AsAWhole,
    /// A named part of the types differs.
    Inside(Difference),
}

impl Differs {
    /// The difference of a part with these types.
    fn of(self, expected: &OwnedNamedType, found: &OwnedNamedType) -> Difference {
        match self {
            Self::AsAWhole => differ(content(expected), content(found)),
            Self::Inside(difference) => difference,
        }
    }
}

impl From<Difference> for Differs {
    fn from(difference: Difference) -> Self {
        Self::Inside(difference)
    }
}

/// A type without the newtypes around it.
fn content(mut named: &OwnedNamedType) -> &OwnedNamedType {
    while let Type::NewtypeStruct(inner) = &named.ty {
        named = inner;
    }
    named
}

fn types(expected: &OwnedNamedType, found: &OwnedNamedType, mode: Mode) -> Result<(), Differs> {
    use Type as T;
    match (&expected.ty, &found.ty) {
        (_, T::Schema) if mode == Mode::Value => Ok(()),
        (T::NewtypeStruct(inner), _) => types(inner, found, mode),
        (_, T::NewtypeStruct(inner)) => types(expected, inner, mode),
        (T::Usize, T::U32) | (T::U32, T::Usize) | (T::Isize, T::I32) | (T::I32, T::Isize) => Ok(()),
        (T::Unit | T::UnitStruct, T::Unit | T::UnitStruct) => Ok(()),
        (T::ByteArray, T::Seq(item)) | (T::Seq(item), T::ByteArray)
            if matches!(item.ty, T::U8) || (mode == Mode::Value && item.ty == T::Schema) =>
        {
            Ok(())
        }
        (T::Option(expected), T::Option(found)) | (T::Seq(expected), T::Seq(found)) => {
            types(expected, found, mode)
        }
        (
            T::Tuple(expected_items) | T::TupleStruct(expected_items),
            T::Tuple(found_items) | T::TupleStruct(found_items),
        ) if expected_items.len() == found_items.len() => {
            let mut pairs = expected_items.iter().zip(found_items);
            pairs.try_for_each(|(expected, found)| types(expected, found, mode))
        }
        (T::Map { key, val }, T::Map { key: found_key, val: found_val }) => {
            types(key, found_key, mode)?;
            types(val, found_val, mode)
        }
        (T::Struct(fields), T::Struct(found)) => {
            Ok(fields_of(&expected.name, fields, found, mode)?)
        }
        (T::Enum(variants), T::Enum(found)) => {
            Ok(variants_of(&expected.name, variants, found, mode)?)
        }
        (one, other) if one == other => Ok(()),
        _ => Err(Differs::AsAWhole),
    }
}

/// The difference of two types as a whole. Types of the same name are shown with their kinds.
fn differ(expected: &OwnedNamedType, found: &OwnedNamedType) -> Difference {
    let [one, other] = [expected, found].map(short_type_text);
    if one == other {
        let (expected, found) = (kind(expected), kind(found));
        return Difference::here(format!("`{one}` ({expected})"), format!("`{other}` ({found})"));
    }
    Difference::here(format!("`{one}`"), format!("`{other}`"))
}

fn kind(named: &OwnedNamedType) -> &'static str {
    match &named.ty {
        Type::Option(_) => "an option",
        Type::NewtypeStruct(_) => "a newtype",
        Type::UnitStruct => "a unit struct",
        Type::Seq(_) => "a sequence",
        Type::Tuple(_) | Type::TupleStruct(_) => "a tuple",
        Type::Map { .. } => "a map",
        Type::Struct(_) => "a struct",
        Type::Enum(_) => "an enum",
        _ => "a primitive type",
    }
}

/// Compares the fields of the struct or variant `owner`.
fn fields_of(
    owner: &str,
    expected: &[OwnedNamedValue],
    found: &[OwnedNamedValue],
    mode: Mode,
) -> Result<(), Difference> {
    for at in 0..expected.len().max(found.len()) {
        let number = at + 1;
        let owner = || short_name(owner);
        let shown = |field: &OwnedNamedValue| format!("`{}`", short_type_text(&field.ty));
        let part = |field: &OwnedNamedValue| {
            format!("field `{}` of `{}`", shown_name(&field.name), owner())
        };
        match (expected.get(at), found.get(at)) {
            (Some(one), Some(other)) if plain(&one.name) == plain(&other.name) => {
                types(&one.ty, &other.ty, mode)
                    .map_err(|inner| inner.of(&one.ty, &other.ty).within(&part(one)))?;
            }
            (Some(one), Some(other)) => {
                let [one, other] =
                    [one, other].map(|field| format!("`{}`", shown_name(&field.name)));
                let part = format!("field {number} of `{}`", owner());
                return Err(Difference::here(one, other).within(&part));
            }
            (Some(one), None) => {
                let difference = Difference::here(shown(one), "no such field".to_owned());
                return Err(difference.within(&part(one)));
            }
            (None, Some(other)) => {
                let difference = Difference::here("no such field".to_owned(), shown(other));
                return Err(difference.within(&part(other)));
            }
            (None, None) => {}
        }
    }
    Ok(())
}

fn variants_of(
    owner: &str,
    expected: &[OwnedNamedVariant],
    found: &[OwnedNamedVariant],
    mode: Mode,
) -> Result<(), Difference> {
    for at in 0..expected.len().max(found.len()) {
        let owner = || short_name(owner);
        let part = |variant: &OwnedNamedVariant| {
            format!("variant `{}` of `{}`", shown_name(&variant.name), owner())
        };
        let none = || "no such variant".to_owned();
        let there = || "a variant".to_owned();
        match (expected.get(at), found.get(at)) {
            (_, Some(other)) if mode == Mode::Value && is_unknown(other) => {}
            (Some(one), Some(other)) if plain(&one.name) == plain(&other.name) => {
                contents(one, other, mode).map_err(|difference| difference.within(&part(one)))?;
            }
            (Some(one), Some(other)) => {
                let [one, other] =
                    [one, other].map(|variant| format!("`{}`", shown_name(&variant.name)));
                let part = format!("variant {} of `{}`", at + 1, owner());
                return Err(Difference::here(one, other).within(&part));
            }
            // A value reveals no variants after its own.
            (Some(_), None) if mode == Mode::Value => {}
            (Some(one), None) => return Err(Difference::here(there(), none()).within(&part(one))),
            (None, Some(other)) => {
                return Err(Difference::here(none(), there()).within(&part(other)));
            }
            (None, None) => {}
        }
    }
    Ok(())
}

fn is_unknown(variant: &OwnedNamedVariant) -> bool {
    matches!(&variant.ty, Variant::NewtypeVariant(inner) if inner.ty == Type::Schema)
}

fn contents(
    expected: &OwnedNamedVariant,
    found: &OwnedNamedVariant,
    mode: Mode,
) -> Result<(), Difference> {
    use Variant as V;
    match (&expected.ty, &found.ty) {
        (V::UnitVariant, V::UnitVariant) => Ok(()),
        (V::NewtypeVariant(_) | V::TupleVariant(_), V::NewtypeVariant(_) | V::TupleVariant(_))
            if unnamed(expected).len() == unnamed(found).len() =>
        {
            let mut pairs = unnamed(expected).iter().zip(unnamed(found));
            pairs.try_for_each(|(expected, found)| {
                types(expected, found, mode).map_err(|inner| inner.of(expected, found))
            })
        }
        (V::StructVariant(fields), V::StructVariant(found)) => {
            fields_of(&expected.name, fields, found, mode)
        }
        _ => Err(Difference::here(content_text(&expected.ty), content_text(&found.ty))),
    }
}

/// A variant's unnamed items. A single item is not a tuple.
fn unnamed(variant: &OwnedNamedVariant) -> &[OwnedNamedType] {
    match &variant.ty {
        Variant::NewtypeVariant(inner) => core::slice::from_ref(inner),
        Variant::TupleVariant(items) => items,
        Variant::UnitVariant | Variant::StructVariant(_) => &[],
    }
}

fn content_text(variant: &Variant) -> String {
    match variant {
        Variant::UnitVariant => "no content".to_owned(),
        Variant::NewtypeVariant(inner) => format!("`{}`", short_type_text(inner)),
        Variant::TupleVariant(items) => format!("{} items", items.len()),
        Variant::StructVariant(_) => "fields".to_owned(),
    }
}

/// A name without the `r#` of a raw identifier.
fn plain(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// A [`plain`] name in text.
fn shown_name(name: &str) -> String {
    short_name(plain(name))
}

#[cfg(test)]
mod tests;
