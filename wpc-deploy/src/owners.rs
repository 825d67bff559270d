//! Maps functions to the items of a manifest that define them.

use crate::item::Item;
use std::collections::{BTreeMap, BTreeSet};

/// Maps in both directions, so that lookups do not need a search.
#[derive(Debug, Clone, Default)]
pub(crate) struct Owners {
    by_function: BTreeMap<String, Item>,
    by_item: BTreeMap<Item, BTreeSet<String>>,
    /// Functions that no item defines any more, with their last item. The pool has them until they are removed.
    orphans: BTreeMap<String, Item>,
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

    /// The items that define functions, or did until another item took them over.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.by_item.keys()
    }

    /// The functions that no item defines any more, each with its last item.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = (&String, &Item)> {
        self.orphans.iter()
    }

    /// Sets the functions of the item. Those that it no longer defines become orphans. Returns the other items that lost a
    /// function to it.
    pub(crate) fn replace(&mut self, item: &Item, functions: BTreeSet<String>) -> BTreeSet<Item> {
        self.orphan(item);
        let mut losers = BTreeSet::new();
        for function in &functions {
            self.orphans.remove(function);
            if let Some(before) = self.by_function.insert(function.clone(), item.clone()) {
                if let Some(others) = self.by_item.get_mut(&before) {
                    others.remove(function);
                }
                losers.insert(before);
            }
        }
        // A dependency or constant owns nothing.
        if !functions.is_empty() {
            self.by_item.insert(item.clone(), functions);
        }
        losers
    }

    /// Makes the functions of the item orphans.
    pub(crate) fn orphan(&mut self, item: &Item) {
        for function in self.by_item.remove(item).unwrap_or_default() {
            self.by_function.remove(&function);
            self.orphans.insert(function, item.clone());
        }
    }

    /// Forgets an orphan that was removed from the pool.
    pub(crate) fn remove_orphan(&mut self, function: &str) {
        self.orphans.remove(function);
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
        let orphans = |owners: &Owners| -> Vec<String> {
            owners.orphans().map(|(function, item)| format!("{function} of {item}")).collect()
        };
        let mut owners = Owners::default();
        owners.replace(&item("a"), functions(&["f", "g"]));
        assert!(owners.replace(&item("a"), functions(&["g", "h"])).is_empty());
        assert_eq!((owners.of("f"), owners.of("g")), (None, Some(&item("a"))));
        assert_eq!(orphans(&owners), ["f of module \"a\""]);
        assert_eq!(owners.replace(&item("b"), functions(&["f", "g"])), BTreeSet::from([item("a")]));
        assert_eq!(owners.functions(&item("a")).collect::<Vec<_>>(), ["h"]);
        assert_eq!(orphans(&owners), [""; 0]);
        owners.orphan(&item("a"));
        assert_eq!((owners.of("g"), owners.of("h")), (Some(&item("b")), None));
        assert_eq!(orphans(&owners), ["h of module \"a\""]);
        owners.remove_orphan("h");
        assert_eq!(orphans(&owners), [""; 0]);
    }
}
