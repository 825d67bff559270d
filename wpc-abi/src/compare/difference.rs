//! The difference between two types.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// The first difference between two types.
///
/// ```
/// use wpc_abi::compare::compare_signatures;
/// use wpc_abi::text::parse_signature;
///
/// let expected = parse_signature("stem", "(word: u32) -> u64").unwrap();
/// let found = parse_signature("stem", "(word: String) -> String").unwrap();
/// let difference = compare_signatures(&expected, &found).unwrap_err();
/// assert_eq!(difference.to_string(), "parameter 1: expected `u32`, found `String`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The path to the part that differs, from the outside in, such as ``parameter 1, field `tags` of `Comment` ``; empty if the types differ as a whole.
    pub part: String,
    /// What was expected, such as `` `u32` ``.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl Difference {
    pub(super) fn here(expected: String, found: String) -> Self {
        Self { part: String::new(), expected, found }
    }

    /// Prepends the enclosing `part` to the path.
    #[must_use]
    pub fn within(self, part: &str) -> Self {
        let part = match self.part.as_str() {
            "" => part.to_owned(),
            inner => format!("{part}, {inner}"),
        };
        Self { part, ..self }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, expected, found } = self;
        if !part.is_empty() {
            write!(f, "{part}: ")?;
        }
        write!(f, "expected {expected}, found {found}")
    }
}

impl core::error::Error for Difference {}
