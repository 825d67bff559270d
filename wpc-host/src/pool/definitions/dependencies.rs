//! Defining and listing dependencies.

use crate::definition::WasmModule;
use crate::error::{Definable, Error};
use crate::information::DependencyInformation;
use crate::pool::WorkerProcedureCall;
use crate::pool::definitions::{called_functions, host_functions, wasi_imports};
use crate::registry::Change;

impl WorkerProcedureCall {
    /// Defines a dependency, or replaces the previous definition of that alias. Functions that reach it are relinked:
    /// their next calls run in fresh sandboxes. A dependency runs in the sandboxes of functions and under their limits,
    /// see [`Limits`](crate::Limits).
    ///
    /// # Errors
    ///
    /// An invalid alias or module, a requirement of the module that is not met, or a defined function that would not link
    /// with it. In that case, nothing is changed.
    #[doc(alias = "defineWorkerDependency")]
    pub fn define_worker_dependency(
        &self,
        alias: &str,
        module: impl Into<WasmModule>,
    ) -> Result<(), Error> {
        let (alias, source) = (alias.to_owned(), module.into());
        self.change(Change::Dependency { alias, source }).map(drop)
    }

    /// Removes a dependency; returns false if it was not defined. Calls to functions that need it are refused until it is
    /// defined again.
    #[doc(alias = "undefineWorkerDependency")]
    pub fn undefine_worker_dependency(&self, alias: &str) -> bool {
        self.remove(Definable::Dependency, alias)
    }

    /// Lists every defined dependency, sorted by alias.
    #[doc(alias = "getWorkerDependencies")]
    #[must_use]
    pub fn get_worker_dependencies(&self) -> Vec<DependencyInformation> {
        let entries = self.registry().dependencies().into_iter();
        let information = entries.map(|entry| {
            let module = &entry.module;
            let is_usable = entry.is_complete
                && self.registry().has_host_functions(&module.requirements.host_functions);
            DependencyInformation {
                alias: entry.alias.to_string(),
                module_hash_sha1: module.hash,
                exports: module
                    .offered_exports()
                    .iter()
                    .map(|(_, export)| export.name.clone())
                    .collect(),
                installed_worker_count: if is_usable { self.count_workers(|_| true) } else { 0 },
                required_dependencies: entry.needs,
                required_constants: module.requirements.constants.clone(),
                required_host_functions: host_functions(module),
                required_functions: called_functions(module),
                required_capabilities: module.capabilities(),
                required_wasi_imports: wasi_imports(module),
            }
        });
        information.collect()
    }
}
