//! Takes out of a text what patterns find: the constant `REDACT_PATTERNS`, a list of regular
//! expressions.
//!
//! A sandbox compiles the list once and keeps it. When the constant has changed since, the next
//! call compiles the new list.

use regex::Regex;
use std::cell::RefCell;
use std::ops::Range;
use wpc::GuestError;

/// What stands where something was found.
const MARK: &str = "[redacted]";

struct Redactor {
    patterns: Vec<String>,
    compiled: Vec<Regex>,
}

thread_local! {
    static REDACTOR: RefCell<Redactor> =
        const { RefCell::new(Redactor { patterns: Vec::new(), compiled: Vec::new() }) };
}

/// The text with `[redacted]` in the place of all that a pattern finds.
///
/// Errors: `BadPattern` where one of the patterns is no regular expression. Nothing is redacted by
/// the others then: half a list would let through what nobody notices.
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
                GuestError::new(
                    "BadPattern",
                    format!("pattern `{pattern}` cannot be used: {error}"),
                )
            })
        };
        let compiled = patterns.iter().map(compile).collect::<Result<_, _>>()?;
        wpc::debug!("compiled {} patterns", patterns.len());
        Ok(Self { patterns, compiled })
    }

    /// Every pattern sees the text as it came, so that their order does not matter, and no pattern
    /// sees the marks.
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
            // One that overlaps the one before makes it longer.
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
    fn it_takes_out_all_that_is_found() {
        check(&[], "nothing", "nothing");
        check(&[r"\d+"], "1 and 23 and", "[redacted] and [redacted] and");
        check(&[r"\w+@\w+\.\w+", r"\d{4}"], "to a@b.org: 1234.", "to [redacted]: [redacted].");
        check(&[r"\w+"], "ünïcödé", "[redacted]");
    }

    #[test]
    fn patterns_that_overlap_take_out_both_whatever_their_order() {
        for patterns in [["abc", "cde"], ["cde", "abc"]] {
            check(&patterns, "xabcdey", "x[redacted]y");
        }
        check(&["abcd", "b"], "abcde", "[redacted]e");
        check(&["a", "b"], "ab", "[redacted][redacted]");
    }

    #[test]
    fn a_pattern_does_not_see_the_marks_nor_matches_nothing() {
        check(&["1", "redacted"], "1", "[redacted]");
        check(&["x*"], "ayxxa", "ay[redacted]a");
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let Err(error) = Redactor::new(vec!["fine".to_owned(), "(open".to_owned()]) else {
            panic!("it is refused")
        };
        assert_eq!(error.name, "BadPattern");
        assert!(error.message.contains("`(open`"), "{}", error.message);
    }
}
