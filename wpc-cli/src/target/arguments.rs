//! The arguments of a call on the command line.

use crate::failure::Failure;
use serde_json::Value;
use wpc_deploy::file;
use wpc_host::Limits;

/// The maximum size of JSON in bytes, for an argument's file or a line of `wpc run`.
pub(crate) const MAX_JSON: usize = 256 << 20;

/// Interprets an argument by its type. A string argument is taken literally unless it begins with a JSON quote.
pub(super) fn value(text: &str, ty: Option<&str>, limits: &Limits) -> Result<Value, Failure> {
    let is_text = matches!(ty, Some("String" | "char"));
    if is_text && !text.starts_with('"') {
        return Ok(Value::from(text));
    }
    if let Some(path) = text.strip_prefix('@').filter(|_| !is_text) {
        let is_bytes = ty == Some("Vec<u8>");
        let limit = if is_bytes { limits.arguments } else { MAX_JSON };
        let bytes = file::read_given(path.as_ref(), limit)?;
        if is_bytes {
            return Ok(Value::from(bytes));
        }
        return serde_json::from_slice(file::without_byte_order_mark(&bytes))
            .map_err(|error| Failure::usage(format!("{path} is not JSON: {error}")));
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // An argument that begins like JSON was meant as JSON.
        Err(error) if text.starts_with(['{', '[', '"']) => {
            Err(Failure::usage(format!("{text} is not JSON: {error}")))
        }
        Err(_) => Ok(Value::from(text)),
    }
}
