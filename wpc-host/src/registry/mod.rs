//! Names and their definitions. Calls read immutable snapshots without a lock; writers are serialized by a mutex.
//!
//! A definition is linked completely before it is published, so a refused one changes nothing. When a dependency
//! changes, every definition that reaches it is linked again and published under a new generation. Accepted calls keep
//! the generation that they were accepted with.

pub(crate) mod circuit_breaker;
mod define;
mod define_dependency;
pub(crate) mod dependency;
mod function;
mod link;
pub(crate) mod restart_policy;
mod sources;
pub(crate) mod types;

pub(crate) use function::{Definition, Function, Slot};

use crate::error::Error;
use crate::host_function::HostFunction;
use crate::id::{Counter, WorkerId};
use crate::module::Module;
use crate::module::compiler::Compiler;
use crate::module::engine::Engines;
use crate::name_map::NameMap;
use crate::registry::dependency::{Dependency, reached};
use crate::registry::types::ConstantType;
use crate::sandbox::{Constants, HostFunctions};
use crate::sync::{ArcSwap, Mutex, MutexGuard};
use crate::system::background::Interest;
use sources::{Sources, WriteGuard};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use wpc_abi::section::Signature;

#[derive(Debug)]
pub(crate) struct Registry {
    engines: Arc<Engines>,
    /// The maximum number of live instances.
    max_instances: usize,
    compiler: Compiler,
    functions: ArcSwap<NameMap<Slot>>,
    constants: Arc<ArcSwap<Constants>>,
    host_functions: Arc<ArcSwap<HostFunctions>>,
    sources: Mutex<Sources>,
    generations: Counter,
}

/// Information about a defined dependency.
#[derive(Debug, Clone)]
pub(crate) struct DependencyEntry {
    pub(crate) alias: Arc<str>,
    pub(crate) module: Arc<Module>,
    /// Every alias that it requires, directly or transitively.
    pub(crate) needs: Vec<String>,
    /// Whether all of these are defined.
    pub(crate) is_whole: bool,
}

impl Registry {
    pub(crate) fn new(engines: Arc<Engines>, max_instances: usize) -> Self {
        Self {
            max_instances,
            compiler: Compiler::new(Arc::clone(&engines)),
            engines,
            functions: ArcSwap::default(),
            constants: Arc::default(),
            host_functions: Arc::default(),
            sources: Mutex::default(),
            generations: Counter::default(),
        }
    }

    pub(crate) fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        self.functions.load().get(name).cloned()
    }

    pub(crate) fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.functions.load().get(name)?.load_full()
    }

    /// Every function, sorted by name.
    pub(crate) fn functions(&self) -> Vec<Arc<Function>> {
        let functions = self.functions.load();
        let mut functions: Vec<_> =
            functions.values().filter_map(|slot| slot.load_full()).collect();
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        functions
    }

    /// Drops every definition's failures on a worker that no longer exists.
    pub(crate) fn forget_worker(&self, worker: WorkerId) {
        for function in self.functions() {
            if let Ok(definition) = &function.definition {
                definition.circuit_breaker.retain(|id| id != worker);
            }
        }
    }

    pub(crate) fn dependencies(&self) -> Vec<DependencyEntry> {
        let sources = self.lock();
        let entry = |(alias, dependency): (&Arc<str>, &Arc<Dependency>)| {
            let needs = reached(&dependency.module, &sources.dependencies);
            DependencyEntry {
                alias: Arc::clone(alias),
                module: Arc::clone(&dependency.module),
                is_whole: needs.iter().all(|alias| sources.dependencies.contains_key(*alias)),
                needs: needs.into_iter().map(str::to_owned).collect(),
            }
        };
        sources.dependencies.iter().map(entry).collect()
    }

    /// Every alias that `module` requires, directly or transitively, in order.
    pub(crate) fn required_aliases(&self, module: &Module) -> Vec<String> {
        let sources = self.lock();
        reached(module, &sources.dependencies).into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn constants(&self) -> &Arc<ArcSwap<Constants>> {
        &self.constants
    }

    /// Whether host functions of all these names are defined.
    pub(crate) fn has_host_functions(&self, names: &BTreeSet<String>) -> bool {
        let defined = self.host_functions.load();
        names.iter().all(|name| defined.contains_key(name.as_str()))
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> WriteGuard<'_> {
        WriteGuard { sources: self.lock(), replaced: Vec::new() }
    }

    /// Takes the write lock for a definition, unless its caller has withdrawn it. A definition that was made after the
    /// withdrawal takes the lock later, so a withdrawn one never replaces it.
    fn write_unless_withdrawn(
        &self,
        what: &str,
        interest: &Interest,
    ) -> Result<WriteGuard<'_>, Error> {
        let guard = self.write();
        if interest.has_ended() {
            return Err(Error::Cancelled { function: what.to_owned(), ran: false });
        }
        Ok(guard)
    }

    /// Defines a constant; fails if its type differs from what a defined module declares.
    pub(crate) fn define_constant(
        &self,
        name: &str,
        ty: ConstantType,
        value: Vec<u8>,
    ) -> Result<(), Error> {
        check_name("constant", name)?;
        let mut sources = self.lock();
        sources.types.define_constant(name, ty)?;
        let constants = self.constants.load().insert(name.into(), value.into());
        self.constants.store(Arc::new(constants));
        Ok(())
    }

    /// Removes a constant; returns whether it was defined.
    pub(crate) fn undefine_constant(&self, name: &str) -> bool {
        let mut sources = self.lock();
        sources.types.undefine_constant(name);
        let constants = self.constants.load_full();
        self.constants.store(Arc::new(constants.remove(name)));
        constants.contains_key(name)
    }

    pub(crate) fn host_functions(&self) -> &Arc<ArcSwap<HostFunctions>> {
        &self.host_functions
    }

    /// Defines a host function; fails if its types differ from what a defined module declares.
    pub(crate) fn define_host_function(
        &self,
        name: &str,
        signature: Option<Signature>,
        function: HostFunction,
    ) -> Result<(), Error> {
        check_name("host function", name)?;
        let mut sources = self.lock();
        sources.types.define_host_function(name, signature)?;
        let functions = self.host_functions.load().insert(name.into(), Arc::new(function));
        let replaced = self.host_functions.swap(Arc::new(functions));
        // Dropping the replaced closure may run code of the embedder that uses the pool.
        drop(sources);
        drop(replaced);
        Ok(())
    }

    /// Removes a host function; returns whether it was defined.
    pub(crate) fn undefine_host_function(&self, name: &str) -> bool {
        let mut sources = self.lock();
        sources.types.undefine_host_function(name);
        let functions = self.host_functions.load().remove(name);
        let replaced = self.host_functions.swap(Arc::new(functions));
        drop(sources);
        replaced.contains_key(name)
    }
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    if wpc_abi::names::is_valid(name) {
        Ok(())
    } else {
        Err(Error::InvalidName { what, name: name.to_owned(), rule: wpc_abi::names::NAME_RULE })
    }
}
