//! The arguments of a call on the command line.

use crate::failure::Failure;
use crate::remedy;
use serde_json::Value;
use wpc_deploy::file::{self, FileError};

/// The maximum size of JSON in bytes, for an argument's file or a line of `wpc run`.
pub(crate) const MAX_JSON: usize = 256 << 20;

/// Reads a file whose bytes are an argument, of at most `limit` bytes.
pub(super) fn bytes(path: &str, limit: usize) -> Result<Vec<u8>, Failure> {
    file::read_given(path.as_ref(), limit).map_err(failure)
}

/// The failure to read arguments, with the option that raises their limit.
pub(super) fn failure(error: FileError) -> Failure {
    if error.is_too_large() {
        let option = remedy::limit("arguments");
        return Failure::environment(format!("{error}; raise {option}"));
    }
    error.into()
}

/// Interprets an argument by its type; `limit` is the maximum size of bytes in a file. A string argument is taken literally unless it begins with a JSON quote.
pub(super) fn value(text: &str, ty: Option<&str>, limit: usize) -> Result<Value, Failure> {
    let is_text = matches!(ty, Some("String" | "char"));
    if is_text && !text.starts_with('"') {
        return Ok(Value::from(text));
    }
    if let Some(path) = text.strip_prefix('@').filter(|_| !is_text) {
        if ty == Some("Vec<u8>") {
            return bytes(path, limit).map(Value::from);
        }
        let bytes = file::read_given(path.as_ref(), MAX_JSON)?;
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
