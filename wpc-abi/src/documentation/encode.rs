//! Encodes records at run time, for tools that add them to compiled modules.

use super::{FUNCTION, SECTION, TYPE};
use crate::section::encode::{named_section, put_str, record};
use alloc::vec::Vec;

/// Encodes the documentation of a function as a record. The text must not exceed [`MAX_TEXT`](super::MAX_TEXT).
#[must_use]
pub fn function_record(function: &str, text: &str) -> Vec<u8> {
    record_of(FUNCTION, &[function, text])
}

/// Encodes the documentation of a type, or of its field, variant, or `Variant.field`, as a record. `item` is empty for
/// the type itself. The text must not exceed [`MAX_TEXT`](super::MAX_TEXT).
#[must_use]
pub fn type_record(ty: &str, item: &str, text: &str) -> Vec<u8> {
    record_of(TYPE, &[ty, item, text])
}

/// A custom section with these records, to be appended to a compiled module.
#[must_use]
pub fn custom_section(records: &[u8]) -> Vec<u8> {
    named_section(SECTION, records)
}

fn record_of(kind: usize, texts: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        put_str(&mut body, text);
    }
    record(kind, &body)
}
