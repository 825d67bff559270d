//! Names and their definitions. Calls read immutable snapshots without a lock; writers are serialized by a mutex.
//!
//! Changes are linked completely before they are published in one snapshot, so refused ones change nothing. When a
//! dependency changes, every definition that reaches it is linked again and published under a new generation. Accepted
//! calls keep the generation that they were accepted with.

mod apply;
mod change;
pub(crate) mod circuit_breaker;
pub(crate) mod dependency;
mod draft;
mod function;
mod link;
pub(crate) mod restart_policy;
mod snapshot;
mod sources;
pub(crate) mod types;

pub(crate) use apply::{OnRefusal, Outcome};
pub(crate) use change::Change;
pub(crate) use function::{Definition, Function};
pub(crate) use snapshot::Found;

use crate::error::Error;
use crate::host_function::bindings::{Bindings, CurrentBindings};
use crate::id::{Counter, WorkerId};
use crate::information::SuspensionCause;
use crate::metrics::{FunctionMeter, PoolMeter};
use crate::module::Module;
use crate::module::compiler::Compiler;
use crate::module::engine::Engines;
use crate::options::Options;
use crate::registry::dependency::{Dependency, reached};
use crate::sync::{Mutex, MutexGuard};
use snapshot::Current;
use sources::Sources;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Registry {
    engines: Arc<Engines>,
    /// The maximum number of live instances.
    max_instances: usize,
    /// The maximum number of instances that calls on fibers use.
    max_suspended_instances: usize,
    /// The time slice of functions that can suspend and set none.
    time_slice: Option<Duration>,
    compiler: Compiler,
    current: Arc<Current>,
    sources: Mutex<Sources>,
    generations: Counter,
    meter: PoolMeter,
}

/// Information about a defined dependency.
#[derive(Debug, Clone)]
pub(crate) struct DependencyEntry {
    pub(crate) alias: Arc<str>,
    pub(crate) module: Arc<Module>,
    /// Every alias that it requires, directly or transitively.
    pub(crate) needs: Vec<String>,
    /// Whether all of these are defined.
    pub(crate) is_complete: bool,
}

impl Registry {
    pub(crate) fn new(engines: Arc<Engines>, options: &Options) -> Self {
        Self {
            max_instances: usize::try_from(options.max_live_instances).unwrap_or(usize::MAX),
            max_suspended_instances: options.suspended_instances(),
            time_slice: options.time_slice,
            compiler: Compiler::new(Arc::clone(&engines)),
            engines,
            current: Arc::default(),
            sources: Mutex::default(),
            generations: Counter::default(),
            meter: PoolMeter::default(),
        }
    }

    #[inline]
    pub(crate) fn function(&self, name: &str) -> Option<Arc<Function>> {
        self.current.function(name)
    }

    /// A number that increases with every change.
    #[cfg(feature = "json")]
    pub(crate) fn version(&self) -> u64 {
        self.current.version()
    }

    /// The function of a handle that found it before, if no change was published since.
    #[inline]
    pub(crate) fn get_if_current(&self, found: &Found) -> Option<Arc<Function>> {
        self.current.get_if_current(found)
    }

    /// Whether no change was published since.
    #[inline]
    pub(crate) fn is_current(&self, found: &Found) -> bool {
        self.current.is_current(found)
    }

    /// Looks a name up, for a handle that remembers what it found.
    pub(crate) fn find(&self, name: &str) -> Option<(Arc<Function>, Found)> {
        self.current.find(name)
    }

    /// The counters of all functions.
    pub(crate) fn meter(&self) -> &PoolMeter {
        &self.meter
    }

    /// The counters of a function, which continue while it is redefined.
    fn meter_of(&self, name: &str) -> Arc<FunctionMeter> {
        match self.function(name) {
            Some(function) => Arc::clone(&function.meter),
            None => self.meter.new_function(),
        }
    }

    /// Counts a call under this name that was refused, or whose outcome a thread other than its worker decided.
    #[cold]
    pub(crate) fn count_elsewhere(&self, name: &str, error: &Error) {
        match self.function(name) {
            Some(function) => function.meter.count_elsewhere(error.code()),
            None => self.meter.count_undefined(error.code()),
        }
    }

    /// Every function, sorted by name.
    pub(crate) fn functions(&self) -> Vec<Arc<Function>> {
        let mut functions: Vec<_> = self.current.load_full().functions.values().cloned().collect();
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        functions
    }

    /// Passes the names of functions to `visit` until it returns `false`.
    #[cfg(feature = "json")]
    pub(crate) fn visit_names(&self, visit: &mut dyn FnMut(&str) -> bool) {
        let snapshot = self.current.load_full();
        let _ = snapshot.functions.keys().all(|name| visit(name));
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
                is_complete: needs.iter().all(|alias| sources.dependencies.contains_key(*alias)),
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

    /// The defined constants and host functions.
    pub(crate) fn bindings(&self) -> Arc<Bindings> {
        self.current.bindings()
    }

    /// Returns a handle from which the current constants and host functions can be read at any time.
    pub(crate) fn current_bindings(&self) -> Arc<dyn CurrentBindings> {
        Arc::clone(&self.current) as Arc<dyn CurrentBindings>
    }

    /// How many modules were compiled, and for how long callers waited.
    pub(crate) fn compile_counts(&self) -> (u64, Duration) {
        self.compiler.counts()
    }

    /// A host function of `definition` that is not defined.
    pub(crate) fn missing_host_function<'a>(&self, definition: &'a Definition) -> Option<&'a str> {
        let bindings = definition.blueprint.bindings(&*self.current);
        let mut names = definition.host_functions.iter().map(String::as_str);
        names.find(|name| !bindings.host_functions.contains_key(*name))
    }

    /// Whether host functions of all these names are defined.
    pub(crate) fn has_host_functions(&self, names: &BTreeSet<String>) -> bool {
        let defined = self.bindings();
        names.iter().all(|name| defined.host_functions.contains_key(name.as_str()))
    }

    /// Why calls to the definition can be suspended.
    pub(crate) fn suspension_causes(&self, definition: &Definition) -> Vec<SuspensionCause> {
        let bindings = definition.blueprint.bindings(&*self.current);
        let suspends = |name: &&String| {
            bindings.host_functions.get(name.as_str()).is_some_and(|defined| defined.suspends())
        };
        let functions = definition.host_functions.iter().filter(suspends).cloned();
        functions
            .map(SuspensionCause::HostFunction)
            .chain(definition.called_functions.iter().cloned().map(SuspensionCause::FunctionCall))
            .chain(definition.blueprint.waiting_imports().map(SuspensionCause::WasiImport))
            .chain(definition.blueprint.yields_items().then_some(SuspensionCause::Items))
            .chain(definition.limits.time_slice.map(SuspensionCause::TimeSlice))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    if wpc_abi::names::is_valid(name) {
        Ok(())
    } else {
        Err(Error::InvalidName { what, name: name.to_owned(), rule: wpc_abi::names::NAME_RULE })
    }
}
