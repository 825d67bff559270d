//! Maps functions to the items of a manifest that define them.

use crate::item::Item;
use std::collections::{BTreeMap, BTreeSet};

/// Maps in both directions, so that lookups do not need a search.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    by_function: BTreeMap<String, Item>,
    by_item: BTreeMap<Item, BTreeSet<String>>,
}

impl Owners {
    /// The item that defines the function.
    pub(crate) fn of(&self, function: &str) -> Option<&Item> {
        self.by_function.get(function)
    }

    /// Sets the functions of the item. Returns those that it no longer has.
    pub(crate) fn replace(&mut self, item: &Item, functions: BTreeSet<String>) -> Vec<String> {
        let mut lost = self.release(item);
        lost.retain(|function| !functions.contains(function));
        for function in &functions {
            if let Some(before) = self.by_function.insert(function.clone(), item.clone())
                && let Some(others) = self.by_item.get_mut(&before)
            {
                others.remove(function);
            }
        }
        self.by_item.insert(item.clone(), functions);
        lost
    }

    /// Removes the item's functions, and returns them.
    pub(crate) fn release(&mut self, item: &Item) -> Vec<String> {
        let functions = self.by_item.remove(item).unwrap_or_default();
        for function in &functions {
            self.by_function.remove(function);
        }
        functions.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Kind;

    #[test]
    fn a_function_has_one_owner() {
        let item = |name: &str| Item { kind: Kind::Module, name: name.to_owned() };
        let functions = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut owners = Owners::default();
        assert!(owners.replace(&item("a"), functions(&["f", "g"])).is_empty());
        assert_eq!(owners.replace(&item("a"), functions(&["g", "h"])), ["f"]);
        assert_eq!((owners.of("f"), owners.of("g")), (None, Some(&item("a"))));
        assert!(owners.replace(&item("b"), functions(&["g"])).is_empty());
        assert_eq!(owners.release(&item("a")), ["h"]);
        assert_eq!((owners.of("g"), owners.of("h")), (Some(&item("b")), None));
    }
}
