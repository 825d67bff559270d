//! A change that was refused.

use crate::error::{Definable, Error};
use std::fmt;

/// A refused change from [`Changes`](crate::Changes), and the reason. Its text names the item.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Refusal {
    /// The position of the change, in the order in which the changes were added; the first has 0.
    pub change: usize,
    /// The kind of the item; functions of a module have the kind [`Function`](Definable::Function).
    pub kind: Definable,
    /// The item's name; for a module, a description that contains its name if it has one.
    pub name: String,
    /// Why it was refused.
    pub error: Error,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (item, error) = (format!("{} \"{}\"", self.kind, self.name), self.error.to_string());
        if error.contains(&item) { f.write_str(&error) } else { write!(f, "{item}: {error}") }
    }
}
