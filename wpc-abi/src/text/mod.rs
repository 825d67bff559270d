//! Formats and parses types and signatures in Rust's syntax, such as `(path: String, depth: u32) -> Vec<String>`.
//!
//! Formatted text shows structs and enums by name. Parsed text lists the fields of a struct: `Point { x: f64, y: f64 }`.

mod parser;

use crate::describe::DEFAULTED;
use crate::schema::MAX_DEPTH;
use crate::section::{Argument, Signature};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
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
    match &named.ty {
        Type::Option(inner) => format!("Option<{}>", type_text(inner)),
        Type::Seq(inner) => format!("Vec<{}>", type_text(inner)),
        Type::Map { key, val } => format!("Map<{}, {}>", type_text(key), type_text(val)),
        Type::Tuple(items) => array_text(named, items).unwrap_or_else(|| tuple_text(items)),
        Type::String => "String".to_owned(),
        Type::NewtypeStruct(inner) if named.name == DEFAULTED => type_text(inner),
        Type::Enum(variants) => result_text(named, variants).unwrap_or_else(|| named.name.clone()),
        _ => named.name.clone(),
    }
}

/// Formats the fields of a struct or the variants of an enum; `None` for every other type, and for `Result`.
#[must_use]
pub fn definition(named: &OwnedNamedType) -> Option<String> {
    let name = &named.name;
    match &named.ty {
        Type::NewtypeStruct(_) if named.name == DEFAULTED => None,
        Type::Enum(variants) if result_text(named, variants).is_some() => None,
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
    match items {
        [only] => format!("({},)", type_text(only)),
        items => format!("({})", items.iter().map(type_text).collect::<Vec<_>>().join(", ")),
    }
}

/// `Result<T, E>`, the only enum that is shown with its type arguments.
fn result_text(named: &OwnedNamedType, variants: &[OwnedNamedVariant]) -> Option<String> {
    let [ok, err] = variants else { return None };
    let (Variant::NewtypeVariant(value), Variant::NewtypeVariant(error)) = (&ok.ty, &err.ty) else {
        return None;
    };
    let name = named.name.split('<').next();
    let is_result = (name, &*ok.name, &*err.name) == (Some("Result"), "Ok", "Err");
    is_result.then(|| format!("Result<{}, {}>", type_text(value), type_text(error)))
}

/// An array is described as a tuple whose name starts with `[` and whose items have one type.
fn array_text(named: &OwnedNamedType, items: &[OwnedNamedType]) -> Option<String> {
    let first = items.first().filter(|_| named.name.starts_with('['))?;
    let is_array = items.iter().all(|item| item == first);
    is_array.then(|| format!("[{}; {}]", type_text(first), items.len()))
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
    format!("({arguments}) -> {}", optional(&signature.result))
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
/// if the result is `()`.
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
    parser.end()?;
    Ok(Signature { name: name.to_owned(), arguments, result: Some(result), error: None })
}

fn unit() -> OwnedNamedType {
    OwnedNamedType { name: "()".to_owned(), ty: Type::Unit }
}

#[cfg(test)]
mod tests;
