//! Definitions as the embedder passed them, and the lock that writers hold.

use super::dependency::{Dependencies, Importer, Importers};
use super::types::Types;
use crate::definition::WasmModule;
use crate::definition::limits::Limits;
use crate::definition::wasi::grant::Wasi;
use crate::error::Error;
use crate::module::engine::Profile;
use crate::module::{Convention, Module};
use crate::sync::MutexGuard;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Definitions as the embedder passed them. Writers and queries about definitions read them; calls never do.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) groups: BTreeMap<u64, Arc<Group>>,
    /// The group that defines each function.
    pub(super) functions: BTreeMap<Arc<str>, u64>,
    pub(super) dependencies: Dependencies,
    pub(super) importers: Importers,
    pub(super) types: Types,
}

/// The registry's write lock. Replaced values are dropped after the lock is released: dropping the embedder's closures
/// and writers may run code that uses the pool.
pub(super) struct WriteGuard<'a> {
    // Fields are dropped in this order.
    pub(super) sources: MutexGuard<'a, Sources>,
    pub(super) replaced: Vec<Box<dyn Any + Send + Sync>>,
}

impl WriteGuard<'_> {
    /// Keeps a replaced value until the lock is released.
    pub(super) fn replace(&mut self, what: impl Any + Send + Sync) {
        self.replaced.push(Box::new(what));
    }
}

/// Functions that were defined together and share their sandboxes.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// How errors name it.
    pub(super) what: Arc<str>,
    pub(super) module: Arc<Module>,
    pub(super) profile: Profile,
    /// Kept to compile the module again if a dependency needs a GC heap; `None` if it has no dependencies.
    pub(super) source: Option<WasmModule>,
    pub(super) limits: Arc<Limits>,
    pub(super) wasi: Option<Arc<Wasi>>,
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
        let has_dependencies = !module.requirements.dependencies.is_empty();
        let source = has_dependencies.then(|| source.clone());
        Ok(Self { what: what.into(), module, profile, source, limits, wasi, functions })
    }
}

impl Sources {
    /// The groups that require a dependency, in the order in which they were defined.
    pub(super) fn groups_above(&self, alias: &str) -> Vec<Arc<Group>> {
        let groups = self.importers.groups_above(alias);
        groups.iter().filter_map(|id| self.groups.get(id).cloned()).collect()
    }

    /// Removes functions from the groups that defined them; returns the previous versions of these groups.
    pub(super) fn remove_functions(
        &mut self,
        names: impl Iterator<Item = Arc<str>>,
    ) -> Vec<Arc<Group>> {
        let mut removed: BTreeMap<u64, BTreeSet<Arc<str>>> = BTreeMap::new();
        for name in names {
            if let Some(id) = self.functions.remove(&name) {
                removed.entry(id).or_default().insert(name);
            }
        }
        let mut replaced = Vec::new();
        for (id, names) in &removed {
            let Some(group) = self.groups.remove(id) else { continue };
            let left = group.functions.iter().filter(|(name, _)| !names.contains(name));
            let left = left.cloned().collect::<Vec<_>>();
            if left.is_empty() {
                let importer = Importer::Group(*id);
                self.importers.remove(&importer, &group.module);
                self.types.remove(&importer, &group.module);
            } else {
                let group = Group { functions: left, ..Group::clone(&group) };
                self.groups.insert(*id, Arc::new(group));
            }
            replaced.push(group);
        }
        replaced
    }
}
