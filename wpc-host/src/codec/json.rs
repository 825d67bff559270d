//! JSON to and from what guests understand, by the types that a module tells.
//! The table of what becomes what is in the crate's documentation.
//!
//! Types come from modules and bytes from guests: both are taken to be hostile. Encoding itself is
//! postcard's.

use crate::codec::decode::{counted, trailing};
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
};
use serde::Serialize;
use serde::de::Deserialize;
use serde_json::{Map, Number, Value};
use std::fmt::Write as _;
use wpc_abi::describe::DEFAULTED;
use wpc_abi::section::Signature;
use wpc_abi::text::type_text;

/// How many bytes one result may take as JSON, by the estimate of [`VALUE`] and [`ENTRY`]: a guest may
/// have spent one byte on a value, or none, and names are the module's to choose.
const BUDGET: usize = 256 << 20;

/// About what a value takes, in bytes.
const VALUE: usize = 72;

/// About what an object's entry takes beyond its name and its value, the object's own share included.
const ENTRY: usize = 256;

/// Encodes arguments, or says which is wrong and how.
pub(crate) fn encode_arguments(signature: &Signature, values: &[Value]) -> Result<Vec<u8>, String> {
    let wanted = signature.arguments.len();
    if values.len() != wanted {
        let given = values.len();
        let is = if given == 1 { "is" } else { "are" };
        return Err(format!("it takes {}, and {given} {is} given", counted(wanted, "argument")));
    }
    let mut writer = Writer { out: Vec::new(), path: String::new() };
    for (argument, value) in signature.arguments.iter().zip(values) {
        writer.path.clone_from(&argument.name);
        let ty = argument.ty.as_ref();
        let ty = ty.ok_or_else(|| format!("the type of `{}` is not told", argument.name))?;
        writer.write(ty, value)?;
    }
    Ok(writer.out)
}

/// Encodes one value as its type says; `name` is what errors call it.
pub(crate) fn encode(name: &str, ty: &OwnedNamedType, value: &Value) -> Result<Vec<u8>, String> {
    let mut writer = Writer { out: Vec::new(), path: name.to_owned() };
    writer.write(ty, value)?;
    Ok(writer.out)
}

/// Reads one value of the type, which must take all of the bytes.
pub(crate) fn decode(ty: &OwnedNamedType, bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { rest: bytes, budget: BUDGET };
    let value = reader.read(ty)?;
    match reader.rest.len() {
        0 => Ok(value),
        left => Err(trailing(left)),
    }
}

struct Writer {
    out: Vec<u8>,
    /// Where in the arguments it is, as a reader would write it.
    path: String,
}

impl Writer {
    fn write(&mut self, named: &OwnedNamedType, value: &Value) -> Result<(), String> {
        match &named.ty {
            Type::Bool => self.put_some(value.as_bool(), named, value),
            Type::I8 => self.integer::<i8>(named, value),
            Type::I16 => self.integer::<i16>(named, value),
            // A guest's addresses have 32 bits, and postcard writes integers of every width alike.
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
            Type::Schema => Err(format!("`{}` is a type itself, which JSON cannot say", self.path)),
        }
    }

    fn integer<T: TryFrom<i128> + TryFrom<u128> + Serialize>(
        &mut self,
        named: &OwnedNamedType,
        value: &Value,
    ) -> Result<(), String> {
        let narrow = |number: &Number| {
            let signed = number.as_i64().map(i128::from).and_then(|number| number.try_into().ok());
            signed.or_else(|| u128::from(number.as_u64()?).try_into().ok())
        };
        let number: Option<T> = match value {
            Value::Number(number) => narrow(number),
            // Beyond 64 bits.
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
        // `null` is the same as no field: a caller's `Option` that the module does not know yet is lost only if it
        // has a value.
        let unknown = object.iter().find(|(name, value)| {
            !value.is_null() && fields.iter().all(|field| field.name != **name)
        });
        if let Some((unknown, _)) = unknown {
            return Err(format!(
                "unknown field `{unknown}` in `{}`: {}",
                self.path,
                listed(&named.name, fields.iter().map(|field| &field.name))
            ));
        }
        for field in fields {
            let Some(item) = object.get(&field.name) else {
                if self.default(&field.ty)? {
                    continue;
                }
                return Err(format!("missing field `{}` in `{}`", field.name, self.path));
            };
            self.within(format_args!(".{}", field.name), |writer| writer.write(&field.ty, item))?;
        }
        Ok(())
    }

    /// Writes what stands for a missing field, if there is a value that the type's author declared or serde takes:
    /// the default of the types that the derive of `Schema` records a default of.
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
            // Zero, `false`, `None`, and the length of what is empty are one byte alike.
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
            // A module that the derive did not write: what its default is has to be known from elsewhere.
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
        self.put(&at)?;
        self.within(format_args!(".{name}"), |writer| match &variants[at].ty {
            Variant::UnitVariant if content.is_null() => Ok(()),
            Variant::UnitVariant => Err(format!("`{}` carries nothing", writer.path)),
            Variant::NewtypeVariant(inner) => writer.write(inner, content),
            Variant::TupleVariant(types) => writer.tuple(types, named, content),
            Variant::StructVariant(fields) => writer.fields(fields, named, content),
        })
    }

    /// Goes on with a longer path.
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
        format!("`{}` must be {}, and is {found}", self.path, type_text(named))
    }
}

/// What a structure or an enum has, for who named something else.
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

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// The nearest `f32`; `None` for a finite number that is out of its range.
fn single(float: f64) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "the nearest is meant")]
    let single = float as f32;
    (single.is_finite() || !float.is_finite()).then_some(single)
}

/// The `f64` whose shortest decimal form is that of the `f32`: 0.1 for 0.1, and not 0.10000000149011612.
fn shortest(single: f32) -> f64 {
    /// The integers below have one form in both.
    const EXACT: f32 = 16_777_216.0;
    if !single.is_finite() || (single.fract() == 0.0 && single.abs() < EXACT) {
        return single.into();
    }
    format!("{single:e}").parse().unwrap_or_else(|_| single.into())
}

/// Whether the type's values are strings, which are keys of an object.
fn is_text(named: &OwnedNamedType) -> bool {
    match &named.ty {
        Type::String => true,
        Type::NewtypeStruct(inner) => is_text(inner),
        _ => false,
    }
}

/// Whether a value of the type may be `null` by itself.
fn may_be_null(named: &OwnedNamedType) -> bool {
    match &named.ty {
        Type::Unit | Type::UnitStruct | Type::Option(_) => true,
        Type::NewtypeStruct(inner) => may_be_null(inner),
        _ => false,
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// How many bytes of JSON it may still become.
    budget: usize,
}

impl<'a> Reader<'a> {
    fn read(&mut self, named: &OwnedNamedType) -> Result<Value, String> {
        self.charge(VALUE)?;
        Ok(match &named.ty {
            Type::Bool => Value::Bool(self.take()?),
            Type::I8 => self.take::<i8>()?.into(),
            Type::I16 => self.take::<i16>()?.into(),
            Type::I32 | Type::Isize => self.take::<i32>()?.into(),
            Type::I64 => self.take::<i64>()?.into(),
            Type::U8 => self.take::<u8>()?.into(),
            Type::U16 => self.take::<u16>()?.into(),
            Type::U32 | Type::Usize => self.take::<u32>()?.into(),
            Type::U64 => self.take::<u64>()?.into(),
            Type::I128 => {
                let number = self.take::<i128>()?;
                i64::try_from(number).map_or_else(|_| number.to_string().into(), Value::from)
            }
            Type::U128 => {
                let number = self.take::<u128>()?;
                u64::try_from(number).map_or_else(|_| number.to_string().into(), Value::from)
            }
            Type::F32 => from_float(shortest(self.take()?)),
            Type::F64 => from_float(self.take()?),
            Type::Char => Value::String(self.take::<char>()?.into()),
            Type::String => {
                let text: &str = self.take()?;
                self.charge(text.len())?;
                Value::String(text.to_owned())
            }
            Type::Unit | Type::UnitStruct => Value::Null,
            Type::ByteArray => {
                let len = self.len(|| false)?;
                self.charge(len.saturating_mul(VALUE))?;
                (0..len).map(|_| self.take::<u8>().map(Value::from)).collect::<Result<_, _>>()?
            }
            Type::Option(inner) => match self.take::<u8>()? {
                0 => Value::Null,
                1 if may_be_null(inner) => {
                    self.charge(ENTRY)?;
                    object("Some", self.read(inner)?)
                }
                1 => self.read(inner)?,
                other => return Err(format!("{other} is no option")),
            },
            Type::NewtypeStruct(inner) => self.read(inner)?,
            Type::Seq(inner) => {
                let len = self.len(|| takes_nothing(inner))?;
                (0..len).map(|_| self.read(inner)).collect::<Result<_, _>>()?
            }
            Type::Tuple(types) | Type::TupleStruct(types) => self.tuple(types)?,
            Type::Map { key, val } => {
                let len = self.len(|| takes_nothing(key) && takes_nothing(val))?;
                if is_text(key) {
                    let mut map = Map::new();
                    for _ in 0..len {
                        let name: &str = self.take()?;
                        self.charge(ENTRY + name.len())?;
                        map.insert(name.to_owned(), self.read(val)?);
                    }
                    Value::Object(map)
                } else {
                    let pair = |_| Ok(Value::Array(vec![self.read(key)?, self.read(val)?]));
                    (0..len).map(pair).collect::<Result<_, String>>()?
                }
            }
            Type::Struct(fields) => self.fields(fields)?,
            Type::Enum(variants) => {
                let at: usize = self.take()?;
                let variant = variants.get(at).ok_or_else(|| {
                    format!(
                        "{} has {} variants, and none of number {at}",
                        named.name,
                        variants.len()
                    )
                })?;
                self.charge(ENTRY + variant.name.len())?;
                let content = match &variant.ty {
                    Variant::UnitVariant => return Ok(Value::String(variant.name.clone())),
                    Variant::NewtypeVariant(inner) => self.read(inner)?,
                    Variant::TupleVariant(types) => self.tuple(types)?,
                    Variant::StructVariant(fields) => self.fields(fields)?,
                };
                object(&variant.name, content)
            }
            Type::Schema => return Err("a type itself cannot be JSON".to_owned()),
        })
    }

    fn tuple(&mut self, types: &[OwnedNamedType]) -> Result<Value, String> {
        types.iter().map(|ty| self.read(ty)).collect()
    }

    fn fields(&mut self, fields: &[OwnedNamedValue]) -> Result<Value, String> {
        let mut map = Map::new();
        for field in fields {
            self.charge(ENTRY + field.name.len())?;
            map.insert(field.name.clone(), self.read(&field.ty)?);
        }
        Ok(Value::Object(map))
    }

    /// How many items follow: no more than there are bytes for, unless an item takes none.
    fn len(&mut self, take_nothing: impl FnOnce() -> bool) -> Result<usize, String> {
        let len: usize = self.take()?;
        if len > self.rest.len() && !take_nothing() {
            return Err(format!("{len} items cannot be in {} bytes", self.rest.len()));
        }
        Ok(len)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.ok_or("it is too large to be JSON")?;
        Ok(())
    }

    fn take<T: Deserialize<'a>>(&mut self) -> Result<T, String> {
        let (value, rest) =
            postcard::take_from_bytes(self.rest).map_err(|error| error.to_string())?;
        self.rest = rest;
        Ok(value)
    }
}

/// Whether values of the type take no bytes at all.
fn takes_nothing(named: &OwnedNamedType) -> bool {
    match &named.ty {
        Type::Unit | Type::UnitStruct => true,
        Type::NewtypeStruct(inner) => takes_nothing(inner),
        Type::Tuple(types) | Type::TupleStruct(types) => types.iter().all(takes_nothing),
        Type::Struct(fields) => fields.iter().all(|field| takes_nothing(&field.ty)),
        _ => false,
    }
}

fn object(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

fn from_float(float: f64) -> Value {
    Number::from_f64(float).map_or_else(
        || {
            let name = if float.is_nan() { "NaN" } else { "Infinity" };
            let sign = if float.is_sign_negative() && !float.is_nan() { "-" } else { "" };
            Value::String(format!("{sign}{name}"))
        },
        Value::Number,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;
    use wpc_abi::Schema;

    #[derive(Serialize, Schema)]
    struct Leaf {
        name: String,
        size: Option<u32>,
    }

    #[derive(Serialize, Schema)]
    enum Shape {
        Nothing,
        Round(f32),
        Corner(i8, i64),
        Named { leaf: Leaf, tag: char },
    }

    #[derive(Serialize, Schema)]
    struct Unit;

    fn there_and_back<T: Serialize + Schema>(value: T, expected: Value) {
        let ty = OwnedNamedType::from(T::SCHEMA);
        let bytes = postcard::to_allocvec(&value).unwrap();
        assert_eq!(encode("it", &ty, &expected), Ok(bytes.clone()), "{expected}");
        assert_eq!(decode(&ty, &bytes), Ok(expected));
    }

    #[test]
    fn values_of_every_kind_go_there_and_back() {
        there_and_back(true, json!(true));
        there_and_back((-1_i8, 200_u8, -300_i16, 60_000_u16), json!([-1, 200, -300, 60_000]));
        there_and_back((i64::MIN, u64::MAX), json!([i64::MIN, u64::MAX]));
        there_and_back(
            (i128::MIN, u128::MAX),
            json!([i128::MIN.to_string(), u128::MAX.to_string()]),
        );
        there_and_back((0.5_f32, -0.25_f64), json!([0.5, -0.25]));
        there_and_back((f64::INFINITY, f32::NEG_INFINITY), json!(["Infinity", "-Infinity"]));
        there_and_back(('\u{e9}', "text".to_owned()), json!(["\u{e9}", "text"]));
        there_and_back((), json!(null));
        there_and_back(Unit, json!(null));
        there_and_back(Some(3_u8), json!(3));
        there_and_back(None::<u8>, json!(null));
        there_and_back(Some(None::<u8>), json!({ "Some": null }));
        there_and_back(Some(()), json!({ "Some": null }));
        there_and_back(vec![vec![1_u8], vec![]], json!([[1], []]));
        there_and_back((7_u8,), json!([7]));
        there_and_back(BTreeMap::from([("a".to_owned(), 1_u8)]), json!({ "a": 1 }));
        there_and_back(BTreeMap::from([(5_u8, true)]), json!([[5, true]]));
        there_and_back(
            Leaf { name: "n".to_owned(), size: None },
            json!({ "name": "n", "size": null }),
        );
        there_and_back(
            vec![
                Shape::Nothing,
                Shape::Round(0.5),
                Shape::Corner(-1, 2),
                Shape::Named { leaf: Leaf { name: String::new(), size: Some(1) }, tag: 'x' },
            ],
            json!([
                "Nothing",
                { "Round": 0.5 },
                { "Corner": [-1, 2] },
                { "Named": { "leaf": { "name": "", "size": 1 }, "tag": "x" } },
            ]),
        );
    }

    #[test]
    fn an_f32_is_written_in_its_shortest_form_and_refused_out_of_its_range() {
        for (single, shortest) in [
            (0.1_f32, "0.1"),
            (-3.3, "-3.3"),
            (1.0, "1.0"),
            (16_777_216.0, "16777216.0"),
            (16_777_218.0, "16777218.0"),
            (f32::MAX, "3.4028235e+38"),
            (f32::MIN_POSITIVE, "1.1754944e-38"),
            (1e-45, "1e-45"),
            (-0.0, "-0.0"),
        ] {
            let value = decode(&f32::SCHEMA.into(), &single.to_le_bytes()).unwrap();
            assert_eq!(value.to_string(), shortest);
            let bytes = encode("it", &f32::SCHEMA.into(), &value).unwrap();
            assert_eq!(bytes, single.to_le_bytes(), "{shortest}");
        }
        let encoded = |json: &str| encode("it", &f32::SCHEMA.into(), &json.parse().unwrap());
        for out_of_range in ["1e39", "-1e39", "1e308", "3.4028236e38"] {
            let refused = encoded(out_of_range).unwrap_err();
            assert!(refused.starts_with("`it` must be f32, and is "), "{refused}");
        }
        // What rounds to the largest or to zero is near enough, as it is in an `f64`.
        assert_eq!(encoded("3.40282351e38").unwrap(), f32::MAX.to_le_bytes());
        assert_eq!(encoded("1e-60").unwrap(), 0_f32.to_le_bytes());
        assert_eq!(encoded("\"-Infinity\"").unwrap(), f32::NEG_INFINITY.to_le_bytes());
    }

    #[test]
    fn every_f32_comes_back_as_it_went() {
        /// A prime, so that every exponent and sign is among those looked at.
        const STEP: usize = 99_991;
        for bits in (0..=u32::MAX).step_by(STEP) {
            let single = f32::from_bits(bits);
            let value = decode(&f32::SCHEMA.into(), &single.to_le_bytes()).unwrap();
            let bytes = encode("it", &f32::SCHEMA.into(), &value).unwrap();
            let back = f32::from_le_bytes(bytes.try_into().unwrap());
            assert!(back.to_bits() == bits || (back.is_nan() && single.is_nan()), "{bits:x}");
            if single.is_finite() {
                let text = value.to_string();
                assert_eq!(text.parse(), Ok(single));
                let digits = text.split('e').next().unwrap().replace(['-', '.'], "");
                assert!(digits.trim_matches('0').len() <= 9, "{text}");
            }
        }
    }

    #[test]
    fn sizes_have_the_width_that_they_have_in_a_guest() {
        let size = OwnedNamedType { name: "usize".to_owned(), ty: Type::Usize };
        let largest = postcard::to_allocvec(&u32::MAX).unwrap();
        assert_eq!(encode("it", &size, &json!(u32::MAX)), Ok(largest.clone()));
        assert_eq!(decode(&size, &largest), Ok(json!(u32::MAX)));
        let refused = encode("it", &size, &json!(1_u64 << 32)).unwrap_err();
        assert_eq!(refused, "`it` must be usize, and is 4294967296");
        let size = OwnedNamedType { name: "isize".to_owned(), ty: Type::Isize };
        let least = postcard::to_allocvec(&i32::MIN).unwrap();
        assert_eq!(encode("it", &size, &json!(i32::MIN)), Ok(least.clone()));
        assert_eq!(decode(&size, &least), Ok(json!(i32::MIN)));
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place_and_the_type() {
        let told = |ty: OwnedNamedType, value: Value| encode("it", &ty, &value).unwrap_err();
        let leaves = || OwnedNamedType::from(Vec::<Leaf>::SCHEMA);
        let shape = || OwnedNamedType::from(Shape::SCHEMA);
        for (found, expected) in [
            (told(leaves(), json!([{ "name": 3 }])), "`it[0].name` must be String, and is 3"),
            (told(leaves(), json!([{ "size": 3 }])), "missing field `name` in `it[0]`"),
            (
                told(leaves(), json!([{ "name": "", "sise": 3 }])),
                "unknown field `sise` in `it[0]`: `Leaf` has `name` and `size`",
            ),
            (
                told(leaves(), json!([{ "name": "", "size": -3 }])),
                "`it[0].size` must be u32, and is -3",
            ),
            (
                told(shape(), json!("Square")),
                "unknown variant `Square` in `it`: `Shape` has `Nothing`, `Round`, `Corner` and `Named`",
            ),
            (told(shape(), json!({ "Nothing": 1 })), "`it.Nothing` carries nothing"),
            (told(shape(), json!({ "Corner": [1] })), "`it.Corner` must be Shape, and is [1]"),
            (told(u8::SCHEMA.into(), json!(256)), "`it` must be u8, and is 256"),
            (told(char::SCHEMA.into(), json!("ab")), "`it` must be char, and is \"ab\""),
        ] {
            assert_eq!(found, expected);
        }
        let long = told(u8::SCHEMA.into(), json!("\u{e9}".repeat(100)));
        assert!(long.len() < 100 && long.ends_with('…'), "{long}");
    }

    #[test]
    fn bytes_that_are_no_value_are_refused_however_large_they_claim_to_be() {
        let refused = |ty: OwnedNamedType, bytes: &[u8]| decode(&ty, bytes).unwrap_err();
        let many = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(refused(Vec::<u8>::SCHEMA.into(), &many).contains("cannot be in 0 bytes"));
        assert!(refused(Vec::<()>::SCHEMA.into(), &many).contains("too large"));
        assert!(refused(Vec::<((), ())>::SCHEMA.into(), &many).contains("too large"));
        let mut lists = OwnedNamedType::from(Vec::<Vec<()>>::SCHEMA);
        assert_eq!(decode(&lists, &[2, 0, 1]), Ok(json!([[], [null]])));
        // One byte a value, a megabyte of name each.
        let mut named = OwnedNamedType::from(Shape::SCHEMA);
        if let Type::Enum(variants) = &mut named.ty {
            variants[0].name = "x".repeat(1 << 20);
        }
        lists.ty = Type::Seq(Box::new(named));
        let mut bytes = postcard::to_allocvec(&1_000_u32).unwrap();
        bytes.resize(bytes.len() + 1_000, 0);
        assert!(refused(lists, &bytes).contains("too large"));
        assert!(refused(Shape::SCHEMA.into(), &[9]).contains("none of number 9"));
        assert!(refused(Option::<u8>::SCHEMA.into(), &[2]).contains("no option"));
        assert!(refused(u8::SCHEMA.into(), &[1, 2]).contains("trailing"));
        assert!(refused(String::SCHEMA.into(), &[1, 0xff]).len() > 5);
        assert!(refused(char::SCHEMA.into(), &[]).len() > 5);
    }
}
