//! Encodes JSON as the types that a module declares.

use super::number::{float, integral, single};
use super::{is_text, may_be_null};
use crate::error::counted;
use crate::system::buffers::SHORT;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
};
use serde::Serialize;
use serde_json::{Map, Number, Value};
use std::collections::HashSet;
use std::fmt::Write as _;
use wpc_abi::describe::DEFAULTED;
use wpc_abi::section::Signature;
use wpc_abi::text::type_text;

/// Encodes arguments, or reports which one is wrong and how.
pub(crate) fn encode_arguments(signature: &Signature, values: &[Value]) -> Result<Vec<u8>, String> {
    let wanted = signature.arguments.len();
    if values.len() != wanted {
        return Err(format!("expected {}, found {}", counted(wanted, "argument"), values.len()));
    }
    let mut writer = Writer::new(String::new());
    for (argument, value) in signature.arguments.iter().zip(values) {
        writer.path.clone_from(&argument.name);
        let ty = argument.ty.as_ref();
        let ty = ty.ok_or_else(|| format!("the type of `{}` is not declared", argument.name))?;
        writer.write(ty, value)?;
    }
    Ok(writer.out)
}

/// Orders arguments that were passed by parameter name. An absent one is `null` if its type allows it.
pub(crate) fn positional(
    signature: &Signature,
    mut named: Map<String, Value>,
) -> Result<Vec<Value>, String> {
    let mut values = Vec::with_capacity(signature.arguments.len());
    for argument in &signature.arguments {
        let is_optional = argument.ty.as_ref().is_some_and(may_be_null);
        values.push(match named.remove(&argument.name) {
            Some(value) => value,
            None if is_optional => Value::Null,
            None => return Err(format!("argument `{}` is missing", argument.name)),
        });
    }
    match named.keys().next() {
        None => Ok(values),
        Some(unknown) => {
            let names = signature.arguments.iter().map(|argument| format!("`{}`", argument.name));
            let names = names.collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "none" } else { &names };
            Err(format!("unknown argument `{unknown}`; the function's arguments are: {names}"))
        }
    }
}

/// Encodes one value of the type. Errors call it `name`.
pub(crate) fn encode(name: &str, ty: &OwnedNamedType, value: &Value) -> Result<Vec<u8>, String> {
    let mut writer = Writer::new(name.to_owned());
    writer.write(ty, value)?;
    Ok(writer.out)
}

/// How many fields that a value omits are filled in, in one encoding. A module declares how many fields a struct has, so
/// that a short JSON text could otherwise become gigabytes.
pub(super) const MAX_OMITTED_FIELDS: usize = 1 << 20;

/// How many names of variants are compared in one encoding, beyond those that a usual enum has.
const MAX_COMPARED_VARIANTS: usize = 1 << 28;

/// With more fields than this, names are looked up in a set.
const FEW_FIELDS: usize = 32;

struct Writer {
    out: Vec<u8>,
    /// The position within the arguments, such as `orders[0].count`.
    path: String,
    omitted_fields: usize,
    compared_variants: usize,
}

impl Writer {
    fn new(path: String) -> Self {
        // Most arguments fit, and their buffer is allocated once.
        Self { out: Vec::with_capacity(SHORT), path, omitted_fields: 0, compared_variants: 0 }
    }

    fn write(&mut self, named: &OwnedNamedType, value: &Value) -> Result<(), String> {
        match &named.ty {
            Type::Bool => self.put_some(value.as_bool(), named, value),
            Type::I8 => self.integer::<i8>(named, value),
            Type::I16 => self.integer::<i16>(named, value),
            // A guest's addresses have 32 bits. Postcard encodes integers of all widths in the same way.
            Type::I32 | Type::Isize => self.integer::<i32>(named, value),
            Type::I64 => self.integer::<i64>(named, value),
            Type::I128 => self.integer::<i128>(named, value),
            Type::U8 => self.integer::<u8>(named, value),
            Type::U16 => self.integer::<u16>(named, value),
            Type::U32 | Type::Usize => self.integer::<u32>(named, value),
            Type::U64 => self.integer::<u64>(named, value),
            Type::U128 => self.integer::<u128>(named, value),
            Type::F32 => self.put_some(float(value).and_then(single), named, value),
            Type::F64 => self.put_some(float(value), named, value),
            Type::Char => {
                let mut characters = value.as_str().unwrap_or_default().chars();
                let only = characters.next().filter(|_| characters.next().is_none());
                self.put_some(only, named, value)
            }
            Type::String => self.put_some(value.as_str(), named, value),
            Type::ByteArray => {
                let byte = |value: &Value| u8::try_from(value.as_u64()?).ok();
                let bytes: Option<Vec<u8>> =
                    value.as_array().and_then(|all| all.iter().map(byte).collect());
                self.put_some(bytes, named, value)
            }
            Type::Unit | Type::UnitStruct => self.put_some(value.as_null(), named, value),
            Type::Option(inner) => {
                if value.is_null() {
                    self.put(&0_u8)
                } else {
                    self.put(&1_u8)?;
                    match value {
                        Value::Object(one) if may_be_null(inner) && one.len() == 1 => {
                            let some = one.get("Some").unwrap_or(value);
                            self.write(inner, some)
                        }
                        value => self.write(inner, value),
                    }
                }
            }
            Type::NewtypeStruct(inner) => self.write(inner, value),
            Type::Seq(inner) => {
                let items = value.as_array().ok_or_else(|| self.mismatch(named, value))?;
                self.put(&items.len())?;
                for (at, item) in items.iter().enumerate() {
                    self.within(format_args!("[{at}]"), |writer| writer.write(inner, item))?;
                }
                Ok(())
            }
            Type::Tuple(types) | Type::TupleStruct(types) => self.tuple(types, named, value),
            Type::Map { key, val } => self.map(key, val, named, value),
            Type::Struct(fields) => self.fields(fields, named, value),
            Type::Enum(_) => self.variant(named, value),
            Type::Schema => {
                Err(format!("`{}` is a schema, which JSON cannot represent", self.path))
            }
        }
    }

    fn integer<T: TryFrom<i128> + TryFrom<u128> + Serialize>(
        &mut self,
        named: &OwnedNamedType,
        value: &Value,
    ) -> Result<(), String> {
        let narrow = |number: &Number| {
            let signed = number.as_i64().map(i128::from).and_then(|number| number.try_into().ok());
            let unsigned = || u128::from(number.as_u64()?).try_into().ok();
            signed.or_else(unsigned).or_else(|| integral(number.as_f64()?)?.try_into().ok())
        };
        let number: Option<T> = match value {
            Value::Number(number) => narrow(number),
            // A number beyond 64 bits.
            Value::String(text) => {
                let signed = text.parse::<i128>().ok().and_then(|number| number.try_into().ok());
                signed.or_else(|| text.parse::<u128>().ok()?.try_into().ok())
            }
            _ => None,
        };
        self.put_some(number, named, value)
    }

    fn tuple(
        &mut self,
        types: &[OwnedNamedType],
        named: &OwnedNamedType,
        value: &Value,
    ) -> Result<(), String> {
        let items = value.as_array().filter(|items| items.len() == types.len());
        let items = items.ok_or_else(|| self.mismatch(named, value))?;
        for (at, (ty, item)) in types.iter().zip(items).enumerate() {
            self.within(format_args!("[{at}]"), |writer| writer.write(ty, item))?;
        }
        Ok(())
    }

    fn map(
        &mut self,
        key: &OwnedNamedType,
        val: &OwnedNamedType,
        named: &OwnedNamedType,
        value: &Value,
    ) -> Result<(), String> {
        match value {
            Value::Object(entries) if is_text(key) => {
                self.put(&entries.len())?;
                for (name, item) in entries {
                    self.put(name)?;
                    self.within(format_args!("[{name:?}]"), |writer| writer.write(val, item))?;
                }
                Ok(())
            }
            Value::Array(pairs) if !is_text(key) => {
                self.put(&pairs.len())?;
                for (at, pair) in pairs.iter().enumerate() {
                    let Some([name, item]) = pair.as_array().map(Vec::as_slice) else {
                        return Err(self.mismatch(named, value));
                    };
                    self.within(format_args!("[{at}]"), |writer| {
                        writer.write(key, name)?;
                        writer.write(val, item)
                    })?;
                }
                Ok(())
            }
            _ => Err(self.mismatch(named, value)),
        }
    }

    fn fields(
        &mut self,
        fields: &[OwnedNamedValue],
        named: &OwnedNamedType,
        value: &Value,
    ) -> Result<(), String> {
        let object = value.as_object().ok_or_else(|| self.mismatch(named, value))?;
        // `null` counts as a missing field, so that a caller may send an `Option` that the module does not know yet, as
        // long as it has no value.
        let many: Option<HashSet<&str>> = (fields.len() > FEW_FIELDS)
            .then(|| fields.iter().map(|field| field.name.as_str()).collect());
        let is_known = |name: &str| match &many {
            Some(names) => names.contains(name),
            None => fields.iter().any(|field| field.name == name),
        };
        let unknown = object.iter().find(|(name, value)| !value.is_null() && !is_known(name));
        if let Some((unknown, _)) = unknown {
            return Err(format!(
                "unknown field `{unknown}` in `{}`: {}",
                self.path,
                listed(&named.name, fields.iter().map(|field| &field.name))
            ));
        }
        for field in fields {
            let Some(item) = object.get(&field.name) else {
                self.omitted_fields += 1;
                if self.omitted_fields > MAX_OMITTED_FIELDS {
                    return Err(format!(
                        "the value omits more than {MAX_OMITTED_FIELDS} fields, the last one in `{}`",
                        self.path
                    ));
                }
                if self.default(&field.ty)? {
                    continue;
                }
                return Err(format!("missing field `{}` in `{}`", field.name, self.path));
            };
            self.within(format_args!(".{}", field.name), |writer| writer.write(&field.ty, item))?;
        }
        Ok(())
    }

    /// Writes the default of a missing field, if it has one: serde's `None` of an `Option`, or a default that the derive
    /// of `Schema` recorded.
    fn default(&mut self, named: &OwnedNamedType) -> Result<bool, String> {
        let inner = match &named.ty {
            Type::Option(_) => named,
            Type::NewtypeStruct(inner) if named.name == DEFAULTED => inner,
            _ => return Ok(false),
        };
        match &inner.ty {
            Type::F32 => self.put(&0_f32)?,
            Type::F64 => self.put(&0_f64)?,
            Type::Char => self.put(&'\0')?,
            Type::Unit | Type::UnitStruct => {}
            // Zero, `false`, `None` and an empty length are all encoded as one zero byte.
            Type::Bool
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::I128
            | Type::Isize
            | Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::U128
            | Type::Usize
            | Type::String
            | Type::ByteArray
            | Type::Option(_)
            | Type::Seq(_)
            | Type::Map { .. } => self.put(&0_u8)?,
            // The derive does not record such a default, so the section is of another origin and the value is unknown.
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn variant(&mut self, named: &OwnedNamedType, value: &Value) -> Result<(), String> {
        let Type::Enum(variants) = &named.ty else { return Ok(()) };
        let (name, content) = match value {
            Value::String(name) => (name, &Value::Null),
            Value::Object(one) if one.len() == 1 => match one.iter().next() {
                Some(entry) => entry,
                None => return Err(self.mismatch(named, value)),
            },
            _ => return Err(self.mismatch(named, value)),
        };
        let Some(at) = variants.iter().position(|variant| variant.name == *name) else {
            return Err(format!(
                "unknown variant `{name}` in `{}`: {}",
                self.path,
                listed(&named.name, variants.iter().map(|variant| &variant.name))
            ));
        };
        self.compared_variants = self.compared_variants.saturating_add(at);
        if self.compared_variants > MAX_COMPARED_VARIANTS {
            return Err(format!(
                "the value needs more than {MAX_COMPARED_VARIANTS} variant-name comparisons; the limit was reached in `{}`",
                self.path
            ));
        }
        self.put(&at)?;
        self.within(format_args!(".{name}"), |writer| match &variants[at].ty {
            Variant::UnitVariant if content.is_null() => Ok(()),
            Variant::UnitVariant => Err(format!("variant `{}` has no content", writer.path)),
            Variant::NewtypeVariant(inner) => writer.write(inner, content),
            Variant::TupleVariant(types) => writer.tuple(types, named, content),
            Variant::StructVariant(fields) => writer.fields(fields, named, content),
        })
    }

    /// Writes a part of a value, with its step appended to the path.
    fn within(
        &mut self,
        step: std::fmt::Arguments<'_>,
        write: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let len = self.path.len();
        let _ = self.path.write_fmt(step);
        let result = write(self);
        self.path.truncate(len);
        result
    }

    fn put_some<T: Serialize>(
        &mut self,
        found: Option<T>,
        named: &OwnedNamedType,
        value: &Value,
    ) -> Result<(), String> {
        match found {
            Some(found) => self.put(&found),
            None => Err(self.mismatch(named, value)),
        }
    }

    fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), String> {
        let out = std::mem::take(&mut self.out);
        self.out = postcard::to_extend(value, out).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn mismatch(&self, named: &OwnedNamedType, value: &Value) -> String {
        const MOST: usize = 60;
        let mut found = value.to_string();
        if found.len() > MOST {
            found.truncate(found.floor_char_boundary(MOST));
            found.push('…');
        }
        format!("`{}`: expected {}, found {found}", self.path, type_text(named))
    }
}

/// Lists the fields of a structure or the variants of an enum, for an error about an unknown one.
fn listed<'a>(name: &str, names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => format!("`{name}` has none"),
        [names @ .., last] if !names.is_empty() => {
            format!("`{name}` has {} and {last}", names.join(", "))
        }
        [only] | [.., only] => format!("`{name}` has {only}"),
    }
}
