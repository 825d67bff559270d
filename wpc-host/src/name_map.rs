//! Persistent maps keyed by name; calls read snapshots of them.

use rpds::HashTrieMapSync;
use std::sync::Arc;

/// A persistent map: a change creates a new map that shares all nodes with the old one except those on the path to the
/// change. So a change costs about the same however many names there are.
///
/// A call may look into three of these, and the standard library's hash took half of each look-up. The hash used here is
/// seeded in each process from memory addresses. Names may come from a module's exports, whose author cannot know the
/// seed. If names collide nevertheless, a look-up takes time linear in the number of exports, which is limited.
pub(crate) type NameMap<T> = HashTrieMapSync<Arc<str>, Arc<T>, foldhash::quality::RandomState>;
