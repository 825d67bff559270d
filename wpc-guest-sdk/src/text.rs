//! Builds messages without `core::fmt`, which would be larger than all other code of a small guest.

use alloc::string::String;
#[cfg(any(target_arch = "wasm32", test))]
use core::panic::Location;

/// Concatenates the parts, as `concat` does, but without code for a panic.
#[inline(never)]
pub(crate) fn joined(parts: &[&str]) -> String {
    let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        text.push_str(part);
    }
    text
}

/// The number in decimal digits.
pub(crate) fn decimal(number: usize) -> String {
    let mut text = String::new();
    push_decimal(&mut text, number);
    text
}

/// `1 trailing byte`, `2 trailing bytes`.
pub(crate) fn trailing(bytes: usize) -> String {
    joined(&[&decimal(bytes), if bytes == 1 { " trailing byte" } else { " trailing bytes" }])
}

#[inline(never)]
fn push_decimal(text: &mut String, number: usize) {
    // A number has at most 20 digits, which bounds the recursion.
    if number >= 10 {
        push_decimal(text, number / 10);
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is below ten")]
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// Why bytes do not decode.
pub(crate) fn decode_reason(error: &postcard::Error) -> &'static str {
    use postcard::Error as E;
    match error {
        E::WontImplement | E::NotYetImplemented => "the type needs a self-describing format",
        E::DeserializeUnexpectedEnd => "the bytes end too early",
        E::DeserializeBadVarint => "a number is too large for its type",
        E::DeserializeBadBool => "a bool is neither 0 nor 1",
        E::DeserializeBadChar => "a char is not a Unicode scalar value",
        E::DeserializeBadUtf8 => "a string is not UTF-8",
        E::DeserializeBadOption => "an option is neither 0 nor 1",
        E::DeserializeBadEnum => "a variant's number is too large",
        E::SerdeDeCustom => "a type rejects its value",
        _ => "the bytes are not a value of the type",
    }
}

/// Why a value does not encode.
pub(crate) fn encode_reason(error: &postcard::Error) -> &'static str {
    use postcard::Error as E;
    match error {
        E::SerializeSeqLengthUnknown => "the length of a sequence must be known before its items",
        E::SerdeSerCustom => "a type rejects being encoded",
        E::CollectStrError => "a type's `Display` failed",
        _ => "the type cannot be encoded",
    }
}

/// A panic's message in the format of the standard library.
#[cfg(any(target_arch = "wasm32", test))]
pub(crate) fn panicked(location: Option<&Location<'_>>, message: Option<&str>) -> String {
    let location = location.map_or_else(String::new, |location| {
        let line = decimal(location.line() as usize);
        let column = decimal(location.column() as usize);
        joined(&[" at ", location.file(), ":", &line, ":", &column])
    });
    let (before, message) = message.map_or(("", ""), |message| ("\n", message));
    joined(&["panicked", &location, ":", before, message])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn numbers_are_formatted_as_by_the_standard_library() {
        for number in [0, 1, 9, 10, 19, 100, 65_535, usize::MAX - 1, usize::MAX] {
            assert_eq!(decimal(number), number.to_string());
        }
    }

    #[test]
    fn a_panic_reports_its_location_and_message() {
        let location = Location::caller();
        assert_eq!(
            panicked(Some(location), Some("no")),
            std::format!("panicked at {location}:\nno")
        );
        assert_eq!(panicked(Some(location), None), std::format!("panicked at {location}:"));
    }
}
