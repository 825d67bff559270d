//! Examples of arguments, generated from the declared types.

use serde_json::{Map, Value, json};
use wpc_host::FunctionParameter;
use wpc_host::postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType as Named,
    OwnedNamedValue as Field,
};

/// The maximum number of values of an example. Hostile modules declare types with more.
const MAX_VALUES: usize = 100;

/// An example of arguments by name; `None` if a type is not declared, is too large, or has no value.
pub(super) fn arguments(parameters: &[FunctionParameter]) -> Option<Value> {
    let mut left = MAX_VALUES;
    let mut arguments = Map::new();
    for parameter in parameters {
        let ty = parameter.ty.as_ref()?.structure();
        arguments.insert(parameter.name.clone(), value(ty, &mut left)?);
    }
    Some(arguments.into())
}

fn value(named: &Named, left: &mut usize) -> Option<Value> {
    *left = left.checked_sub(1)?;
    Some(match &named.ty {
        Type::Bool => true.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::I128 | Type::Isize => 1.into(),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::U128 | Type::Usize => 1.into(),
        Type::F32 | Type::F64 => 0.5.into(),
        Type::Char => "a".into(),
        Type::String => "text".into(),
        Type::Unit | Type::UnitStruct => Value::Null,
        Type::ByteArray => json!([1, 2]),
        Type::Option(inner) if super::schema::may_be_null(inner) => {
            json!({ "Some": value(inner, left)? })
        }
        Type::Option(inner) | Type::NewtypeStruct(inner) => value(inner, left)?,
        Type::Seq(inner) => json!([value(inner, left)?]),
        Type::Tuple(items) | Type::TupleStruct(items) => tuple(items, left)?,
        Type::Map { key, val } if super::schema::is_text(key) => {
            json!({ "key": value(val, left)? })
        }
        Type::Map { key, val } => json!([[value(key, left)?, value(val, left)?]]),
        Type::Struct(fields) => object(fields, left)?,
        Type::Enum(variants) => {
            let variant = variants.first()?;
            let content = match &variant.ty {
                Variant::UnitVariant => return Some(variant.name.as_str().into()),
                Variant::NewtypeVariant(inner) => value(inner, left)?,
                Variant::TupleVariant(items) => tuple(items, left)?,
                Variant::StructVariant(fields) => object(fields, left)?,
            };
            Value::Object(Map::from_iter([(variant.name.clone(), content)]))
        }
        Type::Schema => return None,
    })
}

fn tuple(items: &[Named], left: &mut usize) -> Option<Value> {
    items.iter().map(|item| value(item, left)).collect()
}

fn object(fields: &[Field], left: &mut usize) -> Option<Value> {
    let fields = fields.iter().map(|field| Some((field.name.clone(), value(&field.ty, left)?)));
    Some(Value::Object(fields.collect::<Option<_>>()?))
}
