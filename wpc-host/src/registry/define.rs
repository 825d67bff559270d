//! Defines and removes functions.

use super::dependency::Importer;
use super::function::{Function, release};
use super::sources::Group;
use super::{Registry, check_name};
use crate::definition::WasmModule;
use crate::error::Error;
use crate::id::FunctionHash;
use crate::module::Module;
use crate::module::engine::Profile;
use crate::system::background::Interest;
use std::sync::Arc;

impl Registry {
    /// Defines one function.
    pub(crate) fn define_function(
        &self,
        name: &str,
        source: &WasmModule,
        interest: &Interest,
    ) -> Result<Arc<Function>, Error> {
        check_name("function", name)?;
        let what = format!("function \"{name}\"");
        let title = source.title(|| format!("the module of {what}"));
        let profile = self.profile(source);
        let module = self.compiler.compile(&title, source, profile)?;
        let export = module.export_for(&title, name, source.export.as_deref())?.name.clone();
        let export = position(&module, &export);
        let functions = vec![(name.into(), export)];
        let mut functions =
            self.define_group(Group::new(what, module, source, profile, functions)?, interest)?;
        // The group has exactly one function.
        Ok(functions.remove(0))
    }

    /// Defines every function that a module offers, under the name of its export. Exports whose names could forge log
    /// lines are skipped; [`WasmModule::export`] can define them under another name.
    pub(crate) fn define_module(
        &self,
        source: &WasmModule,
        interest: &Interest,
    ) -> Result<Vec<Arc<Function>>, Error> {
        if let Some(export) = &source.export {
            return Err(Error::InvalidOptions {
                problems: vec![format!(
                    "`export` (\"{export}\") has no effect when every function of a module is defined"
                )],
            });
        }
        let profile = self.profile(source);
        let title = source
            .title(|| format!("the module with the SHA-1 {}", FunctionHash::of(&source.bytes)));
        let module = self.compiler.compile(&title, source, profile)?;
        let what = source.title(|| format!("functions {}", module.offered_names().join(", ")));
        if module.offers().is_empty() {
            return Err(Error::MissingExport {
                what: title,
                wanted: "any".to_owned(),
                offered: Vec::new(),
            });
        }
        let (offered, skipped): (Vec<_>, Vec<_>) = module
            .offers()
            .into_iter()
            .partition(|(_, export)| wpc_abi::names::is_export_name(&export.name));
        if let ([], [(_, export), ..]) = (offered.as_slice(), skipped.as_slice()) {
            return Err(Error::InvalidName {
                what: "function",
                name: export.name.clone(),
                rule: wpc_abi::names::EXPORT_NAME_RULE,
            });
        }
        let functions = offered.iter().map(|(at, export)| (Arc::from(export.name.as_str()), *at));
        if !source.has_separate_sandboxes {
            let functions = functions.collect();
            let group = Group::new(what, module, source, profile, functions)?;
            return self.define_group(group, interest);
        }
        let groups = functions.map(|(name, at)| {
            let what = format!("function \"{name}\"");
            Group::new(what, Arc::clone(&module), source, profile, vec![(name, at)])
        });
        self.define_groups(groups.collect::<Result<_, _>>()?, interest)
    }

    fn profile(&self, source: &WasmModule) -> Profile {
        self.engines.profile(&source.limits, source.has_canonical_nans)
    }

    fn define_group(&self, group: Group, interest: &Interest) -> Result<Vec<Arc<Function>>, Error> {
        self.define_groups(vec![group], interest)
    }

    /// Defines either all groups or none.
    fn define_groups(
        &self,
        groups: Vec<Group>,
        interest: &Interest,
    ) -> Result<Vec<Arc<Function>>, Error> {
        // Modules are compiled before the lock is taken, because other threads may define functions meanwhile. They are
        // kept alive until it is released, so that linking finds them.
        let dependencies = self.lock().dependencies.clone();
        let resolved = groups.iter().map(|group| self.resolve(group, &dependencies));
        let _compiled = resolved.collect::<Result<Vec<_>, _>>()?;
        let what = groups.first().map_or("no function", |group| &group.what);
        let mut guard = self.write_unless_withdrawn(what, interest)?;
        for group in &groups {
            guard.sources.types.check_module(&group.what, &group.module)?;
        }
        let linked = groups.iter().map(|group| self.link(group, &guard.sources.dependencies));
        let linked = linked.collect::<Result<Vec<_>, _>>()?;
        for (group, defined) in groups.into_iter().zip(&linked) {
            let id = self.generations.next();
            let names = group.functions.iter().map(|(name, _)| Arc::clone(name));
            let removed = guard.sources.remove_functions(names);
            guard.replace(removed);
            for (name, _) in &group.functions {
                guard.sources.functions.insert(Arc::clone(name), id);
            }
            let importer = Importer::Group(id);
            guard.sources.importers.add(&importer, &group.module);
            guard.sources.types.add(&importer, &group.what, &group.module);
            guard.sources.groups.insert(id, Arc::new(group));
            self.publish(defined, &mut guard);
        }
        Ok(linked.into_iter().flatten().collect())
    }

    /// Removes a function; returns whether it was defined.
    pub(crate) fn undefine_function(&self, name: &str) -> bool {
        let mut guard = self.write();
        let removed = guard.sources.remove_functions(std::iter::once(Arc::from(name)));
        if removed.is_empty() {
            return false;
        }
        guard.replace(removed);
        let names = self.functions.load_full();
        self.functions.store(Arc::new(names.remove(name)));
        if let Some(function) = names.get(name).and_then(|slot| slot.swap(None)) {
            release(&function);
            guard.replace(function);
        }
        true
    }
}

fn position(module: &Module, export: &str) -> usize {
    module.exports.iter().position(|other| other.name == export).unwrap_or_default()
}
