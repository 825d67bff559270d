//! Text output. Text of guests and files must neither control the terminal nor look like a line of this command.

/// A number with its noun in singular or plural: `1 byte`, `2 bytes`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The declarations of one item by several parts of a module. They are usually the same.
pub(crate) fn joined<T: ToString>(declared: &[T]) -> String {
    declared.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// Escapes line breaks, other control characters and bidirectional controls, so that the text stays on one line.
///
/// Applied to all text output that contains guest or file text: log lines, errors, stacks and the output of `inspect`.
pub(crate) fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Escapes characters that could control the terminal with JSON's own escapes. The JSON value stays the same.
pub(crate) fn escape_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) {
            // All of them are in the Basic Multilingual Plane, so four digits suffice.
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a character could start a line, control the terminal, or reorder the displayed text.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Marks, embeddings, overrides and isolates of the bidirectional algorithm.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Separators of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_line_breaks_are_escaped() {
        for code in (0..0x20)
            .chain(0x7f..0xa0)
            .chain([0x61c, 0x200e, 0x200f])
            .chain(0x2028..0x202f)
            .chain(0x2066..0x206a)
        {
            let character = char::from_u32(code).unwrap();
            let text = format!("a{character}b");
            let (shown, json) = (escape(&text), escape_json(&text));
            assert!(shown.is_ascii() && shown.len() > 3 && !shown.contains(character), "{shown}");
            assert_eq!(json, format!("a\\u{code:04x}b"));
        }
        for text in ["", "plain text", "ä€🦀 \"quoted\" \\ back"] {
            assert_eq!((escape(text), escape_json(text)), (text.to_owned(), text.to_owned()));
        }
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({ "a\u{202e}\u{9b}": "\n\u{7f}\u{2028}" });
        let shown = escape_json(&value.to_string());
        assert!(shown.is_ascii());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
