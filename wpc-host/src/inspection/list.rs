//! Lists that are cut after a number of items.

use wpc_abi::names;

/// How many imports and other exports are listed: a module may have a million of each.
const MAX_LISTED: usize = 1_000;

/// A list that counts the items after the first [`MAX_LISTED`].
#[derive(Default)]
pub(super) struct Listed {
    items: Vec<String>,
    more: usize,
}

impl Listed {
    pub(super) fn push(&mut self, item: impl FnOnce() -> String) {
        if self.items.len() < MAX_LISTED {
            self.items.push(item());
        } else {
            self.more += 1;
        }
    }

    pub(super) fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.items.push(format!("and {} more", self.more));
        }
        self.items
    }
}

/// Shortens a name for a list. Many imports may share one long module name in the bytes, which the list would repeat for
/// each of them.
pub(super) fn shown(name: &str) -> String {
    match name.char_indices().nth(names::MAX_NAME_LEN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
