//! Changes to a deployment that are made together or not at all. They are checked first and made
//! later.

use super::Deployment;
use super::change::{Definition, refusal};
use super::desired::{Desired, desired};
use super::{Report, full_text};
use crate::item::{Item, Kind};
use crate::manifest::{Manifest, Source};
use crate::problem::{MANIFEST, Problem};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use wpc_host::{Changes, Checked, Error, FunctionInformation};

/// A manifest that was checked against a pool. It changes nothing before [`Deployment::activate`].
#[derive(Debug)]
#[must_use = "pass it to `activate`"]
pub struct Prepared {
    /// The deployment as it will be.
    pub(super) next: Deployment,
    definitions: Vec<Definition>,
    /// Functions, dependencies and constants that the pool will no longer have.
    removals: Vec<(Kind, String)>,
    report: Report,
    pub(super) checked: Checked,
}

impl Prepared {
    /// The changes that will be made.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Instantiates each definition that will be new, once, and drops the sandbox: see
    /// [`WorkerProcedureCall::instantiate`](wpc_host::WorkerProcedureCall::instantiate). The pool must run.
    ///
    /// # Errors
    ///
    /// The items of which a definition cannot be instantiated, each with its function and the reason.
    pub fn instantiate(&self, source: &Source) -> Result<(), Vec<Problem>> {
        let instantiated = self.next.wpc.instantiate(&self.checked);
        instantiated
            .map_err(|error| refusals(source, self.removals.len(), &self.definitions, &error))
    }

    /// The functions that will be defined.
    #[must_use]
    pub fn functions(&self) -> &[FunctionInformation] {
        &self.checked.functions
    }
}

impl Deployment {
    /// Checks the changes that [`activate`](Self::activate) will make: reads every item, compiles
    /// its modules and links everything. Changes nothing.
    ///
    /// # Errors
    ///
    /// All problems that were found. Unlike in [`apply`](Self::apply), a single problem refuses all
    /// changes.
    pub fn prepare(&self, source: &Source, manifest: &Manifest) -> Result<Prepared, Vec<Problem>> {
        manifest.chosen(source).map_err(|problem| vec![problem])?;
        let (mut problems, mut listed) = (Vec::new(), BTreeSet::new());
        let read = self.module_reader(source);
        let desired = desired(source, manifest, read, &mut listed, &mut problems);
        let mut next = self.clone();
        next.changes += 1;
        next.listed = listed;
        let mut removed = next.orphan_unlisted();
        let mut definitions = Vec::new();
        for desired in desired {
            if next.active.get(&desired.item) == Some(&desired.content) {
                continue;
            }
            match next.definition(source, desired) {
                Ok(definition) => definitions.push(definition),
                Err(problem) => problems.push(problem),
            }
        }
        next.remove_duplicates(source, &mut definitions, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut report =
            Report { is_pool_outdated: self.is_outdated(manifest), ..Report::default() };
        for Definition { desired, functions, .. } in &definitions {
            for loser in next.owners.replace(&desired.item, functions.clone().unwrap_or_default()) {
                next.active.remove(&loser);
            }
            report.defined.push(desired.item.clone());
        }
        for Definition { desired, .. } in &definitions {
            next.active.insert(desired.item.clone(), desired.content.clone());
        }
        let removals = next.removals(&mut removed);
        report.removed = removed.into_iter().rev().collect();
        let checked = self.wpc.check(changes(&removals, &definitions));
        let checked =
            checked.map_err(|error| refusals(source, removals.len(), &definitions, &error))?;
        next.find_missing(source, manifest, &checked, &removals, &mut problems);
        if problems.is_empty() {
            Ok(Prepared { next, definitions, removals, report, checked })
        } else {
            Err(problems)
        }
    }

    /// Makes the prepared changes in one step of the pool.
    ///
    /// # Errors
    ///
    /// The reasons why the pool refuses a change. In that case, nothing is changed. This can happen
    /// if another change was made in between, or if the operating system refuses memory or a
    /// thread.
    pub fn activate(
        &mut self,
        source: &Source,
        prepared: Prepared,
    ) -> Result<Report, Vec<Problem>> {
        let Prepared { next, definitions, removals, report, checked } = prepared;
        if next.changes != self.changes + 1 {
            let message = "another change was made in between; prepare this one again";
            return Err(vec![source.problem(0, MANIFEST, message)]);
        }
        let applied = self.wpc.apply(changes(&removals, &definitions));
        applied.map_err(|error| refusals(source, removals.len(), &definitions, &error))?;
        drop(checked);
        *self = next;
        Ok(report)
    }

    /// Forgets the items that the pool has and the manifest no longer lists. Those that are
    /// dependencies and constants are added to `removed`.
    fn removals(&mut self, removed: &mut BTreeSet<Item>) -> Vec<(Kind, String)> {
        let orphans: Vec<_> = self.owners.orphans().map(|(name, _)| name.clone()).collect();
        for function in &orphans {
            self.owners.remove_orphan(function);
        }
        let mut removals: Vec<_> = orphans.into_iter().map(|name| (Kind::Function, name)).collect();
        let unlisted = self.active.keys().filter(|item| !self.listed.contains(*item));
        for item in unlisted.cloned().collect::<Vec<_>>() {
            self.active.remove(&item);
            if matches!(item.kind, Kind::Constant | Kind::Dependency) {
                removals.push((item.kind, item.name.clone()));
            }
            removed.insert(item);
        }
        removals
    }

    /// Reports the dependencies and constants that functions would require and the pool would not have.
    fn find_missing(
        &self,
        source: &Source,
        manifest: &Manifest,
        checked: &Checked,
        removals: &[(Kind, String)],
        problems: &mut Vec<Problem>,
    ) {
        let is_removed = |kind, name: &String| removals.contains(&(kind, name.clone()));
        let constants = self.wpc.get_worker_constants().into_iter().map(|constant| constant.name);
        let mut constants: HashSet<_> =
            constants.filter(|name| !is_removed(Kind::Constant, name)).collect();
        constants.extend(manifest.constants.keys().cloned());
        let aliases = self.wpc.get_worker_dependencies().into_iter().map(|found| found.alias);
        let mut aliases: HashSet<_> =
            aliases.filter(|alias| !is_removed(Kind::Dependency, alias)).collect();
        aliases.extend(manifest.dependencies.keys().cloned());

        let mut missing: BTreeSet<(String, &str, String)> = BTreeSet::new();
        for (function, alias) in &checked.missing_dependencies {
            missing.insert((function.clone(), "dependency", alias.clone()));
        }
        let mut needs = |function: &FunctionInformation, of_constants: bool| {
            let (kind, required, defined) = if of_constants {
                ("constant", &function.required_constants, &constants)
            } else {
                ("dependency", &function.required_dependencies, &aliases)
            };
            for name in required.iter().filter(|name| !defined.contains(*name)) {
                missing.insert((function.name.clone(), kind, name.clone()));
            }
        };
        let mut seen = HashSet::new();
        for function in checked.functions.iter().chain(&checked.relinked) {
            seen.insert(function.name.as_str());
            needs(function, true);
        }
        for function in self.wpc.get_remote_functions() {
            if !seen.contains(function.name.as_str()) && !is_removed(Kind::Function, &function.name)
            {
                needs(&function, true);
                needs(&function, false);
            }
        }
        for (function, kind, name) in missing {
            let Some(owner) = self.owners.of(&function) else { continue };
            let entries =
                if owner.kind == Kind::Module { &manifest.modules } else { &manifest.functions };
            let at = entries.get(&owner.name).map_or(0, |entry| entry.span().start);
            let code =
                if kind == "constant" { "constant_not_defined" } else { "dependency_not_defined" };
            let is_removed =
                |(of, removed): &(Kind, String)| of.as_str() == kind && *removed == name;
            let message = if removals.iter().any(is_removed) {
                format!(
                    "{owner} needs {kind} \"{name}\", which is removed; keep it, or remove {owner}"
                )
            } else {
                format!("{owner} needs {kind} \"{name}\", which is not defined; define it")
            };
            let problem = source.problem(at, code, &message);
            // All functions of a module have the same requirements.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
}

/// The removals, and then the definitions. The order does not matter to the pool.
fn changes(removals: &[(Kind, String)], definitions: &[Definition]) -> Changes {
    let changes = removals.iter().fold(Changes::new(), |changes, (kind, name)| match kind {
        Kind::Constant => changes.remove_constant(name),
        Kind::Dependency => changes.remove_dependency(name),
        Kind::Module | Kind::Function => changes.remove_function(name),
    });
    definitions.iter().fold(changes, |changes, definition| definition.add_to(changes, Vec::new()))
}

/// The problems of refused changes, of which the first `removals` are removals.
fn refusals(
    source: &Source,
    removals: usize,
    definitions: &[Definition],
    error: &Error,
) -> Vec<Problem> {
    let whole = || source.problem(0, error.code().as_str(), &full_text(error));
    let Error::ChangesRefused { refusals, .. } = error else { return vec![whole()] };
    let by_item: BTreeMap<_, _> =
        refusals.iter().map(|refusal| (refusal.change, &refusal.error)).collect();
    let problem = |(change, error): (usize, &Error)| {
        let definition = change.checked_sub(removals).and_then(|at| definitions.get(at));
        let desired: &Desired = &definition?.desired;
        Some(refusal(source, desired, error))
    };
    let problems: Vec<_> = by_item.into_iter().filter_map(problem).collect();
    if problems.is_empty() { vec![whole()] } else { problems }
}
