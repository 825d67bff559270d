//! A constant from a command line: its JSON value, and its type.

use crate::failure::Failure;
use serde_json::Value;
use wpc_deploy::{ConstantTypes, type_of};
use wpc_host::{Error, WorkerProcedureCall};

/// Defines a constant from the command line: `NAME=JSON` or `NAME:TYPE=JSON`.
pub(crate) fn define_from(
    wpc: &WorkerProcedureCall,
    declared: &ConstantTypes,
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
    let ty = type_of(name, ty, declared.get(name), &value);
    let defined = ty.and_then(|ty| wpc.define_worker_constant_as(name, &ty, &value));
    defined.map_err(|error| match error {
        Error::ConstantEncode { reason, .. } => wrong(reason),
        error => error.into(),
    })
}
