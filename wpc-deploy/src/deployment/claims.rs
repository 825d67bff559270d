//! The functions that a manifest may define, as far as its modules can be read.
//!
//! A function that an accepted change no longer defines is removed only if no other item of the manifest claims it. An item
//! whose change is refused claims its functions too, so a function that moves to it or is renamed with it stays defined.

use crate::item::{Item, Kind};
use std::collections::BTreeSet;

pub(super) struct Claims {
    functions: BTreeSet<String>,
    /// Modules whose functions are not known yet.
    unknown: BTreeSet<Item>,
}

impl Claims {
    /// The claims of these items before their modules are read.
    pub(super) fn of(listed: &BTreeSet<Item>) -> Self {
        let of_kind = |kind| listed.iter().filter(move |item| item.kind == kind);
        Self {
            functions: of_kind(Kind::Function).map(|item| item.name.clone()).collect(),
            unknown: of_kind(Kind::Module).cloned().collect(),
        }
    }

    /// Adds the functions of an item.
    pub(super) fn add<'a>(&mut self, item: &Item, functions: impl IntoIterator<Item = &'a String>) {
        self.unknown.remove(item);
        self.functions.extend(functions.into_iter().cloned());
    }

    /// Whether an item defines the function, or may define it.
    pub(super) fn may_have(&self, function: &str) -> bool {
        !self.unknown.is_empty() || self.functions.contains(function)
    }

    /// The module that may define the function, if no item is known to define it.
    pub(super) fn suspect(&self, function: &str) -> Option<&Item> {
        self.unknown.first().filter(|_| !self.functions.contains(function))
    }
}
