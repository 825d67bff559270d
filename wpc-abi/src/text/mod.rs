//! Formats and parses types and signatures in Rust's syntax, such as `(path: String, depth: u32) -> Vec<String>`.
//!
//! Formatted text shows structs and enums by name. Parsed text lists the fields of a struct: `Point { x: f64, y: f64 }`.

mod parser;

use crate::describe::DEFAULTED;
use crate::schema::MAX_DEPTH;
use crate::section::{Argument, Items, Signature};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use parser::{MAX_ITEMS, Parser};
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
    OwnedNamedVariant,
};

/// Text that is not a type or not a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAType {
    /// The byte offset in the text.
    pub at: usize,
    /// What was expected there.
    pub wanted: &'static str,
}

impl fmt::Display for NotAType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: expected {}", self.at, self.wanted)
    }
}

impl core::error::Error for NotAType {}

/// Formats a type. Structs and enums are shown by name; [`definition`] shows their content.
///
/// ```
/// use wpc_abi::text::{parse_type, type_text};
///
/// let ty = parse_type("Vec<(String, Option<u32>)>").unwrap();
/// assert_eq!(type_text(&ty), "Vec<(String, Option<u32>)>");
/// ```
#[must_use]
pub fn type_text(named: &OwnedNamedType) -> String {
    let mut text = String::new();
    // Writing to a `String` does not fail.
    let _ = write_type(&mut text, named);
    text
}

/// The maximum length of a short text in bytes, without the mark at its end.
const MAX_SHORT: usize = 256;

/// As [`type_text`], but long text ends early, with `…`. It takes a bounded time whatever the size of the type.
pub(crate) fn short_type_text(named: &OwnedNamedType) -> String {
    let mut text = Short(String::new());
    let _ = write_type(&mut text, named);
    text.0
}

/// A name, or its beginning and `…` if it is long.
pub(crate) fn short_name(name: &str) -> String {
    let mut text = Short(String::new());
    let _ = text.write_str(name);
    text.0
}

/// A text of at most [`MAX_SHORT`] bytes. Writing more fails.
struct Short(String);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut left = MAX_SHORT - self.0.len();
        if text.len() <= left {
            self.0.push_str(text);
            return Ok(());
        }
        while !text.is_char_boundary(left) {
            left -= 1;
        }
        self.0.push_str(&text[..left]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

fn write_type(out: &mut dyn fmt::Write, named: &OwnedNamedType) -> fmt::Result {
    match &named.ty {
        Type::Option(inner) => write_generic(out, "Option", &[inner]),
        Type::Seq(inner) => write_generic(out, "Vec", &[inner]),
        Type::Map { key, val } => write_generic(out, "Map", &[key, val]),
        Type::Tuple(items) => match array_item(named, items) {
            Some(item) => {
                out.write_char('[')?;
                write_type(out, item)?;
                write!(out, "; {}]", items.len())
            }
            None => write_tuple(out, items),
        },
        Type::String => out.write_str("String"),
        Type::NewtypeStruct(inner) if named.name == DEFAULTED => write_type(out, inner),
        Type::Enum(variants) => match result_types(named, variants) {
            Some([value, error]) => write_generic(out, "Result", &[value, error]),
            None => out.write_str(&named.name),
        },
        _ => out.write_str(&named.name),
    }
}

/// Writes `Name<A, B>`.
fn write_generic(
    out: &mut dyn fmt::Write,
    name: &str,
    parameters: &[&OwnedNamedType],
) -> fmt::Result {
    write!(out, "{name}<")?;
    write_list(out, parameters.iter().copied())?;
    out.write_char('>')
}

fn write_tuple(out: &mut dyn fmt::Write, items: &[OwnedNamedType]) -> fmt::Result {
    out.write_char('(')?;
    write_list(out, items)?;
    out.write_str(if items.len() == 1 { ",)" } else { ")" })
}

fn write_list<'a>(
    out: &mut dyn fmt::Write,
    types: impl IntoIterator<Item = &'a OwnedNamedType>,
) -> fmt::Result {
    for (at, ty) in types.into_iter().enumerate() {
        if at > 0 {
            out.write_str(", ")?;
        }
        write_type(out, ty)?;
    }
    Ok(())
}

/// Formats the fields of a struct or the variants of an enum; `None` for every other type, and for `Result`.
#[must_use]
pub fn definition(named: &OwnedNamedType) -> Option<String> {
    let name = &named.name;
    match &named.ty {
        Type::NewtypeStruct(_) if named.name == DEFAULTED => None,
        Type::Enum(variants) if result_types(named, variants).is_some() => None,
        Type::Struct(fields) => Some(format!("{name} {}", fields_text(fields))),
        Type::NewtypeStruct(inner) => Some(format!("{name}({})", type_text(inner))),
        Type::TupleStruct(items) => Some(format!("{name}{}", tuple_text(items))),
        Type::Enum(variants) => {
            let variants = variants.iter().map(|variant| match &variant.ty {
                Variant::UnitVariant => variant.name.clone(),
                Variant::NewtypeVariant(inner) => format!("{}({})", variant.name, type_text(inner)),
                Variant::TupleVariant(items) => format!("{}{}", variant.name, tuple_text(items)),
                Variant::StructVariant(fields) => {
                    format!("{} {}", variant.name, fields_text(fields))
                }
            });
            Some(format!("{name} = {}", variants.collect::<Vec<_>>().join(" | ")))
        }
        _ => None,
    }
}

fn tuple_text(items: &[OwnedNamedType]) -> String {
    let mut text = String::new();
    let _ = write_tuple(&mut text, items);
    text
}

/// The types of `Result<T, E>`, the only enum that is shown with its type arguments.
fn result_types<'a>(
    named: &OwnedNamedType,
    variants: &'a [OwnedNamedVariant],
) -> Option<[&'a OwnedNamedType; 2]> {
    let [ok, err] = variants else { return None };
    let (Variant::NewtypeVariant(value), Variant::NewtypeVariant(error)) = (&ok.ty, &err.ty) else {
        return None;
    };
    let name = named.name.split('<').next();
    let is_result = (name, &*ok.name, &*err.name) == (Some("Result"), "Ok", "Err");
    is_result.then_some([value, error])
}

/// The type of an array's items. An array is described as a tuple whose name starts with `[` and whose items have one type.
fn array_item<'a>(
    named: &OwnedNamedType,
    items: &'a [OwnedNamedType],
) -> Option<&'a OwnedNamedType> {
    let (first, others) = items.split_first().filter(|_| named.name.starts_with('['))?;
    others.iter().all(|item| item == first).then_some(first)
}

fn fields_text(fields: &[OwnedNamedValue]) -> String {
    let fields = fields.iter().map(|field| {
        let attribute = if field.ty.name == DEFAULTED { "#[serde(default)] " } else { "" };
        format!("{attribute}{}: {}", field.name, type_text(&field.ty))
    });
    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
}

/// Formats a signature without the function's name; `?` stands for a type that is not declared.
#[must_use]
pub fn signature_text(signature: &Signature) -> String {
    let optional =
        |ty: &Option<OwnedNamedType>| ty.as_ref().map_or_else(|| "?".to_owned(), type_text);
    let arguments = signature
        .arguments
        .iter()
        .map(|argument| format!("{}: {}", argument.name, optional(&argument.ty)));
    let arguments = arguments.collect::<Vec<_>>().join(", ");
    let items = match &signature.items {
        Items::None => String::new(),
        Items::Untyped => " yields ?".to_owned(),
        Items::Of(ty) => format!(" yields {}", type_text(ty)),
    };
    format!("({arguments}) -> {}{items}", optional(&signature.result))
}

/// Parses a type: `bool`, the integers, `f32`, `f64`, `char`, `String`, `()`, tuples, arrays, `Option<T>`,
/// `Vec<T>`, `Map<K, V>` (or `HashMap`, or `BTreeMap`), and structs with their fields.
///
/// # Errors
///
/// [`NotAType`], with the position.
///
/// ```
/// use wpc_abi::text::{definition, parse_type};
///
/// let point = parse_type("Point { x: f64, y: f64 }").unwrap();
/// assert_eq!(definition(&point).unwrap(), "Point { x: f64, y: f64 }");
/// assert_eq!(parse_type("Vec<u9>").unwrap_err().at, 4);
/// ```
pub fn parse_type(text: &str) -> Result<OwnedNamedType, NotAType> {
    let mut parser = Parser { text, at: 0, items: MAX_ITEMS };
    let ty = parser.ty(MAX_DEPTH)?;
    parser.end()?;
    Ok(ty)
}

/// Parses the signature of the function `name`: `(name: String) -> String`. The arrow and the result may be omitted
/// if the result is `()`. A function that yields items ends with their type: `(text: String) -> u32 yields String`.
///
/// # Errors
///
/// [`NotAType`], with the position.
pub fn parse_signature(name: &str, text: &str) -> Result<Signature, NotAType> {
    let mut parser = Parser { text, at: 0, items: MAX_ITEMS };
    parser.want("(", "an opening parenthesis")?;
    let mut arguments = Vec::new();
    while !parser.eat(")") {
        let name = parser.name("an argument's name")?.to_owned();
        parser.want(":", "a colon")?;
        let ty = Some(parser.ty(MAX_DEPTH)?);
        arguments.push(Argument { name, ty });
        if !parser.eat(",") {
            parser.want(")", "a comma or a closing parenthesis")?;
            break;
        }
    }
    let result = if parser.eat("->") { parser.ty(MAX_DEPTH)? } else { unit() };
    let items = if parser.eat("yields ") { Items::Of(parser.ty(MAX_DEPTH)?) } else { Items::None };
    parser.end()?;
    Ok(Signature { name: name.to_owned(), arguments, result: Some(result), error: None, items })
}

fn unit() -> OwnedNamedType {
    OwnedNamedType { name: "()".to_owned(), ty: Type::Unit }
}

#[cfg(test)]
mod tests;
