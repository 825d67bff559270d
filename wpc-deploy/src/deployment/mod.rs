//! Reconciles a pool with a manifest, and reports what failed. Unchanged items are left alone.
//!
//! All changes are made in one step of the pool. An item that is refused keeps its previous definition, and so does every
//! item that cannot change without it; the others change.

mod change;
mod claims;
mod desired;
mod identity;
mod prepare;
mod requirements;
#[cfg(test)]
mod tests;

use crate::constant::ConstantTypes;
use crate::error::Error;
use crate::item::{Item, Kind};
use crate::manifest::{Fake, Manifest, Pool, Source};
use crate::owners::Owners;
use crate::policy::Policy;
use crate::problem::{MANIFEST, Problem};
use crate::remedy::full_text;
use change::{Definition, define_fake, refusal};
use claims::Claims;
use desired::{Content, Desired, ModuleReader, declared, desired};
pub use identity::DeployedFunction;
pub use prepare::Prepared;
use requirements::Requirements;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wpc_host::{Changes, Definable, Options, WorkerEvent, WorkerProcedureCall};

/// The result of [`Deployment::apply`].
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The items that were defined or changed.
    pub defined: Vec<Item>,
    /// The items that the manifest no longer lists and that were removed.
    pub removed: Vec<Item>,
    /// What was refused or is missing. The previous definitions stay active.
    pub problems: Vec<Problem>,
    /// Whether the manifest's `[pool]` differs from the one that the pool was created with. Its changes take effect in a new pool.
    pub is_pool_outdated: bool,
}

type Listener = dyn Fn(&WorkerEvent) + Send + Sync;

/// What [`Deployment::open`] needs in addition to a manifest.
#[derive(Clone, Default)]
#[must_use]
pub struct Setup {
    compile_cache: Option<PathBuf>,
    listener: Option<Arc<Listener>>,
    host_functions: BTreeMap<String, Fake>,
    policy: Policy,
    by_content: bool,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("compile_cache", &self.compile_cache).finish_non_exhaustive()
    }
}

impl Setup {
    /// No compile cache, no listener and no host functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the folder of the compile cache (see [`Options::compile_cache`]). With `None`, modules
    /// are compiled without a cache.
    pub fn compile_cache(mut self, folder: Option<PathBuf>) -> Self {
        self.compile_cache = folder;
        self
    }

    /// Sets the listener of the pool's events. It is added before anything is defined.
    pub fn on_event(mut self, listener: impl Fn(&WorkerEvent) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Sets the host functions of a manifest's test. Every module is granted them.
    pub fn host_functions(mut self, fakes: &BTreeMap<String, Fake>) -> Self {
        self.host_functions.clone_from(fakes);
        self
    }

    /// Sets which grants and secrets items may have. An item with any other is refused. By default,
    /// all are allowed.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Requires that every module is [named by its content](crate::document). Files are verified
    /// when they are read, and are not read again while an item uses them.
    pub fn modules_by_content(mut self) -> Self {
        self.by_content = true;
        self
    }
}

/// A pool with the items of a manifest that are active in it. A clone has the same pool.
#[derive(Debug, Clone)]
pub struct Deployment {
    wpc: WorkerProcedureCall,
    options: Options,
    workers: usize,
    /// The manifest's `[pool]` table at start; later changes to it are not applied.
    pool_choices: Pool,
    active: BTreeMap<Item, Content>,
    owners: Owners,
    /// The host functions that every module is granted.
    host_functions: Vec<String>,
    /// All items of the current manifest.
    listed: BTreeSet<Item>,
    policy: Policy,
    by_content: bool,
    /// The number of changes that were made.
    changes: u64,
}

impl Deployment {
    /// Creates a pool with everything that the manifest defines, and does not start it.
    ///
    /// # Errors
    ///
    /// [`Error::Problems`] with all problems of the manifest and its files; [`Error::Pool`] or [`Error::Events`] if the
    /// pool cannot be created.
    pub fn open(source: &Source, manifest: &Manifest, setup: Setup) -> Result<Self, Error> {
        let (deployment, report) = Self::open_accepted(source, manifest, setup)?;
        let problems = report.problems;
        if problems.is_empty() { Ok(deployment) } else { Err(Error::Problems(problems)) }
    }

    /// Like [`open`](Self::open), but items that are refused are left out and reported, as by
    /// [`apply`](Self::apply).
    ///
    /// # Errors
    ///
    /// [`Error::Problems`] if the options of the pool are invalid; [`Error::Pool`] or [`Error::Events`] if it cannot be created.
    pub fn open_accepted(
        source: &Source,
        manifest: &Manifest,
        setup: Setup,
    ) -> Result<(Self, Report), Error> {
        let mut deployment = Self::open_empty(source, manifest, setup)?;
        let report = deployment.apply(source, manifest);
        Ok((deployment, report))
    }

    /// Creates a pool with the options of the manifest, and with none of its items, for [`prepare`](Self::prepare).
    ///
    /// # Errors
    ///
    /// [`Error::Problems`] if the options of the pool are invalid; [`Error::Pool`] or [`Error::Events`] if it cannot be created.
    pub fn open_empty(source: &Source, manifest: &Manifest, setup: Setup) -> Result<Self, Error> {
        let (options, workers) = manifest.chosen(source)?;
        let options = options.compile_cache(setup.compile_cache);
        let wpc = WorkerProcedureCall::new(options.clone())?;
        if let Some(listener) = setup.listener {
            wpc.on_worker_event(move |event| listener(event)).map_err(Error::Events)?;
        }
        for (name, fake) in &setup.host_functions {
            define_fake(&wpc, name, fake)?;
        }
        let mut deployment = Self::new(wpc, options, workers, manifest.pool());
        deployment.host_functions = setup.host_functions.into_keys().collect();
        (deployment.policy, deployment.by_content) = (setup.policy, setup.by_content);
        Ok(deployment)
    }

    fn new(wpc: WorkerProcedureCall, options: Options, workers: usize, pool_choices: Pool) -> Self {
        Self {
            wpc,
            options,
            workers,
            pool_choices,
            active: BTreeMap::new(),
            owners: Owners::default(),
            host_functions: Vec::new(),
            listed: BTreeSet::new(),
            policy: Policy::everything(),
            by_content: false,
            changes: 0,
        }
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &WorkerProcedureCall {
        &self.wpc
    }

    /// The number of workers to start: `workers` under `[pool]`, otherwise as many as there are cores.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The items of the manifest that are not active, because they were refused.
    pub fn unserved(&self) -> impl Iterator<Item = &Item> {
        self.listed.iter().filter(|item| !self.active.contains_key(item))
    }

    /// The item of the manifest that defines the function.
    #[must_use]
    pub fn owner(&self, function: &str) -> Option<&Item> {
        self.owners.of(function)
    }

    /// The types that its modules declare for constants.
    #[must_use]
    pub fn constant_types(&self) -> ConstantTypes {
        declared(self.active.values())
    }

    /// The number of calls that the pool accepts at once: running, queued and waiting. It rejects calls beyond that.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let queued = self.options.max_pending_calls_per_worker.saturating_mul(self.workers);
        queued.saturating_add(self.options.max_waiting_calls).max(1)
    }

    /// How long calls may take to finish after a stop.
    #[must_use]
    pub fn stop_timeout(&self) -> Duration {
        self.options.stop_timeout
    }

    /// Defines new and changed items, and removes those that the manifest no longer lists, in one step of the pool.
    ///
    /// An item that is refused keeps its previous definition, and so does every item that cannot change without it. A
    /// dependency or constant that the manifest no longer lists stays as long as a function needs it.
    ///
    /// A function can move from one item to another. If the other item is refused, the previous function stays defined. No
    /// function is removed while a module cannot be read, because that module may define it.
    pub fn apply(&mut self, source: &Source, manifest: &Manifest) -> Report {
        let mut report = Report::default();
        let mut listed = BTreeSet::new();
        let read = self.module_reader(source);
        let desired = desired(source, manifest, read, &mut listed, &mut report.problems);
        self.changes += 1;
        self.listed = listed;
        self.change(source, desired, &mut report);
        report.is_pool_outdated = self.is_outdated(manifest);
        self.remove_unused(source, &mut report);
        self.report_missing_requirements(source, manifest, &mut report.problems);
        report
    }

    /// Whether a new pool would have other options.
    fn is_outdated(&self, manifest: &Manifest) -> bool {
        self.pool_choices != manifest.pool()
    }

    fn module_reader(&self, source: &Source) -> ModuleReader<'_> {
        let of_entry = |content: &Content| match content {
            Content::Module(entry, bytes) => {
                Some((source.folder().join(&entry.file), Arc::clone(bytes)))
            }
            Content::Constant(..) | Content::Secret(..) => None,
        };
        // The content of such a file does not change.
        let known = self.active.values().filter(|_| self.by_content).filter_map(of_entry);
        ModuleReader { policy: &self.policy, modules: known.collect(), by_content: self.by_content }
    }

    /// Defines the items whose content is new, and removes the functions that no item defines any more.
    fn change(&mut self, source: &Source, desired: Vec<Desired>, report: &mut Report) {
        let unlisted = self.orphan_unlisted();
        let is_new = |desired: &Desired| self.active.get(&desired.item) != Some(&desired.content);
        let (new, unchanged): (Vec<_>, Vec<_>) = desired.into_iter().partition(is_new);
        let mut claims = Claims::of(&self.listed);
        for Desired { item, .. } in unchanged {
            claims.add(&item, self.owners.functions(&item));
        }
        let mut definitions = Vec::new();
        for desired in new {
            match self.definition(source, desired) {
                Ok(definition) => definitions.push(definition),
                Err(problem) => report.problems.push(problem),
            }
        }
        for Definition { desired, functions, .. } in &definitions {
            if let Some(functions) = functions {
                claims.add(&desired.item, functions);
            }
        }
        self.remove_duplicates(source, &mut definitions, &mut report.problems);
        let is_removed = |function: &&String| !claims.may_have(function);
        let mut changes = Changes::new().skip_refused();
        for function in self.owners.orphans().map(|(function, _)| function).filter(is_removed) {
            changes = changes.remove_function(function);
        }
        let removals = changes.len();
        for definition in &definitions {
            let previous = self.owners.functions(&definition.desired.item).filter(is_removed);
            changes = definition.add_to(changes, previous.cloned().collect());
        }
        if !changes.is_empty() && !self.make(source, changes, removals, definitions, report) {
            return;
        }
        let kept: BTreeSet<_> = self.owners.orphans().map(|(_, item)| item).collect();
        let removed = unlisted.into_iter().rev().filter(|item| !kept.contains(item));
        report.removed.extend(removed);
        for (function, item) in self.owners.orphans() {
            if let Some(suspect) = claims.suspect(function) {
                let message = format!(
                    "function \"{function}\" of {item} is not removed before {suspect} is accepted, because {suspect} may define it",
                );
                report.problems.push(source.problem(0, MANIFEST, &message));
            }
        }
    }

    /// Makes the changes: removals, and then the definitions. Returns `false` if nothing was changed; individually
    /// refused changes are added to the problems.
    fn make(
        &mut self,
        source: &Source,
        changes: Changes,
        removals: usize,
        definitions: Vec<Definition>,
        report: &mut Report,
    ) -> bool {
        let applied = match self.wpc.apply(changes) {
            Ok(applied) => applied,
            Err(error) => {
                let problem = source.problem(0, error.code().as_str(), &full_text(&error));
                report.problems.push(problem);
                return false;
            }
        };
        let refused = applied.refused.iter().map(|refusal| (refusal.change, &refusal.error));
        let refused: BTreeMap<_, _> = refused.collect();
        for (at, definition) in (removals..).zip(definitions) {
            let Definition { desired, functions, .. } = definition;
            if let Some(error) = refused.get(&at) {
                report.problems.push(refusal(source, &desired, error));
                continue;
            }
            for loser in self.owners.replace(&desired.item, functions.unwrap_or_default()) {
                // Its recorded content no longer matches what the pool contains.
                self.active.remove(&loser);
            }
            self.active.insert(desired.item.clone(), desired.content);
            report.defined.push(desired.item);
        }
        for (kind, name) in &applied.removed {
            if *kind == Definable::Function {
                self.owners.remove_orphan(name);
            }
        }
        true
    }

    /// Makes the functions of items that the manifest no longer lists orphans. Returns the unlisted items whose functions
    /// are orphans, those of earlier manifests included.
    fn orphan_unlisted(&mut self) -> BTreeSet<Item> {
        let unlisted = |item: &&Item| !self.listed.contains(item);
        let gone: Vec<_> = self.owners.items().filter(unlisted).cloned().collect();
        let orphaned = self.owners.orphans().map(|(_, item)| item).filter(unlisted);
        let all = orphaned.cloned().chain(gone.iter().cloned()).collect();
        for item in gone {
            self.owners.orphan(&item);
            self.active.remove(&item);
        }
        all
    }

    /// Removes dependencies and constants that the manifest no longer lists, unless a function requires them. No call can
    /// observe that this is a separate step.
    fn remove_unused(&mut self, source: &Source, report: &mut Report) {
        let is_unlisted = |item: &&Item| {
            matches!(item.kind, Kind::Constant | Kind::Dependency) && !self.listed.contains(item)
        };
        let unlisted: Vec<_> = self.active.keys().filter(is_unlisted).cloned().collect();
        if unlisted.is_empty() {
            return;
        }
        let requirements = Requirements::of(&self.wpc);
        let mut changes = Changes::new();
        for item in unlisted.into_iter().rev() {
            if let Some(function) = requirements.user_of(&item) {
                let message = format!(
                    "{item} was removed from the manifest, but function \"{function}\" needs it"
                );
                report.problems.push(source.problem(0, MANIFEST, &message));
                continue;
            }
            changes = match item.kind {
                Kind::Constant => changes.remove_constant(item.name.as_str()),
                _ => changes.remove_dependency(item.name.as_str()),
            };
            self.active.remove(&item);
            report.removed.push(item);
        }
        // A removal cannot be refused.
        let _ = self.wpc.apply(changes);
    }
}
