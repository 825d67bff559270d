//! Entries of a deployment that are not served.

use serde::Serialize;

/// An entry that was refused at the start or at a reload, so that it is not defined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnservedEntry {
    /// The entry, such as `function "greet"`.
    pub entry: String,
    /// Why it was refused.
    pub reason: String,
}

impl UnservedEntry {
    /// An entry with the reason.
    pub fn new(entry: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { entry: entry.into(), reason: reason.into() }
    }
}
