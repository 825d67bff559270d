//! Lists that stay short however many items a module has.

use wpc_abi::names;

/// How many imports and other exports are declarations one by one: a module may have a million of each.
const MAX_LISTED: usize = 1_000;

/// A list that is cut.
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

/// A name in a list. Many imports may share one module's name in the bytes, so that a long one would
/// take its length many times.
pub(super) fn shown(name: &str) -> String {
    match name.char_indices().nth(names::MAX_NAME_LEN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
