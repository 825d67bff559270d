//! Definitions as the embedder passed them. Writers and queries about definitions read them; calls never do.

use super::dependency::{Dependencies, HostFunctionNames, Importer, Imports, common_profile};
use super::types::Types;
use crate::definition::WasmModule;
use crate::definition::limits::Limits;
use crate::definition::wasi::grant::Wasi;
use crate::error::Error;
use crate::module::engine::Profile;
use crate::module::{Convention, Module, signature};
use rpds::RedBlackTreeMapSync;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Definitions as the embedder passed them. All maps are persistent: a clone takes constant time, and a change to the clone
/// copies little.
#[derive(Debug, Default, Clone)]
pub(super) struct Sources {
    /// Counts the published changes.
    pub(super) version: u64,
    pub(super) groups: RedBlackTreeMapSync<u64, Arc<Group>>,
    /// The group that defines each function.
    pub(super) functions: RedBlackTreeMapSync<Arc<str>, u64>,
    pub(super) dependencies: Dependencies,
    pub(super) imports: Imports,
    pub(super) types: Types,
    /// The host functions that suspend the guests which call them.
    pub(super) suspending: HostFunctionNames,
}

/// Functions that were defined together and share their sandboxes.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// How errors name it.
    pub(super) what: Arc<str>,
    pub(super) module: Arc<Module>,
    pub(super) profile: Profile,
    /// Kept to compile the module again for another profile; `None` if it imports nothing that could change its profile. Boxed
    /// because it is large and rare.
    pub(super) source: Option<Box<WasmModule>>,
    pub(super) limits: Arc<Limits>,
    pub(super) wasi: Option<Arc<Wasi>>,
    /// The functions that it may call.
    pub(super) called: Arc<BTreeSet<String>>,
    /// Names, each with the index of its export.
    pub(super) functions: Vec<(Arc<str>, usize)>,
}

impl Group {
    pub(super) fn new(
        what: String,
        module: Arc<Module>,
        source: &WasmModule,
        profile: Profile,
        functions: Vec<(Arc<str>, usize)>,
    ) -> Result<Self, Error> {
        let mut limits = Arc::clone(&source.limits);
        // A WASI command can run only once in a sandbox.
        let is_command =
            |(_, at): &(_, usize)| module.exports[*at].convention == Convention::Command;
        if source.isolates_calls || functions.iter().any(is_command) {
            Arc::make_mut(&mut limits).recycle_after_calls = Some(1);
        }
        let wasi = source.grants.open_wasi(&what)?;
        let requirements = &module.requirements;
        let may_change =
            !requirements.dependencies.is_empty() || !requirements.host_functions.is_empty();
        let called = Arc::clone(&source.grants.functions);
        let source = may_change.then(|| Box::new(source.clone()));
        Ok(Self { what: what.into(), module, profile, source, limits, wasi, called, functions })
    }
}

impl Sources {
    /// Records whether a host function suspends the guests that call it; returns whether that changed.
    pub(super) fn set_suspending(&mut self, name: &Arc<str>, suspends: bool) -> bool {
        if suspends == self.suspending.contains(name) {
            return false;
        }
        if suspends {
            self.suspending.insert_mut(Arc::clone(name));
        } else {
            self.suspending.remove_mut(name);
        }
        true
    }

    /// The profile in which a module can be linked with what it imports.
    pub(super) fn common_profile(&self, profile: Profile, module: &Module) -> Profile {
        common_profile(profile, module, &self.dependencies, &self.suspending)
    }

    /// Compares the types that a module declares for functions of the pool with those of the defined ones. A function that
    /// is defined later is compared when it is called, because callers must not prevent its change.
    pub(super) fn check_called(&self, what: &str, module: &Module) -> Result<(), Error> {
        for (name, declared) in &module.requirements.functions {
            let group = self.functions.get(name.as_str()).and_then(|id| self.groups.get(id));
            let found = group.and_then(|group| {
                let (_, at) = group.functions.iter().find(|(found, _)| **found == **name)?;
                signature::known(&group.module.exports[*at])
            });
            if let Some(found) = found {
                signature::check(what, || format!("function \"{name}\""), declared, &found)?;
            }
        }
        Ok(())
    }

    /// Adds a group under the number `id`. It replaces functions of the same names.
    pub(super) fn add_group(&mut self, id: u64, group: &Arc<Group>) {
        self.remove_functions(group.functions.iter().map(|(name, _)| name));
        for (name, _) in &group.functions {
            self.functions.insert_mut(Arc::clone(name), id);
        }
        self.add_importer(&Importer::Group(id), &group.what, &group.module);
        self.groups.insert_mut(id, Arc::clone(group));
    }

    /// Removes functions from the groups that defined them.
    pub(super) fn remove_functions<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) {
        let mut removed: BTreeMap<u64, BTreeSet<&Arc<str>>> = BTreeMap::new();
        for name in names {
            if let Some(id) = self.functions.get(name).copied() {
                self.functions.remove_mut(name);
                removed.entry(id).or_default().insert(name);
            }
        }
        for (id, names) in &removed {
            let Some(group) = self.groups.get(id).cloned() else { continue };
            let left = group.functions.iter().filter(|(name, _)| !names.contains(name));
            let left = left.cloned().collect::<Vec<_>>();
            if left.is_empty() {
                self.groups.remove_mut(id);
                self.remove_importer(&Importer::Group(*id), &group.module);
            } else {
                let group = Group { functions: left, ..Group::clone(&group) };
                self.groups.insert_mut(*id, Arc::new(group));
            }
        }
    }

    pub(super) fn add_importer(
        &mut self,
        importer: &Importer,
        what: &Arc<str>,
        module: &Arc<Module>,
    ) {
        self.imports.add(importer, module);
        self.types.add(importer, what, module);
    }

    pub(super) fn remove_importer(&mut self, importer: &Importer, module: &Module) {
        self.imports.remove(importer, module);
        self.types.remove(importer, module);
    }
}
