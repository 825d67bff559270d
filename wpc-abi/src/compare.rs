//! Whether two types are the same to callers, and where they first differ.
//!
//! Two types agree if their values have the same bytes and mean the same. These may differ:
//!
//! * the names of types, and of parameters;
//! * newtypes, which are their content;
//! * `usize` and `u32`, `isize` and `i32`: a guest's addresses have 32 bits;
//! * byte arrays and `Vec<u8>`, tuples and tuple structs, `()` and unit structs, a variant's only item and a tuple of it.
//!
//! Names of fields and variants and their order must be equal: two fields of one type that changed places would
//! otherwise be mixed up silently. A type that is not declared agrees with every type.

use crate::section::Signature;
use crate::text::type_text;
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
    OwnedNamedVariant,
};

/// The first place in which two types differ.
///
/// ```
/// use wpc_abi::compare::compare_signatures;
/// use wpc_abi::text::parse_signature;
///
/// let expected = parse_signature("stem", "(word: u32) -> u64").unwrap();
/// let found = parse_signature("stem", "(word: String) -> String").unwrap();
/// let difference = compare_signatures(&expected, &found).unwrap_err();
/// assert_eq!(difference.to_string(), "parameter 1: expected `u32`, found `String`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Where, from the outside in, such as ``parameter 1, field `tags` of `Comment` ``; empty for a type as a whole.
    pub place: String,
    /// What is expected there, such as `` `u32` ``.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Difference {
    fn here(expected: String, found: String) -> Self {
        Self { place: String::new(), expected, found }
    }

    /// The same difference, seen from outside of `place`.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        let place = match self.place.as_str() {
            "" => place.to_owned(),
            inner => format!("{place}, {inner}"),
        };
        Self { place, ..self }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, expected, found } = self;
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        write!(f, "expected {expected}, found {found}")
    }
}

impl core::error::Error for Difference {}

/// What is compared with an expected type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A type.
    Type,
    /// What one value shows of its type, see [`unknown`].
    Value,
}

/// A part of a type that a value does not show, such as the items' type of an empty sequence.
///
/// [`compare_value`] lets it agree with every type. As a variant's content it stands for a variant that the value
/// does not have.
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
    types(expected, found, Mode::Type)
}

/// Compares a type with what one value shows of its own: parts that are [`unknown`] agree with everything, and of an
/// enum there need only be the variants up to the last one that the value has.
///
/// # Errors
///
/// The first [`Difference`].
pub fn compare_value(expected: &OwnedNamedType, found: &OwnedNamedType) -> Result<(), Difference> {
    types(expected, found, Mode::Value)
}

/// Compares two signatures: the number of parameters, their types and the result's. Types that one of both does not
/// declare are not compared.
///
/// # Errors
///
/// The first [`Difference`], in parameter N or in the result.
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
        .map_err(|difference| difference.within("result"))
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

fn types(expected: &OwnedNamedType, found: &OwnedNamedType, mode: Mode) -> Result<(), Difference> {
    use Type as T;
    // A difference inside of a type that has no name, such as `Option<u32>`, is shown with that type.
    let whole = |result: Result<(), Difference>| {
        result.map_err(|inner| if inner.place.is_empty() { differ(expected, found) } else { inner })
    };
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
            whole(types(expected, found, mode))
        }
        (
            T::Tuple(expected_items) | T::TupleStruct(expected_items),
            T::Tuple(found_items) | T::TupleStruct(found_items),
        ) if expected_items.len() == found_items.len() => {
            whole(items(expected_items, found_items, mode))
        }
        (T::Map { key, val }, T::Map { key: found_key, val: found_val }) => {
            whole(types(key, found_key, mode).and_then(|()| types(val, found_val, mode)))
        }
        (T::Struct(fields), T::Struct(found)) => fields_of(&expected.name, fields, found, mode),
        (T::Enum(variants), T::Enum(found)) => variants_of(&expected.name, variants, found, mode),
        (one, other) if one == other => Ok(()),
        _ => Err(differ(expected, found)),
    }
}

/// Two types that differ as a whole. Equal names alone would not show how.
fn differ(expected: &OwnedNamedType, found: &OwnedNamedType) -> Difference {
    let [one, other] = [expected, found].map(type_text);
    if one == other {
        let [one, other] =
            [expected, found].map(|ty| format!("`{}` ({})", type_text(ty), kind(ty)));
        return Difference::here(one, other);
    }
    Difference::here(format!("`{one}`"), format!("`{other}`"))
}

fn kind(named: &OwnedNamedType) -> &'static str {
    match &named.ty {
        Type::Option(_) => "an option",
        Type::NewtypeStruct(_) => "a newtype",
        Type::UnitStruct => "a unit structure",
        Type::Seq(_) => "a sequence",
        Type::Tuple(_) | Type::TupleStruct(_) => "a tuple",
        Type::Map { .. } => "a map",
        Type::Struct(_) => "a structure",
        Type::Enum(_) => "an enum",
        _ => "a primitive type",
    }
}

fn items(
    expected: &[OwnedNamedType],
    found: &[OwnedNamedType],
    mode: Mode,
) -> Result<(), Difference> {
    expected.iter().zip(found).try_for_each(|(expected, found)| types(expected, found, mode))
}

/// The fields of a structure or a variant, `owner`.
fn fields_of(
    owner: &str,
    expected: &[OwnedNamedValue],
    found: &[OwnedNamedValue],
    mode: Mode,
) -> Result<(), Difference> {
    for at in 0..expected.len().max(found.len()) {
        let number = at + 1;
        let shown = |field: &OwnedNamedValue| format!("`{}`", type_text(&field.ty));
        let place =
            |field: &OwnedNamedValue| format!("field `{}` of `{owner}`", plain(&field.name));
        match (expected.get(at), found.get(at)) {
            (Some(one), Some(other)) if plain(&one.name) == plain(&other.name) => {
                types(&one.ty, &other.ty, mode)
                    .map_err(|difference| difference.within(&place(one)))?;
            }
            (Some(one), Some(other)) => {
                let [one, other] = [one, other].map(|field| format!("`{}`", plain(&field.name)));
                let place = format!("field {number} of `{owner}`");
                return Err(Difference::here(one, other).within(&place));
            }
            (Some(one), None) => {
                let difference = Difference::here(shown(one), "no such field".to_owned());
                return Err(difference.within(&place(one)));
            }
            (None, Some(other)) => {
                let difference = Difference::here("no such field".to_owned(), shown(other));
                return Err(difference.within(&place(other)));
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
        let place = |variant: &OwnedNamedVariant| {
            format!("variant `{}` of `{owner}`", plain(&variant.name))
        };
        let none = || "no such variant".to_owned();
        let there = || "a variant".to_owned();
        match (expected.get(at), found.get(at)) {
            (_, Some(other)) if mode == Mode::Value && is_unknown(other) => {}
            (Some(one), Some(other)) if plain(&one.name) == plain(&other.name) => {
                contents(one, other, mode).map_err(|difference| difference.within(&place(one)))?;
            }
            (Some(one), Some(other)) => {
                let [one, other] =
                    [one, other].map(|variant| format!("`{}`", plain(&variant.name)));
                let place = format!("variant {} of `{owner}`", at + 1);
                return Err(Difference::here(one, other).within(&place));
            }
            // A value has no variant that it does not show.
            (Some(_), None) if mode == Mode::Value => {}
            (Some(one), None) => return Err(Difference::here(there(), none()).within(&place(one))),
            (None, Some(other)) => {
                return Err(Difference::here(none(), there()).within(&place(other)));
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
            items(unnamed(expected), unnamed(found), mode)
        }
        (V::StructVariant(fields), V::StructVariant(found)) => {
            fields_of(&expected.name, fields, found, mode)
        }
        _ => Err(Difference::here(content_text(&expected.ty), content_text(&found.ty))),
    }
}

/// A variant's items without names; one item is no tuple.
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
        Variant::NewtypeVariant(inner) => format!("`{}`", type_text(inner)),
        Variant::TupleVariant(items) => format!("{} items", items.len()),
        Variant::StructVariant(_) => "fields".to_owned(),
    }
}

/// A name without the mark of a raw identifier, which is not part of it.
fn plain(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Schema;
    use crate::text::{parse_signature, parse_type};
    use alloc::vec::Vec;
    use alloc::{boxed::Box, vec};
    use postcard_schema::schema::NamedType;

    fn owned(schema: &NamedType) -> OwnedNamedType {
        schema.into()
    }

    fn told(expected: &OwnedNamedType, found: &OwnedNamedType) -> String {
        compare(expected, found).unwrap_err().to_string()
    }

    mod one {
        use super::*;

        #[derive(Schema)]
        #[expect(dead_code, reason = "only its schema is of interest")]
        pub(super) struct Comment {
            author: String,
            tags: Vec<String>,
        }

        #[derive(Schema)]
        #[expect(dead_code, reason = "only its schema is of interest")]
        pub(super) enum Order {
            Nothing,
            Buy(Comment),
            Pair(u8, u8),
            Named { count: u32 },
        }
    }

    mod other {
        use super::*;

        #[derive(Schema)]
        #[expect(dead_code, reason = "only its schema is of interest")]
        pub(super) struct Comment {
            author: String,
            tags: u32,
        }

        #[derive(Schema)]
        #[expect(dead_code, reason = "only its schema is of interest")]
        pub(super) enum Order {
            Nothing,
            Buy(Comment),
        }
    }

    #[test]
    fn names_of_types_newtypes_and_ways_to_write_the_same_bytes_do_not_matter() {
        #[derive(Schema)]
        #[expect(dead_code, reason = "only its schema is of interest")]
        struct Meters(u32);
        #[derive(Schema)]
        struct Nothing;
        #[derive(Schema)]
        #[expect(dead_code, reason = "only its schema is of interest")]
        struct Pair(u8, String);
        #[derive(Schema)]
        #[expect(dead_code, reason = "only its schema is of interest")]
        enum Outcome {
            Ok(u8),
            Err(()),
        }
        for (expected, found) in [
            (<&str>::SCHEMA, String::SCHEMA),
            (<Vec<Meters>>::SCHEMA, <Vec<u32>>::SCHEMA),
            (<()>::SCHEMA, Nothing::SCHEMA),
            (<(u8, &str)>::SCHEMA, Pair::SCHEMA),
            // The crate that declares `Result` makes a tuple of one item; a derive does not.
            (<Result<u8, ()>>::SCHEMA, Outcome::SCHEMA),
        ] {
            assert_eq!(compare(&owned(expected), &owned(found)), Ok(()));
            assert_eq!(compare(&owned(found), &owned(expected)), Ok(()));
        }
        for (size, fixed) in [("usize", "u32"), ("isize", "i32")] {
            let [size, fixed] = [size, fixed].map(|text| parse_type(text).unwrap());
            assert_eq!(compare(&size, &fixed), Ok(()));
            assert_eq!(compare(&fixed, &size), Ok(()));
        }
        let bytes = OwnedNamedType { name: "bytes".into(), ty: Type::ByteArray };
        assert_eq!(compare(&bytes, &owned(<Vec<u8>>::SCHEMA)), Ok(()));
    }

    #[test]
    fn the_first_place_that_differs_is_named() {
        let comment = [one::Comment::SCHEMA, other::Comment::SCHEMA].map(owned);
        assert_eq!(
            told(&comment[0], &comment[1]),
            "field `tags` of `Comment`: expected `Vec<String>`, found `u32`"
        );
        assert_eq!(
            told(&owned(<Vec<one::Order>>::SCHEMA), &owned(<Vec<other::Order>>::SCHEMA)),
            "variant `Buy` of `Order`, field `tags` of `Comment`: expected `Vec<String>`, found `u32`"
        );
        assert_eq!(
            told(&owned(<Option<u32>>::SCHEMA), &owned(<Option<u64>>::SCHEMA)),
            "expected `Option<u32>`, found `Option<u64>`"
        );
        let ty = |text| parse_type(text).unwrap();
        for (expected, found, difference) in [
            ("u32", "i64", "expected `u32`, found `i64`"),
            ("(u8, u8)", "(u8, u8, u8)", "expected `(u8, u8)`, found `(u8, u8, u8)`"),
            (
                "Map<String, u8>",
                "Map<String, i8>",
                "expected `Map<String, u8>`, found `Map<String, i8>`",
            ),
            ("P { x: u8, y: u8 }", "P { y: u8, x: u8 }", "field 1 of `P`: expected `x`, found `y`"),
            (
                "P { x: u8, y: u8 }",
                "P { x: u8 }",
                "field `y` of `P`: expected `u8`, found no such field",
            ),
            (
                "P { x: u8 }",
                "P { x: u8, y: u8 }",
                "field `y` of `P`: expected no such field, found `u8`",
            ),
        ] {
            assert_eq!(told(&ty(expected), &ty(found)), difference);
        }
        let variant = |name: &str, ty| OwnedNamedVariant { name: name.into(), ty };
        let of = |variants| OwnedNamedType { name: "E".into(), ty: Type::Enum(variants) };
        let unit = |name| variant(name, Variant::UnitVariant);
        let holds = |name| variant(name, Variant::NewtypeVariant(Box::new(ty("u8"))));
        for (expected, found, difference) in [
            (vec![unit("A")], vec![unit("B")], "variant 1 of `E`: expected `A`, found `B`"),
            (
                vec![unit("A")],
                vec![],
                "variant `A` of `E`: expected a variant, found no such variant",
            ),
            (
                vec![],
                vec![unit("A")],
                "variant `A` of `E`: expected no such variant, found a variant",
            ),
            (
                vec![unit("A")],
                vec![holds("A")],
                "variant `A` of `E`: expected no content, found `u8`",
            ),
        ] {
            assert_eq!(told(&of(expected), &of(found)), difference);
        }
        assert_eq!(
            told(&ty("P { x: u8 }"), &OwnedNamedType { name: "P".into(), ty: Type::UnitStruct }),
            "expected `P` (a structure), found `P` (a unit structure)"
        );
    }

    #[test]
    fn signatures_differ_in_a_parameter_or_the_result() {
        let signature = |text| parse_signature("f", text).unwrap();
        let told = |expected, found| {
            compare_signatures(&signature(expected), &signature(found)).unwrap_err().to_string()
        };
        assert_eq!(
            told("(a: u8, b: u32)", "(a: u8, b: P { x: u8 })"),
            "parameter 2: expected `u32`, found `P`"
        );
        assert_eq!(
            told("(a: P { x: u8 })", "(a: P { x: i8 })"),
            "parameter 1, field `x` of `P`: expected `u8`, found `i8`"
        );
        assert_eq!(told("() -> u8", "() -> ()"), "result: expected `u8`, found `()`");
        assert_eq!(told("(a: u8)", "()"), "number of parameters: expected 1, found 0");
        let mut untold = signature("(other: u8) -> u8");
        untold.result = None;
        assert_eq!(compare_signatures(&signature("(a: u8) -> String"), &untold), Ok(()));
    }

    #[test]
    fn what_a_value_does_not_show_agrees_with_everything() {
        let seq = OwnedNamedType { name: "Vec".into(), ty: Type::Seq(Box::new(unknown())) };
        let expected = owned(<Vec<String>>::SCHEMA);
        assert_eq!(compare_value(&expected, &seq), Ok(()));
        assert!(compare(&expected, &seq).is_err());
        assert!(compare_value(&owned(u8::SCHEMA), &seq).is_err());

        let pair = |name: &str, items: Vec<_>| {
            let hidden = |_| OwnedNamedVariant {
                name: "?".into(),
                ty: Variant::NewtypeVariant(Box::new(unknown())),
            };
            let shown = OwnedNamedVariant { name: name.into(), ty: Variant::TupleVariant(items) };
            let variants = (0..2).map(hidden).chain([shown]).collect();
            OwnedNamedType { name: "Order".into(), ty: Type::Enum(variants) }
        };
        let expected = owned(one::Order::SCHEMA);
        let bytes = || vec![owned(u8::SCHEMA), owned(u8::SCHEMA)];
        assert_eq!(compare_value(&expected, &pair("Pair", bytes())), Ok(()));
        assert!(compare_value(&expected, &pair("Couple", bytes())).is_err());
        assert!(compare_value(&expected, &pair("Pair", vec![unknown()])).is_err());
        assert!(compare_value(&owned(other::Order::SCHEMA), &pair("Pair", bytes())).is_err());
    }
}
