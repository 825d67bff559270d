//! Text as it is shown: the library's errors name the library's way out, and who types has the command's; guests'
//! text may try to lead a terminal.

/// What an error says, and what is said here instead. The first that fits counts.
const WORDS: [(&str, &str); 23] = [
    (
        "define it with `define_worker_function`",
        "`wpc inspect` lists a file's; a manifest has it under [functions] or [modules]",
    ),
    (
        "define it with `define_worker_dependency`",
        "give it with --dep ALIAS=FILE, or under [dependencies] of a manifest",
    ),
    (
        "define it with `define_worker_constant`",
        "give it with --const NAME=JSON, or under [constants] of a manifest",
    ),
    (
        "which is not defined; define it with `define_host_function`",
        "which only a program that hosts it can define",
    ),
    ("`get_remote_functions` tells its signature", "`wpc inspect` tells its signature"),
    ("grant it with `.grant(Capability::Clock)`", "grant it with --grant clock"),
    ("grant it with `.grant(Capability::Random)`", "grant it with --grant random"),
    ("grant it with `.grant_wasi(Wasi::new())`", "grant it with --grant wasi"),
    ("grant it with `.grant_wasi(Wasi::minimal())`", "grant it with --grant wasi"),
    (
        "grant it with `.grant_wasi(Wasi::new().arguments([…]))`",
        "grant it with --grant wasi, or arg=TEXT",
    ),
    (
        "grant it with `.grant_wasi(Wasi::new().environment([…]))`",
        "grant it with --grant wasi, or env=NAME=VALUE",
    ),
    ("grant it with `.grant_wasi(Wasi::new().stdin(…))`", "grant it with --grant wasi, or stdin"),
    (
        "grant it with `.grant_wasi(Wasi::new().stdout(Output::events()))`",
        "grant it with --grant wasi, or output",
    ),
    (
        "grant it with `.grant_wasi(Wasi::new().read_directory(…, …))`",
        "grant it with --grant read=FOLDER, or write=FOLDER",
    ),
    ("raise `Limits::fuel` or `CallOptions::fuel`", "raise --fuel, or `fuel`"),
    (
        "define the function with `Limits::fuel`",
        "meter it with --fuel, or with `fuel` in its limits",
    ),
    ("raise `Limits::memory`", "raise --memory, or `memory` in its limits"),
    ("call with `wait_for_room`, or raise", "raise"),
    ("call `start_workers` first", "they are about to stop"),
    ("the pool's `Options::", "the pool's `"),
    ("`Limits::", "`limits."),
    ("`Options::", "`pool."),
    ("`CallOptions::", "`"),
];

/// What only a program can grant.
const HOST_FUNCTION: &str = "; grant it with `.grant_host_function(";

pub(crate) fn in_our_words(message: &str) -> String {
    let mut message = message.to_owned();
    if let Some(at) = message.find(HOST_FUNCTION) {
        message.truncate(at);
        message.push_str("; only a program that hosts the module can grant it");
    }
    WORDS.iter().fold(message, |message, (theirs, ours)| message.replace(theirs, ours))
}

/// A guest's text without what a terminal would obey; it may have several lines.
pub(crate) fn printable(text: &str) -> String {
    escaped(text, |character| character.is_control() && !matches!(character, '\n' | '\t'))
}

/// The same on one line.
pub(crate) fn on_one_line(text: &str) -> String {
    escaped(text, char::is_control)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_escaped(character) {
            shown.extend(character.escape_debug());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_names_a_method_of_the_library() {
        let errors = include_str!("../../tests/snapshots/errors.snap");
        let ours = in_our_words(errors);
        for theirs in ["define_", "Limits::", "Options::", ".grant", "get_remote", "start_workers"]
        {
            let line = ours.lines().find(|line| line.contains(theirs) && line.starts_with("  "));
            assert_eq!(line, None, "{theirs}");
        }
        let pieces = include_str!("../../wpc-host/src/wasi.rs").lines();
        for piece in pieces.filter(|line| line.contains("=> \".grant_wasi")) {
            let grant = piece.split('"').nth(1).unwrap();
            let message = in_our_words(&format!("it was not granted; grant it with `{grant}`"));
            assert!(message.contains("--grant "), "{message}");
        }
    }
}
