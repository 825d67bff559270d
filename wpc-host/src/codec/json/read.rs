//! Decodes the bytes of a guest into JSON.

use super::number::{from_float, shortest};
use super::{is_text, may_be_null};
use crate::codec::decode::{counted, trailing};
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedValue,
};
use serde::de::Deserialize;
use serde_json::{Map, Value};

/// The most bytes that one result may take as JSON, estimated by [`VALUE`] and [`ENTRY`]. JSON may be much larger than the
/// guest's bytes: a value may take one byte or none there, and the module chooses the names.
const BUDGET: usize = 256 << 20;

/// The approximate size of a JSON value, in bytes.
const VALUE: usize = 72;

/// The approximate size of an object's entry in bytes, without its name and its value, but with its share of the object.
const ENTRY: usize = 256;

/// Decodes one value of the type, which must use all of the bytes.
pub(crate) fn decode(ty: &OwnedNamedType, bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { rest: bytes, budget: BUDGET };
    let value = reader.read(ty)?;
    match reader.rest.len() {
        0 => Ok(value),
        left => Err(trailing(left)),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// How many more bytes of JSON may be created.
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
                other => return Err(format!("{other} is not a valid tag of an `Option`")),
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
                        "`{}` has {}, found number {at}",
                        named.name,
                        counted(variants.len(), "variant")
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
            Type::Schema => return Err("JSON cannot represent a schema".to_owned()),
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

    /// Reads the number of items. It cannot exceed the number of remaining bytes, unless items take no bytes.
    fn len(&mut self, take_nothing: impl FnOnce() -> bool) -> Result<usize, String> {
        let len: usize = self.take()?;
        if len > self.rest.len() && !take_nothing() {
            return Err(format!("{len} items do not fit in {}", counted(self.rest.len(), "byte")));
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
