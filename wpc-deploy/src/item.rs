//! Items that a manifest defines: constants, dependencies, modules and functions.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// The manifest's table that an item is in. The order is that of definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// `[constants]`.
    Constant,
    /// `[dependencies]`.
    Dependency,
    /// `[modules]`.
    Module,
    /// `[functions]`.
    Function,
}

/// A named item of the manifest. Its text is the kind and the name, such as `function "resize"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Item {
    /// The table that it is in.
    pub kind: Kind,
    /// Its key there.
    pub name: String,
}

impl Kind {
    /// Its name, such as `function`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Dependency => "dependency",
            Self::Module => "module",
            Self::Function => "function",
        }
    }
}

impl Item {
    /// The item with this name in this table.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.kind.as_str(), self.name)
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        COMPARISONS.with(|count| count.set(count.get() + 1));
        (self.kind, &self.name).cmp(&(other.kind, &other.name))
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Item {}

#[cfg(test)]
thread_local! {
    /// The number of comparisons of items on this thread, as a measure of a deployment's work.
    pub(crate) static COMPARISONS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}
