//! Defines and removes dependencies, and relinks the functions that use them.

use super::dependency::{Dependencies, Dependency, Importer, Resolver, common_profile};
use super::sources::WriteGuard;
use super::{Registry, check_name};
use crate::definition::WasmModule;
use crate::error::Error;
use crate::system::background::Interest;
use std::sync::Arc;

impl Registry {
    /// Defines a dependency and relinks every definition that requires it.
    pub(crate) fn define_dependency(
        &self,
        alias: &str,
        source: &WasmModule,
        interest: &Interest,
    ) -> Result<(), Error> {
        check_name("dependency", alias)?;
        if alias == wpc_abi::names::HOST_MODULE {
            let (what, name) = ("dependency", alias.to_owned());
            return Err(Error::InvalidName {
                what,
                name,
                rule: "something other than the name of the host's import module",
            });
        }
        let what = format!("dependency \"{alias}\"");
        if source.export.is_some() {
            return Err(Error::InvalidOptions {
                problems: vec![format!(
                    "`export` of {what} has no effect: all its exports can be linked"
                )],
            });
        }
        // The functions that use the dependency decide its final profile. As for functions, modules are compiled before
        // the lock is taken.
        let plain = self.engines.plain();
        let title = source.title(|| format!("the module of {what}"));
        let module = self.compiler.compile(&title, source, plain)?;
        let wasi = source.grants.open_wasi(&what)?;
        let dependency = Arc::new(Dependency { module, source: source.clone(), wasi });
        let (groups, dependencies) = {
            let sources = self.lock();
            let dependencies = sources.dependencies.insert(alias.into(), Arc::clone(&dependency));
            (sources.groups_above(alias), dependencies)
        };
        let _compiled = groups
            .iter()
            .map(|group| self.resolve(group, &dependencies))
            .collect::<Result<Vec<_>, _>>()?;
        let mut guard = self.write_unless_withdrawn(&what, interest)?;
        guard.sources.types.check_module(&what, &dependency.module)?;
        let dependencies = guard.sources.dependencies.insert(alias.into(), dependency);
        // Cycles and mismatched imports are refused even if no function requires the dependency yet.
        let profile = match dependencies.get(alias) {
            Some(dependency) => common_profile(plain, &dependency.module, &dependencies),
            None => plain,
        };
        let resolver = Resolver::new(&dependencies, &self.compiler, profile);
        if let Some(nodes) = resolver.resolve_alias(alias)? {
            self.blueprint(&what, profile, self.max_instances, &nodes)?;
        }
        self.relink(&mut guard, dependencies, alias)
    }

    /// Removes a dependency; returns whether it was defined.
    pub(crate) fn undefine_dependency(&self, alias: &str) -> Result<bool, Error> {
        let mut guard = self.write();
        if !guard.sources.dependencies.contains_key(alias) {
            return Ok(false);
        }
        let dependencies = guard.sources.dependencies.remove(alias);
        self.relink(&mut guard, dependencies, alias)?;
        Ok(true)
    }

    /// Links every group that requires `alias` against `dependencies`, and publishes either all of them or none.
    fn relink(
        &self,
        guard: &mut WriteGuard<'_>,
        dependencies: Dependencies,
        alias: &str,
    ) -> Result<(), Error> {
        let mut defined = Vec::new();
        // A change of `alias` does not change which groups require it.
        for group in guard.sources.groups_above(alias) {
            defined.extend(self.link(&group, &dependencies)?);
        }
        let sources = &mut *guard.sources;
        let importer = Importer::Dependency(alias.into());
        if let Some(dependency) = sources.dependencies.get(alias) {
            sources.importers.remove(&importer, &dependency.module);
            sources.types.remove(&importer, &dependency.module);
        }
        if let Some(dependency) = dependencies.get(alias) {
            sources.importers.add(&importer, &dependency.module);
            let what = format!("dependency \"{alias}\"").into();
            sources.types.add(&importer, &what, &dependency.module);
        }
        let replaced = std::mem::replace(&mut sources.dependencies, dependencies);
        guard.replace(replaced);
        self.publish(&defined, guard);
        Ok(())
    }
}
