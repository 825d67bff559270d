//! Maps by name, of which calls take snapshots.

use rpds::HashTrieMapSync;
use std::sync::Arc;

/// A map of which each change makes another, that shares with it all but the few nodes above what changed:
/// it costs no more where there are more names.
///
/// A call may look into three of these, and half of a look-up was the standard library's hash. This one is
/// seeded anew by each process, from where things lie in its memory: a module's exports may be names, and whoever
/// chose those saw none of it. Should they collide all the same, looking them up takes as long as a module may have
/// exports, and no longer.
pub(crate) type NameMap<T> = HashTrieMapSync<Arc<str>, Arc<T>, foldhash::quality::RandomState>;
