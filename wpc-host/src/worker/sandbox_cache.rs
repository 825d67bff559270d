//! A worker's sandboxes: the one that was used last, which belongs to the worker alone, and idle ones, which other workers
//! may drop to free instances. Beside them it keeps this thread's counters of their functions. It does not depend on calls,
//! restarts or failures.

use crate::id::Generation;
use crate::metrics::Counters;
use crate::registry::{Definition, Function};
use crate::worker::capacity::{
    Admission, Capacity, Exhausted, IdleSandboxes, LiveSandbox, Reservation,
};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::time::Instant;

/// A definition that was called on this worker.
pub(super) struct Entry {
    /// Its sandbox while it is the one that was used last, unless it has failed or been recycled since.
    pub(super) sandbox: Option<LiveSandbox>,
    /// Whether it has answered since it last failed on this worker.
    pub(super) has_answered: bool,
    /// When it last failed on this worker, if its calls can be suspended.
    pub(super) failed_at: Option<Instant>,
    definition: Arc<Definition>,
    /// This thread's counters of the definition's functions, by export.
    counters: Vec<Option<Arc<Counters>>>,
}

pub(super) struct SandboxCache {
    entries: Vec<Entry>,
    positions: FxHashMap<Generation, usize>,
    /// The index of the entry that was used last. The next call usually needs the same one.
    last: usize,
    idle: Arc<IdleSandboxes>,
    capacity: Arc<Capacity>,
    /// Whether jobs of this worker wait for instances.
    is_wanting: bool,
}

impl Drop for SandboxCache {
    fn drop(&mut self) {
        self.set_wanting(false);
        self.entries.clear();
        self.capacity.remove_cache(&self.idle);
    }
}

impl SandboxCache {
    pub(super) fn new(idle: Arc<IdleSandboxes>, capacity: Arc<Capacity>) -> Self {
        Self {
            entries: Vec::new(),
            positions: FxHashMap::default(),
            last: 0,
            idle,
            capacity,
            is_wanting: false,
        }
    }

    /// The entry of the definition. If the definition has a sandbox, the entry holds it.
    #[inline]
    pub(super) fn entry(&mut self, definition: &Arc<Definition>) -> &mut Entry {
        let last = self.entries.get(self.last);
        if last.is_some_and(|last| Arc::ptr_eq(&last.definition, definition)) {
            &mut self.entries[self.last]
        } else {
            self.switch_to(definition)
        }
    }

    /// This thread's counters of a function of the definition.
    #[inline]
    pub(super) fn counters(
        &mut self,
        definition: &Arc<Definition>,
        function: &Function,
    ) -> &Counters {
        let (counters, export) = (&mut self.entry(definition).counters, function.export);
        if counters.len() <= export {
            counters.resize(export + 1, None);
        }
        counters[export].get_or_insert_with(|| function.meter.join())
    }

    #[inline(never)]
    fn switch_to(&mut self, definition: &Arc<Definition>) -> &mut Entry {
        self.release_last();
        self.last = *self.positions.entry(definition.generation).or_insert_with(|| {
            let definition = Arc::clone(definition);
            self.entries.push(Entry {
                sandbox: None,
                has_answered: false,
                failed_at: None,
                definition,
                counters: Vec::new(),
            });
            self.entries.len() - 1
        });
        let entry = &mut self.entries[self.last];
        entry.sandbox = self.idle.take(definition.generation);
        entry
    }

    /// Moves the sandbox that was used last to the idle ones.
    fn release_last(&mut self) {
        if let Some(last) = self.entries.get_mut(self.last)
            && let Some(sandbox) = last.sandbox.take()
        {
            self.idle.put(last.definition.generation, sandbox);
        }
    }

    /// Reserves instances for a new sandbox. While this waits, other workers may take all of this worker's sandboxes.
    pub(super) fn reserve(
        &mut self,
        instances: usize,
        is_cancelled: impl Fn() -> bool,
        notify: impl FnOnce(),
    ) -> Result<Reservation, Exhausted> {
        self.capacity.reserve(instances, &self.idle, is_cancelled, notify)
    }

    /// Like [`reserve`](Self::reserve), without waiting.
    pub(super) fn reserve_now(&mut self, instances: usize) -> Option<Reservation> {
        self.capacity.reserve_now(instances, &self.idle)
    }

    /// Records whether jobs of this worker wait for instances, so that other workers release sandboxes they do not use.
    pub(super) fn set_wanting(&mut self, is_wanting: bool) {
        if is_wanting != std::mem::replace(&mut self.is_wanting, is_wanting) {
            self.capacity.set_wanting(is_wanting);
        }
    }

    /// Admits a call on a fiber, unless such calls use too many instances already.
    pub(super) fn admit(&self, instances: usize, depth: usize) -> Option<Admission> {
        self.capacity.admit(instances, depth)
    }

    /// Whether a call of this depth will be admitted if it waits.
    pub(super) fn may_wait(&self, instances: usize, depth: usize) -> bool {
        self.capacity.may_wait(instances, depth)
    }

    /// Takes one of the definition's sandboxes, if it has one that is not in use.
    pub(super) fn take(&mut self, definition: &Arc<Definition>) -> Option<LiveSandbox> {
        let last = self.entry(definition).sandbox.take();
        last.or_else(|| self.idle.take(definition.generation))
    }

    /// Keeps a sandbox of the definition, beside up to `most - 1` others.
    pub(super) fn keep(&mut self, definition: &Arc<Definition>, live: LiveSandbox, most: usize) {
        self.idle.put(definition.generation, live);
        while let Some(surplus) = self.idle.take_surplus(definition.generation, most) {
            drop(surplus);
        }
    }

    /// The maximum number of instances in the whole pool.
    pub(super) fn capacity(&self) -> usize {
        self.capacity.total()
    }

    /// Drops a definition's sandbox, and keeps its entry.
    pub(super) fn discard(&mut self, definition: &Arc<Definition>) {
        drop(self.entry(definition).sandbox.take());
    }

    /// Makes the sandbox that was used last idle if other workers wait for instances.
    pub(super) fn yield_to_others(&mut self) {
        if self.capacity.is_wanted() {
            self.release_last();
            self.last = usize::MAX;
            self.capacity.notify_freed();
        }
    }

    /// Drops the idle sandboxes of abandoned workers.
    pub(super) fn drop_orphans(&self) {
        self.capacity.drop_orphans();
    }

    /// Removes retired definitions and drops their sandboxes.
    pub(super) fn forget_retired(&mut self) {
        self.release_last();
        self.entries.retain(|entry| {
            let is_retired = entry.definition.is_retired();
            if is_retired {
                while let Some(live) = self.idle.take(entry.definition.generation) {
                    drop(live);
                }
            }
            !is_retired
        });
        self.last = usize::MAX;
        let positions = self.entries.iter().enumerate();
        self.positions = positions.map(|(at, entry)| (entry.definition.generation, at)).collect();
    }
}
