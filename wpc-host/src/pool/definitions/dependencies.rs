//! Defining and listing dependencies.

use crate::definition::WasmModule;
use crate::error::Error;
use crate::information::DependencyInformation;
use crate::pool::WorkerProcedureCall;
use crate::pool::definitions::{host_functions, wasi_imports};
use crate::system::background::Interest;

impl WorkerProcedureCall {
    /// Defines a dependency, or replaces what its alias stood for. Functions that reach it are
    /// linked anew: their next calls run in fresh sandboxes. It runs in
    /// the sandboxes of functions, under their limits, see [`Limits`](crate::Limits).
    ///
    /// # Errors
    ///
    /// What is wrong with the alias, the module or what it wants, also when a defined function
    /// would not link with it; nothing is changed then.
    #[doc(alias = "defineWorkerDependency")]
    pub fn define_worker_dependency(
        &self,
        alias: &str,
        module: impl Into<WasmModule>,
    ) -> Result<(), Error> {
        let result = self.registry().define_dependency(alias, &module.into(), &Interest::default());
        self.after_definition("dependency", alias, result)
    }

    /// Forgets a dependency; false where there was none. Functions that need it are refused until
    /// it is defined again.
    #[doc(alias = "undefineWorkerDependency")]
    pub fn undefine_worker_dependency(&self, alias: &str) -> bool {
        // Without an alias less links, so nothing can fail to link.
        let was_there = self.registry().undefine_dependency(alias).unwrap_or(false);
        self.0.pool.nudge_workers();
        was_there
    }

    /// Every defined dependency, by alias.
    #[doc(alias = "getWorkerDependencies")]
    #[must_use]
    pub fn get_worker_dependencies(&self) -> Vec<DependencyInformation> {
        let entries = self.registry().dependencies().into_iter();
        let information = entries.map(|entry| {
            let module = &entry.module;
            let is_usable = entry.is_whole
                && self.registry().has_host_functions(&module.requirements.host_functions);
            DependencyInformation {
                alias: entry.alias.to_string(),
                module_hash_sha1: module.hash,
                exports: module.offers().iter().map(|(_, export)| export.name.clone()).collect(),
                installed_worker_count: if is_usable { self.count_workers(|_| true) } else { 0 },
                required_dependencies: entry.needs,
                required_constants: module.requirements.constants.clone(),
                required_host_functions: host_functions(module),
                required_capabilities: module.capabilities(),
                required_wasi_imports: wasi_imports(module),
            }
        });
        information.collect()
    }
}
