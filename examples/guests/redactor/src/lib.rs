//! Redacts matches of patterns in a text. The constant `REDACT_PATTERNS` is a list of regular expressions.
//!
//! A sandbox compiles the list once and keeps it. After a change of the constant the next call compiles the new list.

use regex::Regex;
use std::cell::RefCell;
use std::ops::Range;
use wpc::GuestError;

/// The replacement of a match.
const MARK: &str = "[redacted]";

struct Redactor {
    patterns: Vec<String>,
    compiled: Vec<Regex>,
}

thread_local! {
    static REDACTOR: RefCell<Redactor> =
        const { RefCell::new(Redactor { patterns: Vec::new(), compiled: Vec::new() }) };
}

/// Replaces all matches of the patterns by `[redacted]`.
///
/// Errors: `BadPattern` if one of the patterns is not a regular expression. The others are not applied then, because a
/// partly redacted text would leak matches unnoticed.
#[wpc::function]
fn redact(text: &str) -> Result<String, GuestError> {
    let patterns = wpc::constant!("REDACT_PATTERNS": Vec<String>)?;
    REDACTOR.with_borrow_mut(|redactor| {
        if redactor.patterns != patterns {
            *redactor = Redactor::new(patterns)?;
        }
        Ok(redactor.redact(text))
    })
}

impl Redactor {
    fn new(patterns: Vec<String>) -> Result<Self, GuestError> {
        let compile = |pattern: &String| {
            Regex::new(pattern).map_err(|error| {
                GuestError::new("BadPattern", format!("invalid pattern `{pattern}`: {error}"))
            })
        };
        let compiled = patterns.iter().map(compile).collect::<Result<_, _>>()?;
        wpc::debug!("compiled {} patterns", patterns.len());
        Ok(Self { patterns, compiled })
    }

    /// Matches every pattern against the unmodified text, so that the order of patterns does not matter and no pattern
    /// matches a replacement.
    fn redact(&self, text: &str) -> String {
        let mut found: Vec<Range<usize>> = self
            .compiled
            .iter()
            .flat_map(|pattern| pattern.find_iter(text))
            .map(|hit| hit.range())
            .filter(|hit| !hit.is_empty())
            .collect();
        found.sort_unstable_by_key(|hit| hit.start);

        let mut redacted = String::with_capacity(text.len());
        let mut end = 0;
        for hit in found {
            // A match that overlaps the previous one extends it.
            if hit.start >= end {
                redacted.push_str(&text[end..hit.start]);
                redacted.push_str(MARK);
            }
            end = end.max(hit.end);
        }
        redacted.push_str(&text[end..]);
        redacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &[&str], text: &str, redacted: &str) {
        let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        assert_eq!(Redactor::new(patterns).unwrap().redact(text), redacted);
    }

    #[test]
    fn all_matches_are_redacted() {
        check(&[], "nothing", "nothing");
        check(&[r"\d+"], "1 and 23 and", "[redacted] and [redacted] and");
        check(&[r"\w+@\w+\.\w+", r"\d{4}"], "to a@b.org: 1234.", "to [redacted]: [redacted].");
        check(&[r"\w+"], "ünïcödé", "[redacted]");
    }

    #[test]
    fn overlapping_matches_are_redacted_in_any_order() {
        for patterns in [["abc", "cde"], ["cde", "abc"]] {
            check(&patterns, "xabcdey", "x[redacted]y");
        }
        check(&["abcd", "b"], "abcde", "[redacted]e");
        check(&["a", "b"], "ab", "[redacted][redacted]");
    }

    #[test]
    fn replacements_and_empty_matches_are_not_redacted() {
        check(&["1", "redacted"], "1", "[redacted]");
        check(&["x*"], "ayxxa", "ay[redacted]a");
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let Err(error) = Redactor::new(vec!["fine".to_owned(), "(open".to_owned()]) else {
            panic!("the pattern is accepted")
        };
        assert_eq!(error.name, "BadPattern");
        assert!(error.message.contains("`(open`"), "{}", error.message);
    }
}
