//! The sandboxes that a worker keeps, each with how its definition fared there. It knows nothing of calls
//! or of what a failure means.

use crate::id::Generation;
use crate::registry::Definition;
use crate::sandbox::Sandbox;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A definition that was called here.
pub(super) struct Kept {
    /// Its sandbox, unless it failed, served its time or made room since.
    pub(super) sandbox: Option<Sandbox>,
    /// Whether it has answered since it last failed here.
    pub(super) has_answered: bool,
    definition: Arc<Definition>,
    last_used: u64,
}

#[derive(Default)]
pub(super) struct Shelf {
    kept: Vec<Kept>,
    places: FxHashMap<Generation, usize>,
    /// Where the definition stands that was looked for last: as a rule it is looked for again.
    last: usize,
    /// How many instances the sandboxes have together.
    instances: usize,
    /// Counts calls, to tell which sandbox was idle longest.
    clock: u64,
}

impl Shelf {
    /// What is kept of the definition.
    pub(super) fn of(&mut self, definition: &Arc<Definition>) -> &mut Kept {
        let at = self.place(definition);
        &mut self.kept[at]
    }

    /// Where the definition stands, from now on if it was new.
    #[inline]
    fn place(&mut self, definition: &Arc<Definition>) -> usize {
        let last = self.kept.get(self.last);
        if last.is_none_or(|last| last.definition.generation != definition.generation) {
            self.find(definition);
        }
        self.last
    }

    #[inline(never)]
    fn find(&mut self, definition: &Arc<Definition>) {
        self.last = *self.places.entry(definition.generation).or_insert_with(|| {
            let definition = Arc::clone(definition);
            let kept = Kept { sandbox: None, has_answered: false, definition, last_used: 0 };
            self.kept.push(kept);
            self.kept.len() - 1
        });
    }

    /// Where the definition stands whose sandbox is to be used now. The place is its own until retired ones are
    /// forgotten.
    #[inline]
    pub(super) fn use_of(&mut self, definition: &Arc<Definition>) -> usize {
        let at = self.place(definition);
        self.clock += 1;
        self.kept[at].last_used = self.clock;
        at
    }

    #[inline]
    pub(super) fn at(&mut self, place: usize) -> &mut Kept {
        &mut self.kept[place]
    }

    /// Drops the longest idle sandboxes until `needed` instances more are within `limit`, or none is left.
    pub(super) fn make_room(&mut self, needed: usize, limit: usize) {
        while self.instances + needed > limit {
            let made = self.kept.iter_mut().filter(|kept| kept.sandbox.is_some());
            let Some(idle) = made.min_by_key(|kept| kept.last_used) else { break };
            self.instances -= idle.sandbox.take().map_or(0, |sandbox| sandbox.instances());
        }
    }

    /// Keeps a definition's new sandbox.
    pub(super) fn put(&mut self, definition: &Arc<Definition>, sandbox: Sandbox) {
        self.instances += sandbox.instances();
        self.of(definition).sandbox = Some(sandbox);
    }

    /// Drops a definition's sandbox, and remembers how the definition fared.
    pub(super) fn discard(&mut self, definition: &Arc<Definition>) {
        if let Some(sandbox) = self.of(definition).sandbox.take() {
            self.instances -= sandbox.instances();
        }
    }

    /// Forgets the definitions that nothing uses any more.
    pub(super) fn forget_retired(&mut self) {
        self.kept.retain(|kept| !kept.definition.is_retired());
        let places = self.kept.iter().enumerate();
        self.places = places.map(|(at, kept)| (kept.definition.generation, at)).collect();
        let sandboxes = self.kept.iter().filter_map(|kept| kept.sandbox.as_ref());
        self.instances = sandboxes.map(Sandbox::instances).sum();
    }
}
