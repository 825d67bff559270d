//! Items that a manifest defines: constants, dependencies, modules and functions.

use std::cmp::Ordering;
use std::fmt;

/// The manifest's table that an item is in. The order is that of definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Item {
    /// The table that it is in.
    pub kind: Kind,
    /// Its key there.
    pub name: String,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Constant => "constant",
            Kind::Dependency => "dependency",
            Kind::Module => "module",
            Kind::Function => "function",
        };
        write!(f, "{kind} \"{}\"", self.name)
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
