//! A worker's sandboxes, each with how its definition fared there: the one that was used last, which is the worker's alone,
//! and idle ones, which others may take. It knows nothing of calls or of what a failure means.

use crate::id::Generation;
use crate::registry::Definition;
use crate::worker::capacity::{Capacity, Exhausted, IdleSandboxes, LiveSandbox, Reservation};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A definition that was called here.
pub(super) struct Entry {
    /// Its sandbox while it is the one that was used last, unless it failed or served its time since.
    pub(super) sandbox: Option<LiveSandbox>,
    /// Whether it has answered since it last failed here.
    pub(super) has_answered: bool,
    definition: Arc<Definition>,
}

pub(super) struct SandboxCache {
    entries: Vec<Entry>,
    positions: FxHashMap<Generation, usize>,
    /// Where the definition stands that was looked for last: as a rule it is looked for again.
    last: usize,
    idle: Arc<IdleSandboxes>,
    capacity: Arc<Capacity>,
}

impl Drop for SandboxCache {
    fn drop(&mut self) {
        self.entries.clear();
        self.capacity.remove_cache(&self.idle);
    }
}

impl SandboxCache {
    pub(super) fn new(idle: Arc<IdleSandboxes>, capacity: Arc<Capacity>) -> Self {
        Self { entries: Vec::new(), positions: FxHashMap::default(), last: 0, idle, capacity }
    }

    /// What is entries of the definition, whose sandbox is here if there is one.
    #[inline]
    pub(super) fn entry(&mut self, definition: &Arc<Definition>) -> &mut Entry {
        let last = self.entries.get(self.last);
        if last.is_none_or(|last| last.definition.generation != definition.generation) {
            self.switch_to(definition);
        }
        &mut self.entries[self.last]
    }

    #[inline(never)]
    fn switch_to(&mut self, definition: &Arc<Definition>) {
        self.release_last();
        self.last = *self.positions.entry(definition.generation).or_insert_with(|| {
            let definition = Arc::clone(definition);
            self.entries.push(Entry { sandbox: None, has_answered: false, definition });
            self.entries.len() - 1
        });
        self.entries[self.last].sandbox = self.idle.take(definition.generation);
    }

    /// Makes the sandbox that was used last one of those that others may take.
    fn release_last(&mut self) {
        if let Some(last) = self.entries.get_mut(self.last)
            && let Some(sandbox) = last.sandbox.take()
        {
            self.idle.put(last.definition.generation, sandbox);
        }
    }

    /// Reserves instances for a new sandbox. While it waits, nothing is entries from others.
    pub(super) fn reserve(
        &mut self,
        instances: usize,
        gives_up: impl Fn() -> bool,
        ask: impl FnOnce(),
    ) -> Result<Reservation, Exhausted> {
        self.capacity.reserve(instances, &self.idle, gives_up, ask)
    }

    /// How many instances there may be in the whole pool.
    pub(super) fn capacity(&self) -> usize {
        self.capacity.total()
    }

    /// Drops a definition's sandbox, and remembers how the definition fared.
    pub(super) fn discard(&mut self, definition: &Arc<Definition>) {
        drop(self.entry(definition).sandbox.take());
    }

    /// Lets others have the sandbox that was used last, where they wait for instances.
    pub(super) fn yield_to_others(&mut self) {
        if self.capacity.is_wanted() {
            self.release_last();
            self.last = usize::MAX;
            self.capacity.tell_freed();
        }
    }

    /// Drops what abandoned workers have left.
    pub(super) fn drop_orphans(&self) {
        self.capacity.drop_orphans();
    }

    /// Forgets the definitions that nothing uses any more.
    pub(super) fn forget_retired(&mut self) {
        self.release_last();
        self.entries.retain(|entries| {
            let is_retired = entries.definition.is_retired();
            if is_retired {
                drop(self.idle.take(entries.definition.generation));
            }
            !is_retired
        });
        self.last = usize::MAX;
        let positions = self.entries.iter().enumerate();
        self.positions =
            positions.map(|(at, entries)| (entries.definition.generation, at)).collect();
    }
}
