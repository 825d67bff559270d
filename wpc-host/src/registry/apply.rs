//! Applies changes: all of them or none, or as many as are accepted.
//!
//! # Protocol
//!
//! 1. Without the lock: the modules of the changes are compiled. A draft of the sources, as they would be after the changes,
//!    is made from a clone of the current ones. The modules that linking the draft needs are compiled as well.
//! 2. With the lock: if another change was published in the meantime, the draft is made again. If linking it might compile
//!    modules, the first step is repeated for that, up to [`MAX_REPETITIONS`] times. Types are compared, and every definition
//!    that the changes reach is linked.
//! 3. One snapshot with everything is published, so calls never see a part of the changes.
//!
//! Everything that the changes replace is dropped after the lock was released: dropping the embedder's closures and
//! writers may run code that uses the pool.

use super::Registry;
use super::change::{Change, Prepared};
use super::draft::{Draft, Linked};
use super::function::{Function, release};
use super::snapshot::Snapshot;
use super::sources::Sources;
use crate::error::{Definable, Error, Refusal};
use crate::host_function::bindings::Bindings;
use crate::system::background::Interest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What happens to a change that is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OnRefusal {
    /// No change is made.
    #[default]
    RefuseAll,
    /// The other changes are made, except those that are refused without it.
    Skip,
}

/// The step after which [`Registry::apply`] stops.
#[derive(Clone, Copy)]
enum Last {
    Link,
    Publish,
}

/// How often modules are resolved again without the lock because other threads published changes meanwhile. After that, the
/// lock is kept, so that other threads cannot delay a change for ever.
const MAX_REPETITIONS: usize = 4;

/// Items by kind and name.
type Items = Vec<(Definable, Arc<str>)>;

/// The state before the changes.
type Replaced = (Sources, Arc<Snapshot>);

/// What changed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The functions that the changes defined.
    pub(crate) defined: Vec<Arc<Function>>,
    /// Functions that were linked again, because one of their dependencies changed.
    pub(crate) relinked: Vec<Arc<Function>>,
    /// The items that were defined and no longer are.
    pub(crate) removed: Items,
    /// The changes that were not made.
    pub(crate) refused: Vec<Refusal>,
    /// The position of the first change that causes each defined or relinked function.
    pub(crate) causes: BTreeMap<Arc<str>, usize>,
    /// The constants and host functions after changes that were only checked.
    pub(crate) bindings: Option<Arc<Bindings>>,
}

/// A change that has not been refused so far.
pub(super) struct Pending {
    /// Its position among the requested changes.
    pub(super) at: usize,
    kind: Definable,
    name: String,
    pub(super) prepared: Prepared,
}

/// Values that must be dropped after the lock was released.
#[derive(Default)]
struct Discarded {
    drafts: Vec<Draft>,
    pending: Vec<Pending>,
    replaced: Option<Replaced>,
}

impl Registry {
    /// Makes one change.
    pub(crate) fn apply_one(&self, change: Change, interest: &Interest) -> Result<Outcome, Error> {
        let applied = self.apply(vec![change], OnRefusal::RefuseAll, interest);
        applied.map_err(|error| match error {
            Error::ChangesRefused { mut refusals } if refusals.len() == 1 => {
                refusals.remove(0).error
            }
            error => error,
        })
    }

    /// Makes the changes in their order. Only the state after all of them is checked and published.
    pub(crate) fn apply(
        &self,
        changes: Vec<Change>,
        on_refusal: OnRefusal,
        interest: &Interest,
    ) -> Result<Outcome, Error> {
        self.apply_until(changes, on_refusal, interest, Last::Publish)
    }

    /// Compiles and links the changes as [`apply`](Self::apply) does, and publishes nothing.
    pub(crate) fn check(&self, changes: Vec<Change>) -> Result<Outcome, Error> {
        self.apply_until(changes, OnRefusal::RefuseAll, &Interest::default(), Last::Link)
    }

    fn apply_until(
        &self,
        changes: Vec<Change>,
        on_refusal: OnRefusal,
        interest: &Interest,
        last: Last,
    ) -> Result<Outcome, Error> {
        let what = changes.first().map_or_else(String::new, Change::name);
        let mut refused = Vec::new();
        let mut pending = Vec::new();
        for (at, change) in changes.into_iter().enumerate() {
            let (kind, name) = (change.kind(), change.name());
            match self.prepare(change) {
                Ok(prepared) => pending.push(Pending { at, kind, name, prepared }),
                Err(error) => refused.push(Refusal { change: at, kind, name, error }),
            }
        }
        let mut discarded = Discarded::default();
        discarded.settle(on_refusal, &mut pending, &mut refused)?;
        let mut repetitions = 0;
        let (linked, draft, _compiled, mut sources) = loop {
            if pending.is_empty() {
                // Nothing is published, because each publication makes handles and workers check for changes.
                return Ok(Outcome { refused, ..Outcome::default() });
            }
            let base = self.lock().clone();
            let mut draft = self.draft(base, &pending);
            let errors = match self.resolve_all(&draft) {
                Err(errors) => errors,
                Ok(compiled) => {
                    let sources = self.lock();
                    if interest.has_ended() {
                        return Err(Error::Cancelled { function: what, ran: false });
                    }
                    if draft.sources.version != sources.version {
                        let new = self.draft(sources.clone(), &pending);
                        discarded.drafts.push(std::mem::replace(&mut draft, new));
                        if repetitions < MAX_REPETITIONS && self.may_compile(&draft) {
                            repetitions += 1;
                            drop(sources);
                            discarded.drafts.push(draft);
                            continue;
                        }
                    }
                    match self.link_all(&draft) {
                        Ok(linked) => break (linked, draft, compiled, sources),
                        Err(errors) => errors,
                    }
                }
            };
            discarded.drafts.push(draft);
            discarded.refuse(errors, &mut pending, &mut refused);
            discarded.settle(on_refusal, &mut pending, &mut refused)?;
        };
        let mut bindings = None;
        let removed = match last {
            Last::Publish => {
                let (removed, replaced) = self.publish(&mut sources, draft, &linked, &pending);
                discarded.replaced = Some(replaced);
                removed
            }
            Last::Link => {
                bindings = Some(change_bindings(&self.bindings(), &pending));
                discarded.drafts.push(draft);
                Items::new()
            }
        };
        drop(sources);
        let Linked { defined, relinked, causes } = linked;
        Ok(Outcome { defined, relinked, removed, refused, causes, bindings })
    }

    /// Publishes a linked draft. Returns the items that are no longer defined, and everything that was replaced.
    fn publish(
        &self,
        sources: &mut Sources,
        draft: Draft,
        linked: &Linked,
        pending: &[Pending],
    ) -> (Items, Replaced) {
        let before = self.current.load_full();
        let mut next = Snapshot::clone(&before);
        let mut changed = BTreeSet::new();
        for function in linked.defined.iter().chain(&linked.relinked) {
            next.functions.insert_mut(Arc::clone(&function.name), Arc::clone(function));
            changed.insert(Arc::clone(&function.name));
        }
        next.bindings = change_bindings(&before.bindings, pending);
        let after = (&draft.sources, &*next.bindings);
        let removed = removed(pending, (sources, &before.bindings), after);
        for (_, name) in removed.iter().filter(|(kind, _)| *kind == Definable::Function) {
            next.functions.remove_mut(name);
            changed.insert(Arc::clone(name));
        }
        let replaced: Vec<_> =
            changed.iter().filter_map(|name| before.functions.get(name)).collect();
        retire(&replaced, &before.bindings);
        let mut after = draft.sources;
        after.version += 1;
        let previous = std::mem::replace(sources, after);
        drop(self.current.publish(next));
        replaced.into_iter().for_each(|function| release(function));
        (removed, (previous, before))
    }
}

impl Discarded {
    /// Moves refused changes out of the pending ones. Each has one error.
    fn refuse(
        &mut self,
        errors: BTreeMap<usize, Error>,
        pending: &mut Vec<Pending>,
        refused: &mut Vec<Refusal>,
    ) {
        for (at, error) in errors {
            let Some(found) = pending.iter().position(|pending| pending.at == at) else { continue };
            let pending = pending.remove(found);
            let (kind, name) = (pending.kind, pending.name.clone());
            refused.push(Refusal { change: at, kind, name, error });
            self.pending.push(pending);
        }
    }

    /// Fails with all refusals, if they refuse all changes. Otherwise an item whose new definition is refused keeps its
    /// previous one: earlier changes that would remove it do not.
    fn settle(
        &mut self,
        on_refusal: OnRefusal,
        pending: &mut Vec<Pending>,
        refused: &mut Vec<Refusal>,
    ) -> Result<(), Error> {
        if refused.is_empty() {
            return Ok(());
        }
        if on_refusal == OnRefusal::RefuseAll {
            let mut refusals = std::mem::take(refused);
            refusals.sort_by_key(|refusal| refusal.change);
            return Err(Error::ChangesRefused { refusals });
        }
        let named = refused.iter().map(|refusal| {
            ((refusal.kind, refusal.name.clone()), (refusal.change, refusal.error.clone()))
        });
        let mut kept: BTreeMap<_, _> = named.collect();
        for Pending { at, prepared, .. } in &self.pending {
            let (Prepared::Groups(_, groups), Some(refusal)) =
                (prepared, refused.iter().find(|refusal| refusal.change == *at))
            else {
                continue;
            };
            for (name, _) in groups.iter().flat_map(|group| &group.functions) {
                let function = (Definable::Function, name.to_string());
                kept.insert(function, (*at, refusal.error.clone()));
            }
        }
        let mut errors = BTreeMap::new();
        for Pending { at, prepared, .. } in pending.iter_mut() {
            let refusal = |kind, name: &Arc<str>| {
                kept.get(&(kind, name.to_string())).filter(|(later, _)| *later > *at)
            };
            match prepared {
                Prepared::Remove(kind, name) => {
                    errors.extend(refusal(*kind, name).map(|(_, error)| (*at, error.clone())));
                }
                Prepared::Groups(replaced, _) => {
                    replaced.retain(|name| refusal(Definable::Function, name).is_none());
                }
                Prepared::Dependency(..) | Prepared::Constant(..) | Prepared::HostFunction(..) => {}
            }
        }
        self.refuse(errors, pending, refused);
        Ok(())
    }
}

/// Keeps the bindings for the calls that still run replaced definitions.
fn retire(replaced: &[&Arc<Function>], bindings: &Arc<Bindings>) {
    let definitions = replaced.iter().filter_map(|function| function.definition.as_ref().ok());
    let mut users = BTreeMap::new();
    for definition in definitions {
        let (_, count) = users.entry(definition.generation.0).or_insert((definition, 0));
        *count += 1;
    }
    for (definition, count) in users.into_values() {
        if definition.users.load(Ordering::Acquire) == count {
            definition.blueprint.retire(bindings);
        }
    }
}

/// The bindings after the changes.
fn change_bindings(before: &Arc<Bindings>, pending: &[Pending]) -> Arc<Bindings> {
    let mut after = Arc::clone(before);
    for Pending { prepared, .. } in pending {
        match prepared {
            Prepared::Constant(name, _, value) => {
                let bindings = Arc::make_mut(&mut after);
                bindings.constants.insert_mut(Arc::clone(name), Arc::clone(value));
            }
            Prepared::HostFunction(name, _, function) => {
                let bindings = Arc::make_mut(&mut after);
                bindings.host_functions.insert_mut(Arc::clone(name), Arc::clone(function));
            }
            Prepared::Remove(Definable::Constant, name) => {
                Arc::make_mut(&mut after).constants.remove_mut(name);
            }
            Prepared::Remove(Definable::HostFunction, name) => {
                Arc::make_mut(&mut after).host_functions.remove_mut(name);
            }
            Prepared::Groups(..) | Prepared::Dependency(..) | Prepared::Remove(..) => {}
        }
    }
    after
}

/// The items that the changes remove, unless a later change defines them again.
fn removed(
    pending: &[Pending],
    (before, bindings): (&Sources, &Bindings),
    (after, new_bindings): (&Sources, &Bindings),
) -> Items {
    let mut names = BTreeSet::new();
    for Pending { prepared, .. } in pending {
        match prepared {
            Prepared::Remove(kind, name) => drop(names.insert((*kind, Arc::clone(name)))),
            Prepared::Groups(replaced, _) => {
                names.extend(replaced.iter().map(|name| (Definable::Function, Arc::clone(name))));
            }
            Prepared::Dependency(..) | Prepared::Constant(..) | Prepared::HostFunction(..) => {}
        }
    }
    let has = |sources: &Sources, bindings: &Bindings, kind, name: &str| match kind {
        Definable::Function => sources.functions.contains_key(name),
        Definable::Dependency => sources.dependencies.contains_key(name),
        Definable::Constant => bindings.constants.contains_key(name),
        Definable::HostFunction => bindings.host_functions.contains_key(name),
    };
    names.retain(|(kind, name)| {
        has(before, bindings, *kind, name) && !has(after, new_bindings, *kind, name)
    });
    names.into_iter().collect()
}
