//! Looks for words that this project does not use: each has a standard term beside it.

use std::fs;

/// Words that were found in this repository once, and what to write.
const WORDS: &[(&str, &str)] = &[
    ("whoever", "name the actor"),
    ("nobody", "name the actor"),
    ("somebody", "name the actor"),
    ("bulkhead", "circuit breaker"),
    ("the wall", "the sandbox boundary"),
    ("waiting room", "overflow queue"),
    ("left behind", "abandoned"),
    ("troubled", "degraded"),
    ("surroundings", "environment, or what it holds"),
    ("equipment", "environment, or what it holds"),
    ("shelf", "sandbox cache"),
    ("patience", "spin-then-park policy"),
    ("bell", "wake signal"),
    ("hopeless", "no eligible worker"),
    ("in a circle", "a cycle"),
    ("floors", "layers, or baselines"),
    ("floor", "a layer, or a baseline"),
    ("tells", "declares, reports or returns"),
    ("told", "declared, reported or returned"),
    ("handed over", "passed, returned or transferred"),
    ("hand on", "pass"),
    ("what it costs", "performance"),
    ("the original", "the Node library"),
    ("lost worker", "unresponsive worker"),
    ("is no", "is not a"),
    ("is none", "if there is none"),
];

/// What may contain them: names of the standard library, and this list.
const EXEMPT: &[&str] = &["xtask/src/prose.rs"];

const KINDS: &[&str] = &["rs", "md", "toml", "h", "zig", "ts", "snap", "wat"];

#[test]
fn the_repository_uses_standard_terms() {
    let root = crate::root().unwrap();
    let listed = std::process::Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(&root)
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut found = Vec::new();
    for path in listed.split('\0') {
        let kind = path.rsplit('.').next().unwrap_or_default();
        if EXEMPT.contains(&path) || !KINDS.contains(&kind) {
            continue;
        }
        let Ok(text) = fs::read_to_string(root.join(path)) else { continue };
        for (line, text) in text.lines().enumerate() {
            for (word, instead) in WORDS {
                if contains_word(&own_words(text), word) {
                    found.push(format!("{path}:{}: \"{word}\"; write: {instead}", line + 1));
                }
            }
        }
    }
    assert!(
        found.is_empty(),
        "{} lines use words with a standard term:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// A line in lower case, without names of the standard library that contain one of the words.
fn own_words(line: &str) -> String {
    line.to_lowercase().replace(".floor()", "").replace("floor_char_boundary", "")
}

/// Whether a line has the word as a whole. A name of code is one word: `is_none` is not "is none".
fn contains_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric();
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part)
    })
}

#[test]
fn a_word_is_found_as_a_whole() {
    assert!(contains_word("(the wall)", "the wall"));
    assert!(contains_word("a_bulkhead_of", "bulkhead"));
    assert!(!contains_word("label", "bell") && !contains_word("bells", "bell"));
    assert!(!contains_word("this is not", "is no"));
}
