//! Types and signatures as a Rust author would write them, for people to read and to write.
//!
//! `(path: String, depth: u32) -> Vec<String>`. Text names structures and enums where it shows them;
//! where it is read, a structure tells its fields: `Point { x: f64, y: f64 }`.

use crate::describe::DEFAULTED;
use crate::schema::MAX_DEPTH;
use crate::section::{Argument, Signature};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
    OwnedNamedVariant,
};

/// What types there are, for who wrote something else.
const TYPES: &str = "a type (bool, an integer, f32, f64, char, String, Option<T>, Vec<T>, Map<K, V>, a tuple, an array, or Name { field: T })";

/// Text that is no type or no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAType {
    /// Where in the text, in bytes.
    pub at: usize,
    /// What it should be there.
    pub wanted: &'static str,
}

impl fmt::Display for NotAType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {} is wanted", self.at, self.wanted)
    }
}

impl core::error::Error for NotAType {}

/// A type as text: structures and enums by their names, see [`definition`].
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

/// What a structure or an enum is made of, as text; `None` for every other type, and for `Result`.
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

/// The one enum that Rust's authors write with its types.
fn result_text(named: &OwnedNamedType, variants: &[OwnedNamedVariant]) -> Option<String> {
    let [ok, err] = variants else { return None };
    let (Variant::NewtypeVariant(value), Variant::NewtypeVariant(error)) = (&ok.ty, &err.ty) else {
        return None;
    };
    let name = named.name.split('<').next();
    let is_result = (name, &*ok.name, &*err.name) == (Some("Result"), "Ok", "Err");
    is_result.then(|| format!("Result<{}, {}>", type_text(value), type_text(error)))
}

/// An array is a tuple whose name starts like that of one; its items have the same type.
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

/// A signature as text, without the function's name; `?` is a type that is not told.
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

/// Reads a type: `bool`, the integers, `f32`, `f64`, `char`, `String`, `()`, tuples, arrays, `Option<T>`,
/// `Vec<T>`, `Map<K, V>` (or `HashMap`, or `BTreeMap`), and structures with their fields.
///
/// # Errors
///
/// [`NotAType`], with the place.
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

/// Reads the signature of the function `name`: `(name: String) -> String`. What follows the arrow may
/// be left out where it is `()`.
///
/// # Errors
///
/// [`NotAType`], with the place.
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

/// How many types the items of all arrays of a text may be. A type is kept for each item, however short the text.
const MAX_ITEMS: usize = 1 << 16;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// How many more items arrays may have.
    items: usize,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.at = self.text.len() - self.text[self.at..].trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let is_there = self.text[self.at..].starts_with(token);
        if is_there {
            self.at += token.len();
        }
        is_there
    }

    fn want(&mut self, token: &str, wanted: &'static str) -> Result<(), NotAType> {
        if self.eat(token) { Ok(()) } else { Err(NotAType { at: self.at, wanted }) }
    }

    fn end(&mut self) -> Result<(), NotAType> {
        self.skip_space();
        let is_over = self.at == self.text.len();
        if is_over { Ok(()) } else { Err(NotAType { at: self.at, wanted: "the end" }) }
    }

    fn name(&mut self, wanted: &'static str) -> Result<&'a str, NotAType> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let len = rest.bytes().take_while(|byte| is_of_name(*byte)).count();
        if len == 0 || rest.as_bytes()[0].is_ascii_digit() {
            return Err(NotAType { at: self.at, wanted });
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn ty(&mut self, depth: usize) -> Result<OwnedNamedType, NotAType> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(NotAType { at: self.at, wanted: "a type that nests less" });
        };
        if self.eat("(") {
            return self.tuple(depth);
        }
        if self.eat("[") {
            return self.array(depth);
        }
        // As in Rust, where a borrowed text is one as well.
        if self.eat("&") {
            self.want("str", "`&str`, or a type without a reference")?;
            return Ok(OwnedNamedType { name: "String".to_owned(), ty: Type::String });
        }
        self.skip_space();
        let start = self.at;
        let name = self.name(TYPES)?;
        let plain = |ty| Ok(OwnedNamedType { name: name.to_owned(), ty });
        match name {
            "bool" => plain(Type::Bool),
            "i8" => plain(Type::I8),
            "u8" => plain(Type::U8),
            "i16" => plain(Type::I16),
            "i32" => plain(Type::I32),
            "i64" => plain(Type::I64),
            "i128" => plain(Type::I128),
            "u16" => plain(Type::U16),
            "u32" => plain(Type::U32),
            "u64" => plain(Type::U64),
            "u128" => plain(Type::U128),
            "usize" => plain(Type::Usize),
            "isize" => plain(Type::Isize),
            "f32" => plain(Type::F32),
            "f64" => plain(Type::F64),
            "char" => plain(Type::Char),
            "String" => plain(Type::String),
            "Option" => {
                let [inner] = self.parameters(depth)?;
                plain(Type::Option(Box::new(inner)))
            }
            "Vec" => {
                let [inner] = self.parameters(depth)?;
                plain(Type::Seq(Box::new(inner)))
            }
            "Map" | "HashMap" | "BTreeMap" => {
                let [key, val] = self.parameters(depth)?;
                plain(Type::Map { key: Box::new(key), val: Box::new(val) })
            }
            _ if self.eat("{") => plain(Type::Struct(self.fields(depth)?)),
            _ => Err(NotAType { at: start, wanted: TYPES }),
        }
    }

    /// `<A, B>`, as many as there are to be.
    fn parameters<const N: usize>(
        &mut self,
        depth: usize,
    ) -> Result<[OwnedNamedType; N], NotAType> {
        self.want("<", "an opening angle bracket")?;
        let mut found = Vec::with_capacity(N);
        for at in 0..N {
            if at > 0 {
                self.want(",", "a comma")?;
            }
            found.push(self.ty(depth)?);
        }
        self.eat(",");
        self.want(">", "a closing angle bracket")?;
        found.try_into().map_err(|_| NotAType { at: self.at, wanted: TYPES })
    }

    /// What follows an opening parenthesis: `()`, `(T)` that is `T`, `(T,)`, `(T, U)`.
    fn tuple(&mut self, depth: usize) -> Result<OwnedNamedType, NotAType> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        while !self.eat(")") {
            items.push(self.ty(depth)?);
            if !self.eat(",") {
                self.want(")", "a comma or a closing parenthesis")?;
                break;
            }
            is_tuple = true;
        }
        Ok(match items.len() {
            0 => unit(),
            1 if !is_tuple => items.remove(0),
            _ => OwnedNamedType { name: tuple_text(&items), ty: Type::Tuple(items) },
        })
    }

    /// What follows an opening bracket: `T; N]`.
    fn array(&mut self, depth: usize) -> Result<OwnedNamedType, NotAType> {
        let item = self.ty(depth)?;
        self.want(";", "a semicolon")?;
        self.skip_space();
        let (at, rest) = (self.at, &self.text[self.at..]);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += digits;
        let len = rest[..digits].parse::<usize>().ok();
        let len = len.ok_or(NotAType { at, wanted: "the array's length" })?;
        let items = len.checked_mul(types_in(&item)).and_then(|new| self.items.checked_sub(new));
        self.items = items.ok_or(NotAType { at, wanted: "a shorter array" })?;
        self.want("]", "a closing bracket")?;
        Ok(OwnedNamedType { name: "[T; N]".to_owned(), ty: Type::Tuple(vec![item; len]) })
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<OwnedNamedValue>, NotAType> {
        let mut fields = Vec::new();
        while !self.eat("}") {
            let name = self.name("a field's name")?.to_string();
            self.want(":", "a colon")?;
            fields.push(OwnedNamedValue { name, ty: self.ty(depth)? });
            if !self.eat(",") {
                self.want("}", "a comma or a closing brace")?;
                break;
            }
        }
        Ok(fields)
    }
}

/// How many types a type that was read consists of.
fn types_in(named: &OwnedNamedType) -> usize {
    let inner = match &named.ty {
        Type::Option(inner) | Type::Seq(inner) => types_in(inner),
        Type::Map { key, val } => types_in(key) + types_in(val),
        Type::Tuple(items) => items.iter().map(types_in).sum(),
        Type::Struct(fields) => fields.iter().map(|field| types_in(&field.ty)).sum(),
        _ => 0,
    };
    1 + inner
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_signature_reads_as_it_is_shown() {
        for text in [
            "() -> ()",
            "(path: String, depth: u32) -> Vec<String>",
            "(a: (i8, u16), b: (f64,), c: Map<String, Option<char>>) -> (bool, ())",
            "(a: [u8; 16]) -> Vec<[[f32; 2]; 3]>",
        ] {
            assert_eq!(signature_text(&parse_signature("f", text).unwrap()), text);
        }
        let short = parse_signature("f", " ( a : ( i64 ) , ) ").unwrap();
        assert_eq!(signature_text(&short), "(a: i64) -> ()");
        assert_eq!(short.name, "f");
    }

    #[test]
    fn a_type_agrees_with_the_one_that_a_derive_makes() {
        use crate::Schema as _;
        use crate::schema::agree;
        use postcard_schema::schema::owned::OwnedNamedType;
        let derived = OwnedNamedType::from(<Vec<(String, Option<u64>)>>::SCHEMA);
        assert!(agree(&parse_type("Vec<(String, Option<u64>)>").unwrap(), &derived));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (text, told) in [
            ("", "at byte 0: an opening parenthesis is wanted"),
            ("(a)", "at byte 2: a colon is wanted"),
            ("(a: Vec<u8) -> ()", "at byte 10: a closing angle bracket is wanted"),
            ("(a: &u8)", "at byte 5: `&str`, or a type without a reference is wanted"),
            ("(a: u8) -> u8 more", "at byte 14: the end is wanted"),
            ("(1: u8)", "at byte 1: an argument's name is wanted"),
            ("(a: P { x u8 })", "at byte 10: a colon is wanted"),
            ("(a: [u8])", "at byte 7: a semicolon is wanted"),
            ("(a: [u8; n])", "at byte 9: the array's length is wanted"),
            ("(a: [[u8; 9999]; 9999])", "at byte 17: a shorter array is wanted"),
            ("(a: ([u8; 40000], [u8; 40000]))", "at byte 23: a shorter array is wanted"),
        ] {
            assert_eq!(parse_signature("f", text).unwrap_err().to_string(), told, "{text}");
        }
        let deep = "Vec<".repeat(100);
        assert_eq!(parse_type(&deep).unwrap_err().wanted, "a type that nests less");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse_signature("f", &text);
            let _ = parse_type(&text);
        }

        #[test]
        fn no_text_of_the_languages_own_signs_panics(text in "[(){}<>\\[\\];,:a-zA-Z0-9 é]{0,40}") {
            let _ = parse_signature("f", &text);
            let _ = parse_type(&text);
        }
    }
}
