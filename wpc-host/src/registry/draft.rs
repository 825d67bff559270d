//! A draft: the definitions of the registry as they would be after a set of changes. The draft is resolved, compared and linked
//! before it is published, so that inconsistent changes are refused.

use super::Registry;
use super::apply::Pending;
use super::change::Prepared;
use super::dependency::{Importer, Resolver, reached};
use super::function::Function;
use super::sources::{Group, Sources};
use crate::error::{Definable, Error};
use crate::module::Module;
use crate::module::engine::Profile;
use crate::sandbox::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The definitions after the changes. Each changed item has the position of its change, for errors.
pub(super) struct Draft {
    pub(super) sources: Sources,
    /// The new groups.
    groups: BTreeMap<u64, usize>,
    /// The dependencies that were defined or removed.
    aliases: BTreeMap<Arc<str>, usize>,
    constants: BTreeMap<Arc<str>, usize>,
    host_functions: BTreeMap<Arc<str>, usize>,
    /// The host functions that begin or cease to suspend the guests which call them.
    suspending: BTreeMap<Arc<str>, usize>,
}

/// The functions of a draft that must be published.
pub(super) struct Linked {
    pub(super) defined: Vec<Arc<Function>>,
    pub(super) relinked: Vec<Arc<Function>>,
    /// The position of the first change that causes each of them.
    pub(super) causes: BTreeMap<Arc<str>, usize>,
}

/// The errors of a draft, by the position of the change that causes them.
type Errors = BTreeMap<usize, Error>;

/// A group to link.
struct Target<'a> {
    group: &'a Arc<Group>,
    is_new: bool,
    /// The changes that may cause its errors.
    changes: Vec<usize>,
}

impl Registry {
    pub(super) fn draft(&self, base: Sources, pending: &[Pending]) -> Draft {
        let mut draft = Draft {
            sources: base,
            groups: BTreeMap::new(),
            aliases: BTreeMap::new(),
            constants: BTreeMap::new(),
            host_functions: BTreeMap::new(),
            suspending: BTreeMap::new(),
        };
        for Pending { at, prepared, .. } in pending {
            match prepared {
                Prepared::Groups(replaced, groups) => {
                    draft.sources.remove_functions(replaced.iter());
                    for group in groups {
                        let id = self.generations.next();
                        draft.sources.add_group(id, group);
                        draft.groups.insert(id, *at);
                    }
                }
                Prepared::Dependency(alias, dependency) => {
                    draft.remove_dependency(alias, *at);
                    let what = format!("dependency \"{alias}\"").into();
                    let importer = Importer::Dependency(Arc::clone(alias));
                    let sources = &mut draft.sources;
                    sources.add_importer(&importer, &what, &dependency.module);
                    sources.dependencies.insert_mut(Arc::clone(alias), Arc::clone(dependency));
                }
                Prepared::Constant(name, ty, _) => {
                    draft.sources.types.set_constant(name, Some(ty.clone()));
                    draft.constants.insert(Arc::clone(name), *at);
                }
                Prepared::HostFunction(name, signature, function) => {
                    draft.set_suspending(name, function.suspends(), *at);
                    draft.sources.types.set_host_function(name, signature.clone());
                    draft.host_functions.insert(Arc::clone(name), *at);
                }
                Prepared::Remove(Definable::Function, name) => {
                    draft.sources.remove_functions(std::iter::once(name));
                }
                Prepared::Remove(Definable::Dependency, alias) => {
                    draft.remove_dependency(alias, *at);
                }
                Prepared::Remove(Definable::Constant, name) => {
                    draft.sources.types.set_constant(name, None);
                }
                // Whether it suspends guests stays as it was, so a removal links nothing and cannot be refused.
                Prepared::Remove(Definable::HostFunction, name) => {
                    draft.sources.types.set_host_function(name, None);
                }
            }
        }
        draft
    }

    /// Resolves everything that must be linked, which compiles all modules that linking needs. The modules stay compiled as
    /// long as the returned nodes are kept.
    pub(super) fn resolve_all(&self, draft: &Draft) -> Result<Vec<Vec<Node>>, Errors> {
        let (mut resolved, mut errors) = (Vec::new(), Errors::new());
        for target in draft.targets() {
            match self.resolve(target.group, &draft.sources) {
                Ok(nodes) => resolved.extend(nodes),
                Err(error) => draft.attribute_error(&target, &error, &mut errors),
            }
        }
        for (alias, at) in &draft.aliases {
            match self.resolve_dependency(draft, alias) {
                Ok(found) => resolved.extend(found.map(|(_, nodes)| nodes)),
                Err(error) => drop(errors.entry(*at).or_insert(error)),
            }
        }
        if errors.is_empty() { Ok(resolved) } else { Err(errors) }
    }

    /// Whether linking the draft may need a module in a different profile than the one in which it was compiled.
    pub(super) fn may_compile(&self, draft: &Draft) -> bool {
        let dependencies = &draft.sources.dependencies;
        let differs = |profile: Profile, module: &Module| {
            let profile = draft.sources.common_profile(profile, module);
            let reached = reached(module, dependencies);
            let mut needed = reached.into_iter().filter_map(|alias| dependencies.get(alias));
            module.profile != profile || needed.any(|needed| needed.module.profile != profile)
        };
        let mut changed = draft.aliases.keys().filter_map(|alias| dependencies.get(alias));
        let mut targets = draft.targets().into_iter();
        targets.any(|target| differs(target.group.profile, &target.group.module))
            || changed.any(|changed| differs(self.engines.plain(), &changed.module))
    }

    /// Compares types and links everything that the changes reach.
    pub(super) fn link_all(&self, draft: &Draft) -> Result<Linked, Errors> {
        let mut errors = draft.type_errors();
        for (alias, at) in &draft.aliases {
            if let Err(error) = self.link_dependency(draft, alias) {
                errors.entry(*at).or_insert(error);
            }
        }
        let mut linked =
            Linked { defined: Vec::new(), relinked: Vec::new(), causes: BTreeMap::new() };
        for target in draft.targets() {
            let functions = self.link(target.group, &draft.sources);
            if let (Ok(functions), Some(cause)) = (&functions, target.changes.first()) {
                let names = functions.iter().map(|function| Arc::clone(&function.name));
                linked.causes.extend(names.map(|name| (name, *cause)));
            }
            match functions {
                Ok(functions) if target.is_new => linked.defined.extend(functions),
                Ok(functions) => linked.relinked.extend(functions),
                Err(error) => draft.attribute_error(&target, &error, &mut errors),
            }
        }
        if errors.is_empty() { Ok(linked) } else { Err(errors) }
    }

    /// Links a dependency by itself: cycles and mismatched imports are refused even if no function requires it yet.
    fn link_dependency(&self, draft: &Draft, alias: &str) -> Result<(), Error> {
        if let Some((profile, nodes)) = self.resolve_dependency(draft, alias)? {
            let what = format!("dependency \"{alias}\"");
            self.blueprint(&what, profile, self.max_instances, &nodes)?;
        }
        Ok(())
    }

    /// The modules that a dependency requires, and their profile; `None` if one of them is not defined.
    fn resolve_dependency(
        &self,
        draft: &Draft,
        alias: &str,
    ) -> Result<Option<(Profile, Vec<Node>)>, Error> {
        let dependencies = &draft.sources.dependencies;
        let Some(dependency) = dependencies.get(alias) else { return Ok(None) };
        let profile = draft.sources.common_profile(self.engines.plain(), &dependency.module);
        let resolver = Resolver::new(dependencies, &self.compiler, profile);
        Ok(resolver.resolve_alias(alias)?.map(|nodes| (profile, nodes)))
    }
}

impl Draft {
    fn set_suspending(&mut self, name: &Arc<str>, suspends: bool, at: usize) {
        if self.sources.set_suspending(name, suspends) {
            self.suspending.insert(Arc::clone(name), at);
        }
    }

    fn remove_dependency(&mut self, alias: &Arc<str>, at: usize) {
        self.aliases.insert(Arc::clone(alias), at);
        if let Some(previous) = self.sources.dependencies.get(alias).cloned() {
            let importer = Importer::Dependency(Arc::clone(alias));
            self.sources.remove_importer(&importer, &previous.module);
            self.sources.dependencies.remove_mut(alias);
        }
    }

    /// The new groups, and those that reach a changed dependency or a host function that has started or stopped suspending its
    /// callers.
    fn targets(&self) -> Vec<Target<'_>> {
        let mut changes: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
        for (alias, at) in &self.aliases {
            for id in self.sources.imports.groups_above_dependency(alias) {
                changes.entry(id).or_default().insert(*at);
            }
        }
        for (name, at) in &self.suspending {
            for id in self.sources.imports.groups_above_host_function(name) {
                changes.entry(id).or_default().insert(*at);
            }
        }
        // The change of a new group causes the group's errors.
        changes.extend(self.groups.iter().map(|(id, at)| (*id, BTreeSet::from([*at]))));
        let target = |(id, changes): (u64, BTreeSet<usize>)| {
            // A later change may have replaced all functions of a new group.
            let group = self.sources.groups.get(&id)?;
            let is_new = self.groups.contains_key(&id);
            Some(Target { group, is_new, changes: changes.into_iter().collect() })
        };
        changes.into_iter().filter_map(target).collect()
    }

    /// Adds the error of a group to the changes that cause it.
    fn attribute_error(&self, target: &Target<'_>, error: &Error, errors: &mut Errors) {
        let cause = match error {
            Error::DependencyExport { alias, .. } => self.aliases.get(alias.as_str()),
            _ => None,
        };
        let causes = match cause.filter(|cause| target.changes.contains(cause)) {
            Some(cause) => std::slice::from_ref(cause),
            None => &target.changes,
        };
        for at in causes {
            errors.entry(*at).or_insert_with(|| error.clone());
        }
    }

    /// Compares the types that modules declare for constants and host functions with those that are defined. A difference is
    /// an error of the change that defines the module, if there is one, and otherwise of the change of the constant or host
    /// function.
    fn type_errors(&self) -> Errors {
        let types = &self.sources.types;
        let mut errors = Errors::new();
        let mut add = |at: usize, result: Result<(), Error>| {
            if let Err(error) = result {
                errors.entry(at).or_insert(error);
            }
        };
        for (id, at) in &self.groups {
            if let Some(group) = self.sources.groups.get(id) {
                add(*at, types.check_module(&group.what, &group.module));
                add(*at, self.sources.check_called(&group.what, &group.module));
            }
        }
        for (alias, at) in &self.aliases {
            if let Some(dependency) = self.sources.dependencies.get(alias) {
                let what = format!("dependency \"{alias}\"");
                add(*at, types.check_module(&what, &dependency.module));
                add(*at, self.sources.check_called(&what, &dependency.module));
            }
        }
        let is_new = |importer: &Importer| match importer {
            Importer::Group(id) => self.groups.contains_key(id),
            Importer::Dependency(alias) => self.aliases.contains_key(alias),
        };
        for (name, at) in &self.constants {
            add(*at, types.check_constant(name, is_new));
        }
        for (name, at) in &self.host_functions {
            add(*at, types.check_host_function(name, is_new));
        }
        errors
    }
}
