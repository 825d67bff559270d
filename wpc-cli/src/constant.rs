//! A constant from a command line or a manifest: its JSON value, and its type where that is told.
//!
//! A guest decodes a constant as the type it expects, which no module tells. Text, truth values, fractions and
//! what is made of them say theirs. An integer does not: the bytes of one type are another number of the
//! next.

use crate::failure::Failure;
use serde_json::Value;
use wpc_host::{Error, WorkerProcedureCall};

/// From a command line: `NAME=JSON`, or `NAME:TYPE=JSON`.
pub(crate) fn define_from(wpc: &WorkerProcedureCall, text: &str) -> Result<(), Failure> {
    let wrong = |why: String| Failure::usage(format!("--const {text}: {why}"));
    let (name, json) = text
        .split_once('=')
        .ok_or_else(|| wrong("it must be NAME=JSON or NAME:TYPE=JSON".to_owned()))?;
    let (name, ty) = match name.split_once(':') {
        Some((name, ty)) => (name, Some(ty)),
        None => (name, None),
    };
    let value: Value = serde_json::from_str(json).map_err(|error| {
        wrong(format!("{json} is not JSON: {error}; text needs quotes of its own: '\"text\"'"))
    })?;
    define(wpc, name, ty, &value).map_err(|error| match error {
        Error::ConstantEncode { reason, .. } => wrong(reason),
        error => error.into(),
    })
}

pub(crate) fn define(
    wpc: &WorkerProcedureCall,
    name: &str,
    ty: Option<&str>,
    value: &Value,
) -> Result<(), Error> {
    let ty = match ty {
        Some(ty) => ty.to_owned(),
        None => natural_type(value).ok_or_else(|| Error::ConstantEncode {
            constant: name.to_owned(),
            reason: format!(
                "the value does not tell the type that the guest reads; say it, as in {name}:u32={value} or {name} = {{ type = \"u32\", value = {value} }}"
            ),
        })?,
    };
    wpc.define_worker_constant_json(name, &ty, value)
}

fn natural_type(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => "bool".to_owned(),
        Value::String(_) => "String".to_owned(),
        Value::Number(number) if number.is_f64() => "f64".to_owned(),
        Value::Number(_) => return None,
        Value::Array(items) => format!("Vec<{}>", common_type(items.iter())?),
        Value::Object(entries) => format!("Map<String, {}>", common_type(entries.values())?),
    })
}

fn common_type<'a>(mut values: impl Iterator<Item = &'a Value>) -> Option<String> {
    let first = natural_type(values.next()?)?;
    values.all(|value| natural_type(value).as_ref() == Some(&first)).then_some(first)
}
