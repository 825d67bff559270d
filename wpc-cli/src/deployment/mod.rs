//! Reconciles a pool with a manifest, and reports what failed. Unchanged items are left alone. If an update of an item
//! is rejected, its previous definition stays active.

mod define;
mod desired;
mod requirements;
#[cfg(test)]
mod tests;

use crate::cache::Cache;
use crate::constant::Declared;
use crate::failure::Failure;
use crate::item::{Item, Kind};
use crate::manifest::{Fake, Manifest, Pool, Source};
use crate::owners::Owners;
use crate::problem::{MANIFEST, Problem};
use define::define_fake;
use desired::{Content, Desired, declared, desired};
use requirements::Requirements;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wpc_host::{ErrorCode, Options, WorkerEvent, WorkerProcedureCall};

/// The result of [`Deployment::apply`].
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) defined: Vec<Item>,
    pub(crate) removed: Vec<Item>,
    pub(crate) problems: Vec<Problem>,
}

/// A pool with the items of a manifest that are active in it.
pub(crate) struct Deployment {
    wpc: WorkerProcedureCall,
    options: Options,
    /// The number of workers to start.
    pub(crate) workers: usize,
    /// The manifest's `[pool]` table at start; later changes to it are not applied.
    pool_choices: Pool,
    active: BTreeMap<Item, Content>,
    owners: Owners,
    /// The host functions that every module is granted.
    host_functions: Vec<String>,
    /// All items of the current manifest.
    listed: BTreeSet<Item>,
}

impl Deployment {
    /// Creates a pool with everything that the manifest defines, and does not start it. All problems of the manifest
    /// are reported together. `listener` receives the pool's events.
    pub(crate) fn open(
        source: &Source,
        manifest: &Manifest,
        cache: &Cache,
        listener: impl Fn(&WorkerEvent) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        Self::open_with(source, manifest, cache, listener, &BTreeMap::new())
    }

    /// As [`Self::open`], with host functions that are granted to every module.
    pub(crate) fn open_with(
        source: &Source,
        manifest: &Manifest,
        cache: &Cache,
        listener: impl Fn(&WorkerEvent) + Send + Sync + 'static,
        host_functions: &BTreeMap<String, Fake>,
    ) -> Result<Self, Failure> {
        let (options, workers) = manifest.chosen(source)?;
        let options = options.compile_cache(cache.folder()?);
        let wpc = WorkerProcedureCall::new(options.clone())?;
        wpc.on_worker_event(listener).map_err(|error| {
            Failure::machine(format!("failed to start the event thread: {error}"))
        })?;
        for (name, fake) in host_functions {
            define_fake(&wpc, name, fake)?;
        }
        let mut deployment = Self::new(wpc, options, workers, manifest.pool());
        deployment.host_functions = host_functions.keys().cloned().collect();
        let problems = deployment.apply(source, manifest).problems;
        if problems.is_empty() { Ok(deployment) } else { Err(Failure::Problems(problems)) }
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
        }
    }

    pub(crate) fn pool(&self) -> &WorkerProcedureCall {
        &self.wpc
    }

    /// The types that its modules declare for constants.
    pub(crate) fn declared_constants(&self) -> Declared {
        declared(self.active.values())
    }

    /// The number of calls that the pool accepts at once: running, queued and waiting. It rejects calls beyond that.
    pub(crate) fn capacity(&self) -> usize {
        let queued = self.options.max_pending_calls_per_worker.saturating_mul(self.workers);
        queued.saturating_add(self.options.max_waiting_calls).max(1)
    }

    /// How long calls may take to finish after a stop.
    pub(crate) fn stop_timeout(&self) -> Duration {
        self.options.stop_timeout
    }

    /// Defines new and changed items, and undefines those that the manifest no longer lists.
    pub(crate) fn apply(&mut self, source: &Source, manifest: &Manifest) -> Report {
        let mut report = Report::default();
        let mut listed = BTreeSet::new();
        let desired = desired(source, manifest, &mut listed, &mut report.problems);
        let pending: Vec<_> = desired
            .into_iter()
            .filter(|desired| self.active.get(&desired.item) != Some(&desired.content))
            .collect();
        self.listed = listed;
        let (failed, rejections) = self.define_all(source, pending, &mut report.defined);
        if rejections.is_empty() || !self.define_together(source, &failed, &rejections, &mut report)
        {
            report.problems.extend(rejections);
        }
        if self.pool_choices != manifest.pool() {
            let message = "changes to [pool] take effect only after a restart of the process";
            report.problems.push(source.problem(0, MANIFEST, message));
        }
        self.remove_unlisted(source, &mut report);
        self.report_missing_requirements(source, manifest, &mut report.problems);
        report
    }

    /// Defines items in rounds until a round makes no progress, because a definition may require another one first.
    /// Returns the items that could not be defined, with the reasons.
    fn define_all(
        &mut self,
        source: &Source,
        mut pending: Vec<Desired>,
        defined: &mut Vec<Item>,
    ) -> (Vec<Desired>, Vec<Problem>) {
        loop {
            let before = pending.len();
            let mut rejections = Vec::new();
            pending.retain(|desired| match self.define(source, desired) {
                Ok(()) => {
                    defined.push(desired.item.clone());
                    self.active.insert(desired.item.clone(), desired.content.clone());
                    false
                }
                Err(problem) => {
                    rejections.push(problem);
                    true
                }
            });
            if pending.is_empty() || pending.len() == before {
                return (pending, rejections);
            }
        }
    }

    /// Replaces items that are only compatible with each other's new version: a dependency or constant and the
    /// functions that use it. Undefines the functions and constants, and then defines all items. If that fails,
    /// restores the previous definitions.
    fn define_together(
        &mut self,
        source: &Source,
        failed: &[Desired],
        rejections: &[Problem],
        report: &mut Report,
    ) -> bool {
        // Only link errors can be resolved by defining the items together.
        let link_errors =
            [ErrorCode::DependencyExport, ErrorCode::TypeMismatch].map(ErrorCode::as_str);
        let is_link_error = |problem: &Problem| link_errors.contains(&problem.code);
        let has = |kinds: &[Kind]| failed.iter().any(|desired| kinds.contains(&desired.item.kind));
        let sides = [&[Kind::Constant][..], &[Kind::Dependency], &[Kind::Module, Kind::Function]];
        if !rejections.iter().all(is_link_error)
            || sides.into_iter().filter(|side| has(side)).count() < 2
        {
            return false;
        }
        let previous = failed.iter().filter_map(|desired| {
            let content = self.active.get(&desired.item)?.clone();
            Some(Desired { item: desired.item.clone(), content, at: desired.at })
        });
        let previous: Vec<_> = previous.collect();
        // With a compile cache this shortens the time in which the functions are undefined.
        failed.iter().for_each(|desired| self.compile(&desired.content));
        let undefine = |deployment: &mut Self| {
            for Desired { item, .. } in failed {
                deployment.undefine_functions_of(item);
                if item.kind == Kind::Constant {
                    deployment.wpc.undefine_worker_constant(&item.name);
                }
            }
        };
        undefine(self);
        let mut defined = Vec::new();
        let (remaining, _) = self.define_all(source, failed.to_vec(), &mut defined);
        if remaining.is_empty() {
            report.defined.append(&mut defined);
            return true;
        }
        undefine(self);
        // The previous definitions were compatible with each other.
        let (lost, reasons) = self.define_all(source, previous, &mut Vec::new());
        for desired in lost {
            self.active.remove(&desired.item);
        }
        report.problems.extend(reasons);
        false
    }

    fn undefine_functions_of(&mut self, item: &Item) {
        for function in self.owners.release(item) {
            self.wpc.undefine_worker_function(&function);
        }
    }

    /// Undefines items that the manifest no longer lists, unless a remaining function requires them.
    fn remove_unlisted(&mut self, source: &Source, report: &mut Report) {
        let is_unlisted = |item: &&Item| !self.listed.contains(item);
        let unlisted: Vec<_> = self.active.keys().filter(is_unlisted).cloned().collect();
        let (functions, others): (Vec<_>, Vec<_>) = unlisted
            .into_iter()
            .partition(|item| matches!(item.kind, Kind::Module | Kind::Function));
        // Functions first, because what only they require can then be removed as well.
        for item in functions.into_iter().rev() {
            self.undefine_functions_of(&item);
            self.active.remove(&item);
            report.removed.push(item);
        }
        if others.is_empty() {
            return;
        }
        let requirements = Requirements::of(&self.wpc);
        for item in others.into_iter().rev() {
            if let Some(function) = requirements.user_of(&item) {
                let message = format!(
                    "{item} was removed from the manifest, but function \"{function}\" needs it"
                );
                report.problems.push(source.problem(0, MANIFEST, &message));
                continue;
            }
            self.active.remove(&item);
            if item.kind == Kind::Constant {
                self.wpc.undefine_worker_constant(&item.name);
            } else {
                self.wpc.undefine_worker_dependency(&item.name);
            }
            report.removed.push(item);
        }
    }
}
