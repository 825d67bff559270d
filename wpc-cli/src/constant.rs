//! A constant from the command line: `NAME=JSON`, or `NAME:TYPE=JSON`.
//!
//! A guest decodes a constant as the type it expects, which no module tells. Text, truth values and
//! lists of text say theirs; a number needs its type unless it is an `i64` or an `f64`.

use crate::failure::Failure;
use serde_json::Value;
use wpc_host::WorkerProcedureCall;

pub(crate) fn define(wpc: &WorkerProcedureCall, text: &str) -> Result<(), Failure> {
    let wrong = |why: String| Failure::usage(format!("--const {text}: {why}"));
    let (name, json) = text
        .split_once('=')
        .ok_or_else(|| wrong("it must be NAME=JSON or NAME:TYPE=JSON".to_owned()))?;
    let (name, ty) = match name.split_once(':') {
        Some((name, ty)) => (name, Some(ty)),
        None => (name, None),
    };
    let value: Value = serde_json::from_str(json).map_err(|error| {
        wrong(format!("{json} is no JSON: {error}; text needs quotes of its own: '\"text\"'"))
    })?;
    let ty = match ty {
        Some(ty) => ty,
        None => natural_type(&value).ok_or_else(|| {
            wrong("what type the guest expects cannot be told from this".to_owned())
        })?,
    };
    macro_rules! by_type {
        ($($name:literal $ty:ty),+ $(,)?) => {
            match ty {
                $($name => {
                    let value = serde_json::from_value::<$ty>(value).map_err(|error| {
                        wrong(format!("it is no {ty}: {error}"))
                    })?;
                    wpc.define_worker_constant(name, &value)
                })+
                _ => {
                    let known = [$($name),+].join(", ");
                    return Err(wrong(format!("the type is one of {known}")));
                }
            }
        };
    }
    let defined = by_type! {
        "bool" bool, "String" String, "f32" f32, "f64" f64,
        "i8" i8, "i16" i16, "i32" i32, "i64" i64, "u8" u8, "u16" u16, "u32" u32, "u64" u64,
        "Vec<String>" Vec<String>, "Vec<u8>" Vec<u8>, "Vec<i64>" Vec<i64>, "Vec<f64>" Vec<f64>,
    };
    Ok(defined?)
}

fn natural_type(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Bool(_) => "bool",
        Value::String(_) => "String",
        Value::Number(number) if number.is_f64() => "f64",
        Value::Number(_) => "i64",
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            "Vec<String>"
        }
        _ => return None,
    })
}
