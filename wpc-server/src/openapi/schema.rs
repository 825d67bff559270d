//! JSON Schemas of declared types.
//!
//! A schema describes the JSON of `wpc-host`: its codec accepts every value that the schema accepts, and every result has
//! the schema of its type. The codec accepts more than that: a number as a decimal string, and a field that is missing or
//! unknown if it is `null`. Types cannot be recursive, but hostile modules declare them, so their size is bounded.

use super::decimal;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use wpc_abi::describe::DEFAULTED;
use wpc_host::postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType as Named,
    OwnedNamedValue as Field, OwnedNamedVariant as NamedVariant,
};
use wpc_host::{FunctionHash, FunctionParameter};

/// The maximum size of the types of one function in bytes, estimated by [`NODE`] and the lengths of names. Types in source
/// code take a few KiB; a module can declare megabytes.
const FUNCTION_BUDGET: usize = 128 << 10;

/// The approximate size of a schema as JSON without its parts, in bytes.
const NODE: usize = 64;

/// The maximum length of a component's name in bytes.
const MAX_NAME: usize = 64;

/// Creates schemas, and collects those of structs and enums as components that other schemas refer to.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    components: BTreeMap<String, Value>,
    /// The approximate size of the components as JSON, in bytes.
    size: usize,
}

impl Schemas {
    /// Adds a component whose name types of functions cannot take.
    pub(super) fn reserve(&mut self, name: &str, schema: Value) {
        self.components.insert(name.to_owned(), schema);
    }

    /// The approximate size of the components as JSON, in bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Creates the schemas of one function.
    pub(super) fn of_function(&mut self) -> FunctionSchemas<'_> {
        FunctionSchemas { schemas: self, left: FUNCTION_BUDGET }
    }

    pub(super) fn into_components(self) -> BTreeMap<String, Value> {
        self.components
    }

    /// Refers to a component. A type with a different structure than an earlier type of its name gets a suffix, which depends only on its
    /// structure.
    fn component(&mut self, name: &str, schema: Value) -> Value {
        let mut name = component_name(name);
        if self.components.get(&name).is_some_and(|other| *other != schema) {
            name.push('_');
            name.push_str(&short_hash(&schema.to_string()));
        }
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        if !self.components.contains_key(&name) {
            self.size += name.len() + schema.to_string().len();
            self.components.insert(name, schema);
        }
        reference
    }
}

/// Creates the schemas of one function.
#[derive(Debug)]
pub(super) struct FunctionSchemas<'a> {
    schemas: &'a mut Schemas,
    /// The rest of [`FUNCTION_BUDGET`].
    left: usize,
}

impl FunctionSchemas<'_> {
    /// The schema of a type. One that is too large is described as any value.
    pub(super) fn of(&mut self, named: &Named) -> Value {
        if !self.charge(NODE + named.name.len()) {
            return too_large();
        }
        match &named.ty {
            Type::Bool => json!({ "type": "boolean" }),
            Type::I8 => integer(i8::MIN, i8::MAX, "int32"),
            Type::I16 => integer(i16::MIN, i16::MAX, "int32"),
            // A guest's addresses have 32 bits.
            Type::I32 | Type::Isize => integer(i32::MIN, i32::MAX, "int32"),
            Type::I64 => integer(i64::MIN, i64::MAX, "int64"),
            Type::U8 => integer(u8::MIN, u8::MAX, "int32"),
            Type::U16 => integer(u16::MIN, u16::MAX, "int32"),
            Type::U32 | Type::Usize => integer(u32::MIN, u32::MAX, "int64"),
            Type::U64 => integer(u64::MIN, u64::MAX, "uint64"),
            Type::I128 => self.large_integer(&decimal::signed(), i64::MIN.into()),
            Type::U128 => self.large_integer(&decimal::unsigned(), 0.into()),
            Type::F32 => float("float", json!({ "minimum": f32::MIN, "maximum": f32::MAX })),
            Type::F64 => float("double", json!({})),
            Type::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
            Type::String => json!({ "type": "string" }),
            Type::Unit | Type::UnitStruct => json!({ "type": "null" }),
            Type::ByteArray => {
                json!({ "type": "array", "items": integer(u8::MIN, u8::MAX, "int32") })
            }
            Type::Option(inner) if may_be_null(inner) => nullable(single("Some", self.of(inner))),
            Type::Option(inner) => nullable(self.of(inner)),
            Type::NewtypeStruct(inner) => self.of(inner),
            Type::Seq(inner) => json!({ "type": "array", "items": self.of(inner) }),
            Type::Tuple(items) | Type::TupleStruct(items) => self.tuple(items),
            Type::Map { key, val } if is_text(key) => {
                json!({ "type": "object", "additionalProperties": self.of(val) })
            }
            Type::Map { key, val } => {
                let pair = tuple_of(vec![self.of(key), self.of(val)]);
                json!({ "type": "array", "items": pair })
            }
            Type::Struct(fields) => {
                let schema = self.fields(fields);
                self.schemas.component(&named.name, schema)
            }
            Type::Enum(variants) => {
                let schema = self.variants(&named.name, variants);
                self.schemas.component(&named.name, schema)
            }
            Type::Schema => json!({ "not": {}, "description": "JSON cannot represent a schema." }),
        }
    }

    /// The schema of arguments by name; `None` if a type is not declared, or if two parameters have one name.
    pub(super) fn arguments(&mut self, parameters: &[FunctionParameter]) -> Option<Value> {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for parameter in parameters {
            let ty = parameter.ty.as_ref()?.structure();
            if !may_be_null(ty) {
                required.push(parameter.name.as_str());
            }
            if properties.insert(parameter.name.clone(), self.of(ty)).is_some() {
                return None;
            }
        }
        Some(object(properties, &required))
    }

    /// Takes this many bytes from the budget; returns whether as many were left.
    fn charge(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// An integer of 128 bits: a number if 64 bits suffice, or else a string.
    fn large_integer(&mut self, pattern: &str, minimum: serde_json::Number) -> Value {
        if !self.charge(pattern.len()) {
            return too_large();
        }
        json!({
            "type": ["integer", "string"],
            "minimum": minimum,
            "maximum": u64::MAX,
            "pattern": pattern,
        })
    }

    fn tuple(&mut self, items: &[Named]) -> Value {
        if let [first, others @ ..] = items
            && !others.is_empty()
            && others.iter().all(|item| item == first)
        {
            let (item, count) = (self.of(first), items.len());
            return json!({ "type": "array", "items": item, "minItems": count, "maxItems": count });
        }
        tuple_of(items.iter().map(|item| self.of(item)).collect())
    }

    fn fields(&mut self, fields: &[Field]) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in fields {
            if !self.charge(field.name.len()) {
                return too_large();
            }
            if !has_default(&field.ty) {
                required.push(field.name.as_str());
            }
            let schema = self.of(&field.ty);
            properties.insert(field.name.clone(), schema);
        }
        object(properties, &required)
    }

    /// Variants without content are strings, the others objects with one property. Content with fields is a component, so
    /// that generated clients have a name for it.
    fn variants(&mut self, name: &str, variants: &[NamedVariant]) -> Value {
        let (mut names, mut others) = (Vec::new(), Vec::new());
        for variant in variants {
            if !self.charge(NODE + variant.name.len()) {
                return too_large();
            }
            let content = match &variant.ty {
                Variant::UnitVariant => {
                    names.push(variant.name.as_str());
                    continue;
                }
                Variant::NewtypeVariant(inner) => self.of(inner),
                Variant::TupleVariant(items) => self.tuple(items),
                Variant::StructVariant(fields) => {
                    let schema = self.fields(fields);
                    self.schemas.component(&format!("{name}{}", variant.name), schema)
                }
            };
            others.push(single(&variant.name, content));
        }
        let names = (!names.is_empty()).then(|| json!({ "type": "string", "enum": names }));
        match (names, others.len()) {
            (None, 0) => json!({ "not": {} }),
            (Some(names), 0) => names,
            (names, _) => json!({ "oneOf": names.into_iter().chain(others).collect::<Vec<_>>() }),
        }
    }
}

fn too_large() -> Value {
    json!({ "description": "The type is too large to be described." })
}

fn integer<T: Into<serde_json::Number>>(minimum: T, maximum: T, format: &str) -> Value {
    json!({
        "type": "integer",
        "format": format,
        "minimum": minimum.into(),
        "maximum": maximum.into(),
    })
}

fn float(format: &str, mut bounds: Value) -> Value {
    bounds["type"] = json!(["number", "string"]);
    bounds["format"] = format.into();
    bounds["pattern"] = "^(NaN|-?Infinity)$".into();
    bounds
}

fn nullable(mut schema: Value) -> Value {
    match schema.get("type") {
        Some(Value::String(kind)) if schema.get("enum").is_none() => {
            schema["type"] = json!([kind, "null"]);
            schema
        }
        Some(Value::Array(_)) => {
            if let Some(kinds) = schema["type"].as_array_mut() {
                kinds.push("null".into());
            }
            schema
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// An object with exactly this property.
fn single(name: &str, content: Value) -> Value {
    object(Map::from_iter([(name.to_owned(), content)]), &[name])
}

fn object(properties: Map<String, Value>, required: &[&str]) -> Value {
    let mut schema =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn tuple_of(items: Vec<Value>) -> Value {
    let count = items.len();
    let mut schema = json!({ "type": "array", "minItems": count, "maxItems": count });
    if count > 0 {
        schema["prefixItems"] = Value::Array(items);
    }
    schema
}

/// Whether the type's values are strings, which are keys of an object.
pub(super) fn is_text(named: &Named) -> bool {
    match &named.ty {
        Type::String => true,
        Type::NewtypeStruct(inner) => is_text(inner),
        _ => false,
    }
}

/// Whether a value of the type may be `null` by itself. Such an argument may be absent.
pub(super) fn may_be_null(named: &Named) -> bool {
    match &named.ty {
        Type::Unit | Type::UnitStruct | Type::Option(_) => true,
        Type::NewtypeStruct(inner) => may_be_null(inner),
        _ => false,
    }
}

/// Whether a field of the type may be absent.
fn has_default(named: &Named) -> bool {
    match &named.ty {
        Type::Option(_) => true,
        Type::NewtypeStruct(inner) if named.name == DEFAULTED => !matches!(
            inner.ty,
            Type::NewtypeStruct(_)
                | Type::Tuple(_)
                | Type::TupleStruct(_)
                | Type::Struct(_)
                | Type::Enum(_)
                | Type::Schema
        ),
        _ => false,
    }
}

/// The name of a component: letters, digits and underscores.
fn component_name(name: &str) -> String {
    let name = name.split('<').next().unwrap_or_default();
    let name: String = name.chars().take(MAX_NAME).map(identifier_character).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

pub(super) fn identifier_character(character: char) -> char {
    if character.is_ascii_alphanumeric() { character } else { '_' }
}

/// Eight hexadecimal digits that depend on the text only.
pub(super) fn short_hash(text: &str) -> String {
    let mut hash = FunctionHash::of(text.as_bytes()).to_string();
    hash.truncate(8);
    hash
}
