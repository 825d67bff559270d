//! The parser of types.

use super::{NotAType, tuple_text, unit};
use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;
use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType, OwnedNamedValue};

/// What may stand where a type is expected.
const TYPES: &str = "a type (bool, an integer, f32, f64, char, String, Option<T>, Vec<T>, Map<K, V>, a tuple, an array, or Name { field: T })";

/// The limit on the number of types in all arrays of a text, where names count too, see [`size_of`]. Each item of an array takes
/// memory, so that a short text could otherwise take any amount.
pub(super) const MAX_ITEMS: usize = 1 << 16;

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    /// How many more types arrays may contain.
    pub(super) items: usize,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.at = self.text.len() - self.text[self.at..].trim_start().len();
    }

    pub(super) fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let is_there = self.text[self.at..].starts_with(token);
        if is_there {
            self.at += token.len();
        }
        is_there
    }

    pub(super) fn want(&mut self, token: &str, wanted: &'static str) -> Result<(), NotAType> {
        if self.eat(token) { Ok(()) } else { Err(NotAType { at: self.at, wanted }) }
    }

    pub(super) fn end(&mut self) -> Result<(), NotAType> {
        self.skip_space();
        let is_over = self.at == self.text.len();
        if is_over { Ok(()) } else { Err(NotAType { at: self.at, wanted: "the end" }) }
    }

    pub(super) fn name(&mut self, wanted: &'static str) -> Result<&'a str, NotAType> {
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

    pub(super) fn ty(&mut self, depth: usize) -> Result<OwnedNamedType, NotAType> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(NotAType { at: self.at, wanted: "a type that is nested less deeply" });
        };
        if self.eat("(") {
            return self.tuple(depth);
        }
        if self.eat("[") {
            return self.array(depth);
        }
        // Rust authors write `&str` for a string argument.
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

    /// `<A, B>` with `N` types.
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

    /// The rest after an opening parenthesis: `()`, `(T)` which means `T`, `(T,)`, `(T, U)`.
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

    /// The rest after an opening bracket: `T; N]`.
    fn array(&mut self, depth: usize) -> Result<OwnedNamedType, NotAType> {
        let item = self.ty(depth)?;
        self.want(";", "a semicolon")?;
        self.skip_space();
        let (at, rest) = (self.at, &self.text[self.at..]);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += digits;
        let len = rest[..digits].parse::<usize>().ok();
        let len = len.ok_or(NotAType { at, wanted: "the array's length" })?;
        let items = len.checked_mul(size_of(&item)).and_then(|new| self.items.checked_sub(new));
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

/// How many bytes of names count as a type.
const NAME: usize = 32;

/// The number of types that a parsed type consists of, and one more for each [`NAME`] bytes of a name.
fn size_of(named: &OwnedNamedType) -> usize {
    let inner = match &named.ty {
        Type::Option(inner) | Type::Seq(inner) => size_of(inner),
        Type::Map { key, val } => size_of(key) + size_of(val),
        Type::Tuple(items) => items.iter().map(size_of).sum(),
        Type::Struct(fields) => {
            fields.iter().map(|field| field.name.len() / NAME + size_of(&field.ty)).sum()
        }
        _ => 0,
    };
    1 + named.name.len() / NAME + inner
}
