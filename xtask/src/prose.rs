//! Looks for words that this project does not use: each has a standard term beside it.

use std::fs;

/// Words that were found in this repository once, and what to write.
///
/// Some words of the glossary also have a usual meaning, so only their unclear uses are listed: locks are *held*, a module is
/// defined as a *whole*, a half-open circuit breaker admits a *trial call*, values are read in *place* and found *by name*,
/// a *circle* is a shape, texts consist of *words*, and libraries are *made*.
const WORDS: &[(&str, &str)] = &[
    ("whoever", "name the actor"),
    ("nobody", "name the actor"),
    ("somebody", "name the actor"),
    ("bulkhead", "circuit breaker"),
    ("the wall", "the sandbox boundary"),
    ("waiting room", "overflow queue"),
    ("left behind", "abandoned"),
    ("given up", "abandoned"),
    ("gives up", "abandons"),
    ("give up", "abandon"),
    ("troubled", "degraded"),
    ("surroundings", "environment, or what it holds"),
    ("equipment", "environment, or what it holds"),
    ("shelf", "sandbox cache"),
    ("patience", "spin-then-park policy"),
    ("bell", "wake signal"),
    ("ring", "notify"),
    ("rings", "notifies"),
    ("pace", "service-time estimate, or a rate"),
    ("hopeless", "no eligible worker"),
    ("in a circle", "a cycle"),
    ("make a sandbox", "instantiate or create"),
    ("makes a sandbox", "instantiates or creates"),
    ("made a sandbox", "instantiated or created"),
    ("makes sandboxes", "instantiates or creates"),
    ("floors", "layers, or baselines"),
    ("floor", "a layer, or a baseline"),
    ("tells", "declares, reports or returns"),
    ("told", "declared, reported or returned"),
    ("tell", "declare, report, return or notify"),
    ("handed over", "passed, returned or transferred"),
    ("hand over", "pass, return or transfer"),
    ("hands over", "passes, returns or transfers"),
    ("hand on", "pass"),
    ("hands on", "passes"),
    ("what it costs", "performance"),
    ("the original", "the Node library"),
    ("lost worker", "unresponsive worker"),
    ("is no", "is not a"),
    ("is none", "if there is none"),
];

/// Words that only names of code may contain: the changelog lists former names with this one.
const WORDS_OF_CODE: &[(&str, &str)] = &[("room", "capacity, or a buffer")];

/// What may contain them: this list.
const EXEMPT: &[&str] = &["xtask/src/prose.rs"];

const KINDS: &[&str] = &["rs", "md", "toml", "h", "zig", "ts", "js", "html", "yml", "snap", "wat"];

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
            let (all, prose) = (own_words(text), prose(kind, text).to_lowercase());
            let unclear = WORDS.iter().filter(|(word, _)| contains_word(&all, word));
            let of_code = WORDS_OF_CODE.iter().filter(|(word, _)| contains_word(&prose, word));
            found.extend(unclear.chain(of_code).map(|(word, instead)| {
                format!("{path}:{}: \"{word}\"; write: {instead}", line + 1)
            }));
        }
    }
    assert!(
        found.is_empty(),
        "{} lines use words with a standard term:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// The comment of a line of code, or a line of another file, without names of code.
fn prose(kind: &str, line: &str) -> String {
    let prose = match kind {
        "rs" | "h" | "zig" | "ts" | "js" => {
            line.split_once("//").map_or("", |(_, comment)| comment)
        }
        _ => line,
    };
    prose.split('`').step_by(2).collect()
}

/// A line in lower case, without names of libraries and of WASI that contain one of the words.
fn own_words(line: &str) -> String {
    [
        "floor_char_boundary",
        ".floor()",
        "math.floor(",
        "fd_tell",
        "\"ring\"",
        "`ring`",
        "crypto::ring",
    ]
    .iter()
    .fold(line.to_lowercase(), |line, name| line.replace(name, ""))
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
    assert_eq!(prose("h", "size_t room; // for bytes"), " for bytes");
    assert_eq!(prose("h", "size_t room;"), "");
    assert_eq!(prose("md", "no room in `wait_for_room`"), "no room in ");
}
