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
    /// The path to the difference, from the outside in, such as ``parameter 1, field `tags` of `Comment` ``; empty if the types differ as a whole.
    pub place: String,
    /// What was expected, such as `` `u32` ``.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl Difference {
    pub(super) fn here(expected: String, found: String) -> Self {
        Self { place: String::new(), expected, found }
    }

    /// Prepends `place` to the path.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        let place = match self.place.as_str() {
            "" => place.to_owned(),
            inner => format!("{place}, {inner}"),
        };
        Self { place, ..self }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, expected, found } = self;
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        write!(f, "expected {expected}, found {found}")
    }
}

impl core::error::Error for Difference {}
