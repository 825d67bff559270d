//! A constant from a command line or a manifest: its JSON value, and its type.
//!
//! The type is stated explicitly, declared by a module, or inferred from the value, in this order. It is inferred for
//! strings, booleans, fractions, and arrays and maps of them. It is not inferred for integers, because the encoding of
//! one integer type may decode as another number of another type.

use crate::failure::Failure;
use serde_json::Value;
use std::collections::BTreeMap;
use wpc_host::{DeclaredType, Error, WasmModule, WorkerProcedureCall};

/// The types that modules declare for constants. If they differ, the first one applies, and the other module is
/// rejected.
#[derive(Debug, Default)]
pub(crate) struct Declared(BTreeMap<String, DeclaredType>);

impl Declared {
    /// Adds a module's declarations. Errors of the module are reported when it is defined.
    pub(crate) fn add(&mut self, module: &WasmModule) {
        for (name, ty) in module.constant_types().unwrap_or_default() {
            self.0.entry(name).or_insert(ty);
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&DeclaredType> {
        self.0.get(name)
    }
}

/// Defines a constant from the command line: `NAME=JSON` or `NAME:TYPE=JSON`.
pub(crate) fn define_from(
    wpc: &WorkerProcedureCall,
    declared: &Declared,
    text: &str,
) -> Result<(), Failure> {
    let wrong = |why: String| Failure::usage(format!("--const {text}: {why}"));
    let (name, json) = text
        .split_once('=')
        .ok_or_else(|| wrong("expected NAME=JSON or NAME:TYPE=JSON".to_owned()))?;
    let (name, ty) = match name.split_once(':') {
        Some((name, ty)) => (name, Some(ty)),
        None => (name, None),
    };
    let value: Value = serde_json::from_str(json).map_err(|error| {
        wrong(format!("{json} is not JSON: {error}; a string needs JSON quotes: '\"text\"'"))
    })?;
    define(wpc, name, ty, declared.get(name), &value).map_err(|error| match error {
        Error::ConstantEncode { reason, .. } => wrong(reason),
        error => error.into(),
    })
}

pub(crate) fn define(
    wpc: &WorkerProcedureCall,
    name: &str,
    ty: Option<&str>,
    declared: Option<&DeclaredType>,
    value: &Value,
) -> Result<(), Error> {
    let ty = match (ty, declared) {
        (Some(ty), _) => ty.to_owned(),
        (None, Some(declared)) => return wpc.define_worker_constant_as(name, declared, value),
        (None, None) => inferred_type(value).ok_or_else(|| Error::ConstantEncode {
            constant: name.to_owned(),
            reason: format!(
                "the type is not declared by a module and cannot be inferred from the value; state it, for example {name}:u32={value} or {name} = {{ type = \"u32\", value = {value} }}"
            ),
        })?,
    };
    wpc.define_worker_constant_json(name, &ty, value)
}

fn inferred_type(value: &Value) -> Option<String> {
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
    let first = inferred_type(values.next()?)?;
    values.all(|value| inferred_type(value).as_ref() == Some(&first)).then_some(first)
}
