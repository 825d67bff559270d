//! Text from guests and files as it is shown to people. It must not lead a terminal, and must not look like
//! a line that this command wrote.

/// The text on one line: line breaks, other control characters and what reorders text are escaped.
///
/// Everything that is shown in text goes through here: log lines, errors, stacks, and what `inspect` reads.
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

/// JSON in which no string can lead a terminal. It is the same value: JSON has escapes for these characters.
pub(crate) fn escape_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) {
            // All of them lie in the first plane.
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a character could start a line, lead a terminal, or change the order in which others are shown.
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
    fn no_character_that_leads_a_terminal_or_breaks_a_line_is_shown() {
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
    fn escaped_json_is_the_same_value() {
        let value = serde_json::json!({ "a\u{202e}\u{9b}": "\n\u{7f}\u{2028}" });
        let shown = escape_json(&value.to_string());
        assert!(shown.is_ascii());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
