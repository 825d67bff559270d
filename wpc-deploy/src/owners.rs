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

    /// The functions of the item.
    pub(crate) fn functions(&self, item: &Item) -> impl Iterator<Item = &String> {
        self.by_item.get(item).into_iter().flatten()
    }

    /// Sets the functions of the item.
    pub(crate) fn replace(&mut self, item: &Item, functions: BTreeSet<String>) {
        self.release(item);
        for function in &functions {
            if let Some(before) = self.by_function.insert(function.clone(), item.clone())
                && let Some(others) = self.by_item.get_mut(&before)
            {
                others.remove(function);
            }
        }
        self.by_item.insert(item.clone(), functions);
    }

    /// Removes the item's functions.
    pub(crate) fn release(&mut self, item: &Item) {
        for function in self.by_item.remove(item).unwrap_or_default() {
            self.by_function.remove(&function);
        }
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
        owners.replace(&item("a"), functions(&["f", "g"]));
        owners.replace(&item("a"), functions(&["g", "h"]));
        assert_eq!((owners.of("f"), owners.of("g")), (None, Some(&item("a"))));
        owners.replace(&item("b"), functions(&["g"]));
        assert_eq!(owners.functions(&item("a")).collect::<Vec<_>>(), ["h"]);
        owners.release(&item("a"));
        assert_eq!((owners.of("g"), owners.of("h")), (Some(&item("b")), None));
    }
}
