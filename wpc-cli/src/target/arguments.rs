//! The arguments of a call on the command line, and the types in a signature.

use crate::failure::Failure;
use crate::file::{self, MAX_JSON};
use serde_json::Value;
use wpc_host::Limits;

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

/// The argument types of a signature.
pub(super) fn argument_types(signature: &str) -> Vec<&str> {
    arguments_of(signature).into_iter().map(|(_, ty)| ty).collect()
}

/// The names and types of a signature's arguments. Commas within a type do not separate arguments.
pub(crate) fn arguments_of(signature: &str) -> Vec<(&str, &str)> {
    let mut arguments = Vec::new();
    let (mut depth, mut start) = (0_usize, 1);
    for (at, character) in signature.char_indices() {
        match character {
            '(' | '<' => depth += 1,
            '>' if signature[..at].ends_with('-') => break,
            ')' | '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_end = (character == ',' && depth == 1) || depth == 0;
        if is_end {
            if let Some((name, ty)) = signature[start..at].split_once(':') {
                arguments.push((name.trim(), ty.trim()));
            }
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_within_a_type_do_not_separate_arguments() {
        for (signature, types) in [
            ("() -> ()", vec![]),
            ("(a: i32) -> String", vec!["i32"]),
            (
                "(a: Map<String, u32>, b: (u8, u8), c: ?) -> ()",
                vec!["Map<String, u32>", "(u8, u8)", "?"],
            ),
        ] {
            assert_eq!(argument_types(signature), types, "{signature}");
        }
    }
}
