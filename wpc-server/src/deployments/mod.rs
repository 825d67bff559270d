//! The deployments of a data folder: the registered revisions, and the revision that the pool runs.
//!
//! # Protocol
//!
//! The store records which revision is active; the pool runs it. An activation is made by one thread at a time, in this
//! order:
//!
//! 1. The revision is prepared: every module is read and compiled, and everything is linked as it would be after the
//!    activation. A problem ends the activation, and nothing has changed.
//! 2. One transaction of the store compares the active revision with the expected one and sets the new one. If it fails
//!    because the disk is full, nothing has changed. If it is not known whether it was written, the store is read. If that
//!    fails too, the pool stays as it is, and step 5 applies.
//! 3. The pool makes the prepared changes in one step. It can refuse them only for lack of memory or threads, because it
//!    checked them in step 1. If it does, another transaction undoes that of step 2, and the history does not list it.
//! 4. The client gets its response.
//! 5. Before each activation, the active revision of the store is compared with that of the pool. If they differ because a
//!    transaction of step 2 or 3 had an unknown result, the pool is changed to the store's revision.
//!
//! A process that ends between steps 2 and 4 starts with the new revision, although its client got no response. A process
//! that ends earlier starts with the previous one. An activation that was answered is on disk.

mod constants;
mod difference;
mod opening;
mod origin;
mod refusal;
mod reload;
mod retention;
#[cfg(test)]
mod tests;

pub(crate) use constants::ConstantChange;
pub(crate) use difference::Difference;
pub use refusal::Refusal;

use crate::modules::Modules;
use crate::revisions::{Activated, Activation, New, Revision, Revisions, Target};
#[cfg(test)]
use crate::store::Store;
use crate::store::StoreError;
use crate::unserved::UnservedEntry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
#[cfg(test)]
use wpc_deploy::Setup;
use wpc_deploy::document::{named_modules, with_earlier};
use wpc_deploy::{Deployment, Item, Kind, Manifest, Prepared, Problem, Report, Source};
use wpc_host::{ErrorCode, WorkerProcedureCall};

/// How many activations are searched for the revision that was active before.
const MAX_ACTIVATIONS: usize = 1000;

/// The deployments of a data folder, and the pool that runs the active one. Cheap to clone. Its methods block.
#[derive(Debug, Clone)]
pub struct Deployments(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    modules: Modules,
    revisions: Revisions,
    pool: WorkerProcedureCall,
    workers: usize,
    stop_timeout: Duration,
    removal: retention::Removal,
    #[cfg(test)]
    interruption: tests::Interruption,
    running: Mutex<Running>,
    /// The state of [`Running`] after the last change, for readers that do not wait for the end of an activation.
    state: Mutex<State>,
}

/// The deployment that the pool runs. Locked during an activation.
#[derive(Debug)]
struct Running {
    deployment: Deployment,
    active: Option<u64>,
    /// Why some items of the active revision are not in the pool.
    problems: Vec<Problem>,
    is_pool_outdated: bool,
}

impl Running {
    /// Takes note of what the report of the last change states about the active revision.
    fn reported(&mut self, report: &Report) {
        self.problems.clone_from(&report.problems);
        self.is_pool_outdated = report.is_pool_outdated;
    }
}

/// The state of the deployments at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct State {
    /// The active revision; `None` if nothing has been activated yet.
    pub active: Option<u64>,
    /// Its items that the pool does not have, because they were refused at the start or at a reload.
    pub not_served: Vec<UnservedEntry>,
    /// The problems of all refused items.
    pub problems: Vec<Problem>,
    /// Whether the `[pool]` of the active revision differs from the one that the pool was created with: it takes effect when the
    /// deployments are opened again.
    pub is_pool_outdated: bool,
}

impl State {
    fn of(running: &Running) -> Self {
        let problems = &running.problems;
        let not_served = |item: &Item| {
            let entry = item.to_string();
            let mut reasons =
                problems.iter().filter_map(|problem| problem.message.strip_prefix(&entry));
            let reason = reasons.next().map(|reason| reason.strip_prefix(": ").unwrap_or(reason));
            let reason = reason.unwrap_or("it was refused");
            UnservedEntry::new(entry, reason)
        };
        let not_served = running.deployment.unserved().map(not_served).collect();
        Self {
            active: running.active,
            not_served,
            problems: problems.clone(),
            is_pool_outdated: running.is_pool_outdated,
        }
    }
}

/// A revision that was checked and, unless it was a dry run, registered.
#[derive(Debug)]
pub(crate) struct Registered {
    /// `None` for a dry run.
    pub(crate) revision: Option<Revision>,
    /// Whether it is new; false if the base has the same content and was returned instead.
    pub(crate) is_new: bool,
    /// The difference from its base.
    pub(crate) differences: Vec<Difference>,
    /// Whether its `[pool]` differs from the one that the pool was created with.
    pub(crate) is_pool_outdated: bool,
}

/// A change that was made to the active revision.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) active: u64,
    pub(crate) previous: Option<u64>,
    pub(crate) report: Report,
}

/// A request to register a revision.
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    pub(crate) author: &'a str,
    pub(crate) text: String,
    /// The revision that it was made from; without one, the active revision.
    pub(crate) base: Option<u64>,
    pub(crate) note: Option<&'a str>,
}

/// A request to roll back.
#[derive(Debug)]
pub(crate) struct Rollback<'a> {
    pub(crate) author: &'a str,
    /// The revision to return to; without one, the revision that was active before.
    pub(crate) to: Option<u64>,
    /// The function to roll back; without one, everything.
    pub(crate) function: Option<&'a str>,
    /// The revision that must be active, if the client states one.
    pub(crate) expected: Option<u64>,
    pub(crate) note: Option<&'a str>,
}

/// The maximum size of a manifest in bytes: enough for several thousand entries.
pub(crate) const MAX_MANIFEST: usize = 4 << 20;

impl Deployments {
    /// The pool, which is not started.
    #[must_use]
    pub fn pool(&self) -> &WorkerProcedureCall {
        &self.0.pool
    }

    /// The number of workers to start, according to the revision that was active at the start.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.0.workers
    }

    /// How long calls may take to finish after a stop, according to the revision that was active at the start.
    #[must_use]
    pub fn stop_timeout(&self) -> Duration {
        self.0.stop_timeout
    }

    /// The active revision, and its items that are not served.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, running: &Running) {
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) = State::of(running);
    }

    pub(crate) fn modules(&self) -> &Modules {
        &self.0.modules
    }

    pub(crate) fn revisions(&self) -> &Revisions {
        &self.0.revisions
    }

    /// Checks a manifest and registers it, or only checks it in a dry run. The pool is not changed.
    pub(crate) fn register(
        &self,
        registration: Registration<'_>,
        is_dry_run: bool,
    ) -> Result<Registered, Refusal> {
        let Registration { author, text, base, note } = registration;
        // Compiling takes a long time, so the pool is not locked. The activation checks whether something changed in the
        // meantime.
        let (deployment, active) = {
            let running = self.running();
            (running.deployment.clone(), running.active)
        };
        let parent = base.or(active);
        let before = match parent {
            Some(number) => text_of(self.revisions(), number)?,
            None => String::new(),
        };
        let differences = self.differences(&before, &text)?;
        let (source, manifest) = parse(self.modules(), text)?;
        let prepared = prepare(self.modules(), &deployment, &source, &manifest)?;
        let is_pool_outdated = prepared.report().is_pool_outdated;
        let checked = Registered { revision: None, is_new: false, differences, is_pool_outdated };
        if is_dry_run {
            return Ok(checked);
        }
        if let Some(number) = parent.filter(|_| before == source.text()) {
            let (revision, _) = self.revision(number)?;
            return Ok(Registered { revision: Some(revision), ..checked });
        }
        let new = New { parent, author, note, origin: None };
        let revision = self.revisions().append(new, source.text())?;
        self.tidy();
        Ok(Registered { revision: Some(revision), is_new: true, ..checked })
    }

    /// Activates a revision, if the active one is the expected one.
    pub(crate) fn activate(
        &self,
        author: &str,
        number: u64,
        expected: Option<u64>,
    ) -> Result<Change, Refusal> {
        let (_, text) = self.revision(number)?;
        let mut running = self.running();
        let target = Target::Existing(number);
        self.change(&mut running, author, &text, expected, target)
    }

    /// Registers a revision with the content of an earlier one, or with one function as it was there, and activates it.
    pub(crate) fn roll_back(&self, rollback: &Rollback<'_>) -> Result<Change, Refusal> {
        let mut running = self.running();
        self.reconcile(&mut running)?;
        let Some(active) = running.active else { return Err(Refusal::NothingActive) };
        let expected = rollback.expected.unwrap_or(active);
        let to = match rollback.to {
            Some(to) => to,
            None => self.previous(active)?.ok_or(Refusal::NothingBefore { active })?,
        };
        let mut text = text_of(self.revisions(), to)?;
        let mut note = format!("rolled back to revision {to}");
        if let Some(function) = rollback.function {
            let current = source(self.modules(), text_of(self.revisions(), active)?);
            let item = item_of(&running.deployment, function);
            text = with_earlier(&current, &source(self.modules(), text), &item)
                .map_err(|problem| vec![problem])?;
            note = format!("{item} rolled back to revision {to}");
        }
        let author = rollback.author;
        let note = Some(rollback.note.unwrap_or(&note));
        let target = Target::New(New { parent: Some(active), author, note, origin: None }, &text);
        self.change(&mut running, author, &text, Some(expected), target)
    }

    /// The revision that was active before the active one. The active one may have been activated several times in a row.
    fn previous(&self, active: u64) -> Result<Option<u64>, Refusal> {
        let activations = self.revisions().activations(MAX_ACTIVATIONS)?;
        let of_active = activations.iter().take_while(|last| last.revision == active);
        let mut previous = of_active.filter_map(|last: &Activation| last.previous);
        Ok(previous.find(|previous| *previous != active))
    }

    /// Makes the pool run the text, and makes the target the active revision.
    fn change(
        &self,
        running: &mut Running,
        author: &str,
        text: &str,
        expected: Option<u64>,
        target: Target<'_>,
    ) -> Result<Change, Refusal> {
        self.reconcile(running)?;
        let previous = running.active;
        if previous != expected {
            return Err(Refusal::Conflict { active: previous });
        }
        let (source, manifest) = parse(self.modules(), text.to_owned())?;
        let prepared = prepare(self.modules(), &running.deployment, &source, &manifest)?;
        let active = match self.revisions().activate(target, expected, author) {
            Ok(Activated::Done(number)) => number,
            Ok(Activated::Conflict(active)) => return Err(Refusal::Conflict { active }),
            Ok(Activated::Missing(number)) => return Err(Refusal::NoRevision(number)),
            Err(error) => self.written(previous).ok_or(error)?,
        };
        #[cfg(test)]
        self.0.interruption.run();
        match running.deployment.activate(&source, prepared) {
            Ok(report) => {
                running.active = Some(active);
                running.reported(&report);
                self.publish(running);
                self.tidy();
                Ok(Change { active, previous, report })
            }
            Err(problems) => {
                // If that fails too, the next activation first changes the pool to the store's revision.
                if let Err(error) = self.revisions().undo(active) {
                    tracing::error!(%error, active, "failed to undo an activation");
                }
                Err(problems.into())
            }
        }
    }

    /// After a transaction whose result is unknown: the active revision, if it changed.
    fn written(&self, previous: Option<u64>) -> Option<u64> {
        self.revisions().active().ok().flatten().filter(|active| Some(*active) != previous)
    }

    /// Makes the pool run the active revision of the store, if an activation had an unknown result.
    fn reconcile(&self, running: &mut Running) -> Result<(), Refusal> {
        let active = self.revisions().active()?;
        if active != running.active {
            tracing::warn!(?active, running = ?running.active, "reconciling the pool with the active revision of the store");
            let text = match active {
                Some(number) => text_of(self.revisions(), number)?,
                None => String::new(),
            };
            let (source, manifest) = parse(self.modules(), text)?;
            let report = running.deployment.apply(&source, &manifest);
            running.reported(&report);
            running.active = active;
            self.publish(running);
        }
        Ok(())
    }

    pub(crate) fn revision(&self, number: u64) -> Result<(Revision, String), Refusal> {
        self.revisions().get(number)?.ok_or(Refusal::NoRevision(number))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text_of(revisions: &Revisions, number: u64) -> Result<String, Refusal> {
    let (_, text) = revisions.get(number)?.ok_or(Refusal::NoRevision(number))?;
    Ok(text)
}

/// A manifest whose modules are all stored.
fn parse(modules: &Modules, text: String) -> Result<(Source, Manifest), Refusal> {
    if text.len() > MAX_MANIFEST {
        return Err(Refusal::TooLarge);
    }
    let source = source(modules, text);
    let manifest = source.parse().map_err(|problem| vec![problem])?;
    let missing = modules.missing(&named_modules(&source, &manifest)?)?;
    if missing.is_empty() { Ok((source, manifest)) } else { Err(Refusal::Missing(missing)) }
}

/// Compiles and links what a manifest changes. A stored module that is damaged counts as missing, so that clients upload it again.
fn prepare(
    modules: &Modules,
    deployment: &Deployment,
    source: &Source,
    manifest: &Manifest,
) -> Result<Prepared, Refusal> {
    let problems = match deployment.prepare(source, manifest) {
        Ok(prepared) => return Ok(prepared),
        Err(problems) => problems,
    };
    if problems.iter().any(|problem| problem.code == ErrorCode::Sha256Mismatch.as_str()) {
        let damaged = modules.damaged(&named_modules(source, manifest)?);
        if !damaged.is_empty() {
            return Err(Refusal::Missing(damaged));
        }
    }
    Err(problems.into())
}

/// A manifest of a revision. Its modules are in the folder of modules.
fn source(modules: &Modules, text: String) -> Source {
    Source::without_file(modules.folder(), text)
}

/// The item of the manifest that defines a function; a function's own entry if none does at the moment.
fn item_of(deployment: &Deployment, function: &str) -> Item {
    let owner = deployment.owner(function).cloned();
    owner.unwrap_or_else(|| Item::new(Kind::Function, function))
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
