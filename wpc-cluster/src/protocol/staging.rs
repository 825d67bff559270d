//! The revisions of a node as a state machine without clocks, files and sockets: its inputs are events, its outputs are
//! actions.
//!
//! A revision passes through these stages, and each change of the stage has one cause:
//!
//! | stage | work in this stage | the next stage |
//! |---|---|---|
//! | seen | its manifest and its modules are fetched and verified | fetched |
//! | fetched | its modules are compiled and linked, and each new definition is instantiated once | prepared |
//! | prepared | the list of its functions is stored | ready |
//! | ready | it waits until it is activated | activating |
//! | activating | the pool makes the changes | active |
//! | active | it serves calls | retired, when another one is active |
//!
//! A failure in any stage but the last leads to *failed*. A failed or retired revision is fetched again when it is requested
//! again, or when the registry states that it is active. Only a successful activation changes the functions of the pool.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use wpc_host::Sha256Hash;

/// A revision. The number alone does not identify one, because a registry can be deleted and created again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct RevisionId {
    pub(crate) number: u64,
    /// The SHA-256 of its manifest.
    pub(crate) document: Sha256Hash,
}

/// A request to prepare a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestId(pub(crate) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The stage of a revision on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    Seen,
    Fetched,
    Prepared { index: Sha256Hash },
    Ready { index: Sha256Hash },
    Activating { index: Sha256Hash },
    Active { index: Sha256Hash },
    Failed { problems: Vec<String> },
    Retired,
}

/// An event: something was found, or an action has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// A deployer asks for the revision.
    PrepareRequested(RevisionId, RequestId),
    /// The registry states that the revision is active.
    Target(RevisionId),
    Fetched(RevisionId),
    Prepared(RevisionId, Sha256Hash),
    /// The list of its functions is stored.
    Published(RevisionId),
    /// The list cannot be stored.
    NotPublished(RevisionId, Vec<String>),
    Activated(RevisionId),
    /// It cannot be fetched, prepared or activated.
    Failed(RevisionId, Vec<String>),
    /// It is time to try the active revision again, if it failed.
    Retry,
}

/// An action. Each ends with an input, except reports and `Forget`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Fetch(RevisionId),
    Prepare(RevisionId),
    /// Store the list of its functions.
    Publish(RevisionId),
    Activate(RevisionId),
    Report(RevisionId, RequestId, Reported),
    /// Drop the data of the revision.
    Forget(RevisionId),
}

/// The answer for a deployer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reported {
    Preparing,
    Ready(Sha256Hash),
    Failed(Vec<String>),
}

#[derive(Debug)]
struct Entry {
    stage: Stage,
    /// The deployers that wait for an answer.
    requests: Vec<RequestId>,
    /// When it was last requested: the number of an input.
    touched: u64,
}

/// The revisions of a node.
#[derive(Debug, Default)]
pub(crate) struct Revisions {
    entries: BTreeMap<(u64, [u8; 32]), Entry>,
    /// The active revision, as the registry states it.
    target: Option<RevisionId>,
    /// The revision that the pool runs.
    active: Option<RevisionId>,
    inputs: u64,
}

/// The maximum number of revisions that are kept and not active. Those that are ready need memory.
const MAX_ENTRIES: usize = 8;

/// The maximum number of deployers that get an answer about a revision.
const MAX_REQUESTS: usize = 16;

fn key(id: RevisionId) -> (u64, [u8; 32]) {
    (id.number, id.document.into())
}

fn id(key: (u64, [u8; 32])) -> RevisionId {
    RevisionId { number: key.0, document: key.1.into() }
}

impl Revisions {
    /// The revision that the pool runs.
    pub(crate) fn active(&self) -> Option<RevisionId> {
        self.active
    }

    /// The active revision, as the registry states it.
    pub(crate) fn target(&self) -> Option<RevisionId> {
        self.target
    }

    pub(crate) fn stage(&self, id: RevisionId) -> Option<&Stage> {
        self.entries.get(&key(id)).map(|entry| &entry.stage)
    }

    /// The revisions whose files are needed: those that run, may run soon, or are being prepared.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = RevisionId> {
        let has_ended = |stage: &Stage| matches!(stage, Stage::Failed { .. } | Stage::Retired);
        let entries = self.entries.iter().filter(move |(_, entry)| !has_ended(&entry.stage));
        entries.map(|(key, _)| id(*key)).chain(self.target).chain(self.active)
    }

    /// Why the node does not run the active revision, as far as it is known.
    pub(crate) fn problems(&self) -> &[String] {
        let target = self.target.filter(|target| self.active != Some(*target));
        match target.and_then(|target| self.stage(target)) {
            Some(Stage::Failed { problems }) => problems,
            _ => &[],
        }
    }

    /// Whether the node runs the active revision, or cannot run it.
    pub(crate) fn is_settled(&self) -> bool {
        match self.target {
            None => true,
            Some(target) => {
                self.active == Some(target)
                    || matches!(self.stage(target), Some(Stage::Failed { .. }))
            }
        }
    }

    /// Processes an input, and returns the actions in their order.
    pub(crate) fn on(&mut self, input: Input) -> Vec<Effect> {
        self.inputs += 1;
        let mut effects = Vec::new();
        match input {
            Input::PrepareRequested(id, request) => {
                self.prepare_requested(id, request, &mut effects)
            }
            Input::Target(id) => {
                self.target = Some(id);
                self.pursue(true, &mut effects);
            }
            Input::Fetched(id) => {
                if self.is_at(id, |stage| *stage == Stage::Seen) {
                    self.set(id, Stage::Fetched);
                    effects.push(Effect::Prepare(id));
                }
            }
            Input::Prepared(id, index) => {
                if self.is_at(id, |stage| *stage == Stage::Fetched) {
                    self.set(id, Stage::Prepared { index });
                    effects.push(Effect::Publish(id));
                    self.pursue(false, &mut effects);
                }
            }
            Input::Published(id) => {
                // If it is already being activated or active, its requests have not been answered yet.
                let index = match self.stage(id) {
                    Some(&Stage::Prepared { index }) => {
                        self.set(id, Stage::Ready { index });
                        index
                    }
                    Some(&(Stage::Activating { index } | Stage::Active { index })) => index,
                    _ => return effects,
                };
                self.answer(id, &Reported::Ready(index), &mut effects);
                self.pursue(false, &mut effects);
            }
            Input::Activated(id) => {
                let Some(&Stage::Activating { index }) = self.stage(id) else { return effects };
                if let Some(previous) = self.active.replace(id).filter(|previous| *previous != id) {
                    effects.push(Effect::Forget(previous));
                    let is_wanted =
                        self.entries.get(&key(previous)).is_some_and(|it| !it.requests.is_empty());
                    if is_wanted {
                        self.set(previous, Stage::Seen);
                        effects.push(Effect::Fetch(previous));
                    } else {
                        self.set(previous, Stage::Retired);
                    }
                }
                self.set(id, Stage::Active { index });
                // Deployers that asked during the activation are answered once the list is stored, like those that ask now.
                if self.entries.get(&key(id)).is_some_and(|it| !it.requests.is_empty()) {
                    effects.push(Effect::Publish(id));
                }
                self.pursue(false, &mut effects);
            }
            Input::NotPublished(id, problems) => {
                if self.is_at(id, |stage| matches!(stage, Stage::Prepared { .. })) {
                    self.fail(id, problems, &mut effects);
                } else if self
                    .is_at(id, |it| matches!(it, Stage::Activating { .. } | Stage::Active { .. }))
                {
                    self.answer(id, &Reported::Failed(problems), &mut effects);
                }
            }
            Input::Failed(id, problems) => {
                let can_fail = |stage: &Stage| {
                    matches!(stage, Stage::Seen | Stage::Fetched | Stage::Activating { .. })
                };
                if self.is_at(id, can_fail) {
                    self.fail(id, problems, &mut effects);
                }
            }
            Input::Retry => self.pursue(true, &mut effects),
        }
        self.bound(&mut effects);
        effects
    }

    fn fail(&mut self, id: RevisionId, problems: Vec<String>, effects: &mut Vec<Effect>) {
        self.answer(id, &Reported::Failed(problems.clone()), effects);
        self.set(id, Stage::Failed { problems });
        effects.push(Effect::Forget(id));
        self.pursue(false, effects);
    }

    fn prepare_requested(&mut self, id: RevisionId, request: RequestId, effects: &mut Vec<Effect>) {
        let touched = self.inputs;
        let entry = self.entries.entry(key(id)).or_insert_with(|| Entry {
            stage: Stage::Retired,
            requests: Vec::new(),
            touched,
        });
        entry.touched = touched;
        if entry.requests.contains(&request) {
            return;
        }
        if entry.requests.len() == MAX_REQUESTS {
            entry.requests.remove(0);
        }
        entry.requests.push(request);
        match entry.stage {
            Stage::Ready { index } => self.answer(id, &Reported::Ready(index), effects),
            // The list may be gone from the store, and is stored again.
            Stage::Active { .. } => {
                effects.push(Effect::Report(id, request, Reported::Preparing));
                effects.push(Effect::Publish(id));
            }
            Stage::Seen | Stage::Fetched | Stage::Prepared { .. } | Stage::Activating { .. } => {
                effects.push(Effect::Report(id, request, Reported::Preparing));
            }
            Stage::Failed { .. } | Stage::Retired => {
                entry.stage = Stage::Seen;
                effects.push(Effect::Report(id, request, Reported::Preparing));
                effects.push(Effect::Fetch(id));
            }
        }
    }

    /// Takes the next step towards the active revision. `retries` states whether a failed one is tried again.
    fn pursue(&mut self, retries: bool, effects: &mut Vec<Effect>) {
        let Some(target) = self.target.filter(|target| self.active != Some(*target)) else {
            return;
        };
        let is_activating = |entry: &Entry| matches!(entry.stage, Stage::Activating { .. });
        match self.stage(target) {
            None | Some(Stage::Retired) => {
                self.set(target, Stage::Seen);
                effects.push(Effect::Fetch(target));
            }
            Some(Stage::Failed { .. }) if retries => {
                self.set(target, Stage::Seen);
                effects.push(Effect::Fetch(target));
            }
            // Changes to the pool are made one after another.
            Some(&(Stage::Prepared { index } | Stage::Ready { index }))
                if !self.entries.values().any(is_activating) =>
            {
                self.set(target, Stage::Activating { index });
                effects.push(Effect::Activate(target));
            }
            _ => {}
        }
    }

    fn is_at(&self, id: RevisionId, stage: impl FnOnce(&Stage) -> bool) -> bool {
        self.stage(id).is_some_and(stage)
    }

    fn set(&mut self, id: RevisionId, stage: Stage) {
        let touched = self.inputs;
        let new = || Entry { stage: Stage::Seen, requests: Vec::new(), touched };
        let entry = self.entries.entry(key(id)).or_insert_with(new);
        (entry.stage, entry.touched) = (stage, touched);
    }

    /// Answers the deployers that wait for the revision.
    fn answer(&mut self, id: RevisionId, answer: &Reported, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get_mut(&key(id)) else { return };
        let requests = std::mem::take(&mut entry.requests);
        let report = |request| Effect::Report(id, request, answer.clone());
        effects.extend(requests.into_iter().map(report));
    }

    /// Drops the least recently requested revisions among those on which nothing depends.
    fn bound(&mut self, effects: &mut Vec<Effect>) {
        let (active, target) = (self.active.map(key), self.target.map(key));
        while self.entries.len() > MAX_ENTRIES + 2 {
            let can_go = |(found, entry): &(&(u64, [u8; 32]), &Entry)| {
                let has_ended = matches!(
                    entry.stage,
                    Stage::Ready { .. } | Stage::Failed { .. } | Stage::Retired
                );
                has_ended && Some(**found) != active && Some(**found) != target
            };
            let oldest = self.entries.iter().filter(can_go).min_by_key(|(_, entry)| entry.touched);
            let Some((&oldest, _)) = oldest else { return };
            self.entries.remove(&oldest);
            effects.push(Effect::Forget(id(oldest)));
        }
    }
}
