//! The handle of a pool: define, call, start, stop, observe.

pub(crate) mod function;
pub(crate) mod intake;
pub(crate) mod lifecycle;

mod asynchronous;
mod dynamic;
mod local;

pub use asynchronous::Operation;
pub use dynamic::PendingJson;
pub use local::LocalWorker;

use crate::call::future::CallFuture;
use crate::call::pending::PendingCall;
use crate::codec::arguments::Parameters;
use crate::codec::value_type::type_of;
use crate::definition::WasmModule;
use crate::error::Error;
use crate::event::observer::FinishedCall;
use crate::event::{Draft, EventDetails, EventSource, WorkerEvent};
use crate::host_function::{HostContext, HostFunction};
use crate::id::{ListenerId, WorkerId};
use crate::information::{
    CompileCacheUsage, ConstantInformation, DependencyInformation, FunctionInformation,
    SandboxUsage, WorkerHealth,
};
use crate::module::Module;
use crate::module::signature;
use crate::options::{CallOptions, Options};
use crate::pool::function::Function;
use crate::pool::lifecycle::Lifecycle;
use crate::registry::restart_policy::Admission;
use crate::registry::types::ConstantType;
use crate::registry::{self, Registry};
use crate::sync::time;
use crate::system::background::Interest;
use crate::system::buffers::BufferUsage;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use wpc_abi::Schema;
use wpc_abi::compare::unknown;
use wpc_abi::text::signature_text;

/// A pool of workers that run WebAssembly functions by name.
///
/// Cheap to clone, and every method can be called from any thread at any time.
///
/// # Dropping the last handle
///
/// Clones, [`Function`]s, [`LocalWorker`]s and [`Operation`]s are handles. When the last one is dropped, the workers are
/// stopped at once: running calls are interrupted. The drop returns when the threads of the workers have ended, usually
/// within a few milliseconds. It waits for a host function that does not return for at most
/// [`Options::lost_worker_grace`], and for a listener of events at most one second more. An async task awaits
/// [`stop_workers_async`](Self::stop_workers_async) first; the drop then waits for the listeners only.
///
/// # Async tasks
///
/// [`call_async`](Self::call_async) and the methods named `…_async` never block their thread. Methods without that name may:
/// those that compile, start, stop or warm do; those that define or undefine a constant or host function, or list
/// what is defined, wait at most for another definition to be published.
#[derive(Debug, Clone)]
#[doc(alias = "workerprocedurecall")]
pub struct WorkerProcedureCall(Arc<Lifecycle>);

impl WorkerProcedureCall {
    /// A stopped pool. Definitions can be made before it is started.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] that names every option that is wrong, or why the compile cache's folder
    /// cannot be used.
    pub fn new(options: Options) -> Result<Self, Error> {
        options.validate()?;
        Ok(Self(Arc::new(Lifecycle::new(options)?)))
    }

    fn registry(&self) -> &Registry {
        &self.0.pool.registry
    }

    // Functions.

    /// Defines a function, or replaces what its name stood for. Blocks while the module is compiled,
    /// which takes tens of milliseconds for a large one. Calls accepted before go to the end with what
    /// they were accepted with; calls accepted after this returned run the new definition.
    ///
    /// The export is the one chosen with [`WasmModule::export`], else the one named like the
    /// function, else the only one.
    ///
    /// # Errors
    ///
    /// What is wrong with the name, the module or what it wants; nothing is changed then.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use wpc_host::{Options, WorkerProcedureCall};
    ///
    /// let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let wasm = wat::parse_str(
    ///     r#"(module (func (export "add") (param i32 i32) (result i32)
    ///         local.get 0 local.get 1 i32.add))"#,
    /// )?;
    /// wpc.define_worker_function("add", &wasm)?;
    /// wpc.start_workers(2)?;
    /// assert_eq!(wpc.call::<i32>("add", (40, 2))?, 42);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "defineWorkerFunction")]
    pub fn define_worker_function(
        &self,
        name: &str,
        module: impl Into<WasmModule>,
    ) -> Result<FunctionInformation, Error> {
        let result = self.registry().define_function(name, &module.into(), &Interest::default());
        let function = self.after_definition("function", name, result)?;
        Ok(self.information(&function))
    }

    /// Defines every function a module offers, under its export's name: those whose types it tells, or where
    /// it tells none, every export that can be called. They share their sandboxes,
    /// so that what one of them keeps in memory the others see.
    ///
    /// A function keeps its export's name even where that is not an identifier, such as `get-answer` or
    /// `ns:pkg/iface#fn`. Exports whose names are empty, longer than 255 bytes or contain control characters are
    /// left out; [`WasmModule::export`] defines each of them under another name.
    ///
    /// # Errors
    ///
    /// What is wrong with the module or what it wants; nothing is changed then.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let wasm = wat::parse_str(r#"(module (func (export "get-answer") (result i32) i32.const 42))"#)?;
    /// wpc.define_worker_module(&wasm)?;
    /// wpc.start_workers(1)?;
    /// assert_eq!(wpc.call::<i32>("get-answer", ())?, 42);
    /// # Ok(()) }
    /// ```
    pub fn define_worker_module(
        &self,
        module: impl Into<WasmModule>,
    ) -> Result<Vec<FunctionInformation>, Error> {
        let result = self.registry().define_module(&module.into(), &Interest::default());
        let functions = self.after_definition("function", "the module's functions", result)?;
        Ok(functions.iter().map(|function| self.information(function)).collect())
    }

    /// Forgets a function; false where there was none. Calls accepted before go to their end.
    #[doc(alias = "undefineWorkerFunction")]
    #[doc(alias = "undefineWokerFunction")]
    pub fn undefine_worker_function(&self, name: &str) -> bool {
        let was_there = self.registry().undefine_function(name);
        self.0.pool.nudge_workers();
        was_there
    }

    /// Every defined function, by name.
    #[doc(alias = "getRemoteFunctions")]
    #[must_use]
    pub fn get_remote_functions(&self) -> Vec<FunctionInformation> {
        self.registry().functions().iter().map(|function| self.information(function)).collect()
    }

    /// Lets a function that is held or backs off be tried again on every worker at once; false
    /// where it is neither.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionNotDefined`].
    pub fn revive_worker_function(&self, name: &str) -> Result<bool, Error> {
        let undefined = || Error::FunctionNotDefined { function: name.to_owned() };
        let function = self.registry().function(name).ok_or_else(undefined)?;
        let Ok(definition) = &function.definition else { return Ok(false) };
        let workers = definition.circuit_breaker.revive();
        for worker in &workers {
            let details = EventDetails::SandboxRevived { function_name: name.to_owned() };
            let draft = Draft::by(EventSource::Parent, details);
            self.0.pool.events.emit(match worker {
                Some(worker) => draft.worker(*worker),
                None => draft,
            });
        }
        self.0.pool.nudge_workers();
        Ok(!workers.is_empty())
    }

    /// Makes a sandbox of the function ready on every worker ahead of its first call, start functions
    /// included, and returns when all are.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionNotDefined`], what a call would be refused with, or why the first of them
    /// could not be made; that counts as a failure of the function, as in a call.
    pub fn warm_worker_function(&self, name: &str) -> Result<(), Error> {
        let undefined = || Error::FunctionNotDefined { function: name.to_owned() };
        let function = self.registry().function(name).ok_or_else(undefined)?;
        let calls = intake::warm(&self.0.pool, &function)?;
        // All of them are waited for, whatever one ends with.
        let results = calls.into_iter().map(|call| call.wait_encoded().map(drop));
        results.fold(Ok(()), Result::and)
    }

    fn information(&self, function: &registry::Function) -> FunctionInformation {
        let export = function.export();
        let signature = signature::known(export).map(|signature| signature_text(&signature));
        let now = time::now();
        let (installed_worker_count, required_constants) = match &function.definition {
            Ok(definition) if !self.registry().has_host_functions(&definition.host_functions) => {
                (0, definition.constants.clone())
            }
            Ok(definition) => {
                let can = |worker: WorkerId| {
                    definition.circuit_breaker.admission(worker, now) == Admission::Yes
                };
                (self.count_workers(can), definition.constants.clone())
            }
            Err(_) => (0, function.module.requirements.constants.clone()),
        };
        FunctionInformation {
            name: function.name.to_string(),
            parameter_signature: signature,
            error_type: export.payload_type.as_ref().map(ToString::to_string),
            function_hash_sha1: function.module.hash,
            installed_worker_count,
            required_dependencies: self.registry().required_aliases(&function.module),
            required_constants,
            required_host_functions: host_functions(&function.module),
            required_capabilities: function.module.capabilities(),
            required_wasi_imports: wasi_imports(&function.module),
        }
    }

    fn count_workers(&self, can: impl Fn(WorkerId) -> bool) -> usize {
        let workers = self.0.pool.workers.load();
        workers.iter().filter(|worker| worker.takes_calls() && can(worker.id)).count()
    }

    // Dependencies.

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

    /// What the sandboxes hold at this moment.
    #[must_use]
    pub fn get_sandbox_usage(&self) -> SandboxUsage {
        self.0.pool.engines.usage()
    }

    /// What large buffers the pool keeps for the payloads of later calls at this moment.
    #[must_use]
    pub fn get_buffer_usage(&self) -> BufferUsage {
        self.0.pool.buffers.usage()
    }

    /// How the compile cache fared; `None` where the pool has none.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = std::env::temp_dir().join("wpc-documentation");
    /// use wpc_host::{Options, WorkerProcedureCall};
    ///
    /// let options = Options { compile_cache: Some(folder), ..Options::default() };
    /// let wpc = WorkerProcedureCall::new(options)?;
    /// wpc.define_worker_module(wat::parse_str(r#"(module (func (export "nothing")))"#)?)?;
    /// let usage = wpc.get_compile_cache_usage().ok_or("there is one")?;
    /// assert_eq!(usage.hits + usage.misses, 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn get_compile_cache_usage(&self) -> Option<CompileCacheUsage> {
        self.0.pool.engines.cache_usage()
    }

    // Constants.

    /// Defines a constant, or replaces its value. Every call accepted after this returned sees the
    /// new value; a running call keeps the values it saw first.
    ///
    /// The value must have the type that modules declare for the constant (`wpc::constant!` declares one): an integer
    /// of the same width and sign (`usize` serializes as `u64`), a structure with the same fields. What the value does not show, such as the items'
    /// type of an empty `Vec`, is not compared. A module that is defined later is compared as well.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`]; [`Error::ConstantEncode`] if the value does not serialize; [`Error::TypeMismatch`] if a
    /// defined module declares another type. The previous value stays then.
    #[doc(alias = "defineWorkerConstant")]
    pub fn define_worker_constant<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<(), Error> {
        let encoded = postcard::to_allocvec(value).map_err(|error| Error::ConstantEncode {
            constant: name.to_owned(),
            reason: format!(
                "{error}; its type must serialize, with the length of every sequence known beforehand"
            ),
        });
        // What encodes shows its type.
        let ty = ConstantType::Shown(type_of(value).unwrap_or_else(unknown));
        let result = encoded.and_then(|value| self.registry().define_constant(name, ty, value));
        self.after_definition("constant", name, result)
    }

    /// Forgets a constant; false where there was none. Calls that read it fail until it is defined again.
    #[doc(alias = "undefineWorkerConstant")]
    pub fn undefine_worker_constant(&self, name: &str) -> bool {
        self.registry().undefine_constant(name)
    }

    /// Every defined constant, by name.
    #[doc(alias = "getWorkerConstants")]
    #[must_use]
    pub fn get_worker_constants(&self) -> Vec<ConstantInformation> {
        let installed_worker_count = self.count_workers(|_| true);
        let constants = self.registry().constants().load();
        let mut names: Vec<_> = constants.keys().map(ToString::to_string).collect();
        names.sort();
        names.into_iter().map(|name| ConstantInformation { name, installed_worker_count }).collect()
    }

    // Host functions.

    /// Defines a function of the embedder's own that guests can call, or replaces it. Only
    /// definitions with [`WasmModule::grant_host_function`] may import it; a guest written with the
    /// SDK declares it in `wpc::host!`. `A` is the tuple of its arguments. Its types are compared with those that modules
    /// declare for it; [`define_untyped_host_function`](Self::define_untyped_host_function) takes types without
    /// [`Schema`](trait@crate::Schema).
    ///
    /// It runs on the worker's thread. Its error reaches the guest as a value, and so does a panic.
    /// A slow one should look at [`HostContext::should_end`]: its caller is answered at the call's
    /// limit whatever it does, and a worker that does not come back within
    /// [`lost_worker_grace`](Options::lost_worker_grace) after is given up and replaced. A closure
    /// that holds a clone of the pool keeps it alive.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], or [`Error::TypeMismatch`] if a defined module imports it with other types. The previous
    /// one stays then.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// use std::collections::HashMap;
    ///
    /// let store = HashMap::from([("answer".to_owned(), 42)]);
    /// wpc.define_host_function("lookup", move |_, (key,): (String,)| {
    ///     store.get(&key).copied().ok_or("there is no such key")
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn define_host_function<A, R, E, F>(&self, name: &str, function: F) -> Result<(), Error>
    where
        A: DeserializeOwned + Parameters,
        R: Serialize + Schema,
        E: std::fmt::Display,
        F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        let signature = Some(signature::of_types::<A, R>(name));
        let function = HostFunction::blocking(name, function);
        let result = self.registry().define_host_function(name, signature, function);
        self.after_definition("host function", name, result)
    }

    /// Like [`define_host_function`](Self::define_host_function) for types without
    /// [`Schema`](trait@crate::Schema). They are not compared with those that modules declare: if they differ, the
    /// arguments may decode to other values silently.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// // A type that holds itself has no schema.
    /// #[derive(serde::Deserialize)]
    /// struct Tree {
    ///     branches: Vec<Tree>,
    /// }
    ///
    /// wpc.define_untyped_host_function("count", |_, (tree,): (Tree,)| {
    ///     Ok::<_, String>(tree.branches.len() as u32)
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn define_untyped_host_function<A, R, E, F>(
        &self,
        name: &str,
        function: F,
    ) -> Result<(), Error>
    where
        A: DeserializeOwned,
        R: Serialize,
        E: std::fmt::Display,
        F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        let function = HostFunction::blocking(name, function);
        let result = self.registry().define_host_function(name, None, function);
        self.after_definition("host function", name, result)
    }

    /// Like [`define_host_function`](Self::define_host_function) for a closure that returns a
    /// future. The worker waits for it; it is dropped when its call should end.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], or [`Error::TypeMismatch`] if a defined module imports it with other types. The previous
    /// one stays then.
    pub fn define_async_host_function<A, R, E, F, T>(
        &self,
        name: &str,
        function: F,
    ) -> Result<(), Error>
    where
        A: DeserializeOwned + Parameters,
        R: Serialize + Schema,
        E: std::fmt::Display,
        F: Fn(HostContext, A) -> T + Send + Sync + 'static,
        T: Future<Output = Result<R, E>>,
    {
        let signature = Some(signature::of_types::<A, R>(name));
        let function = HostFunction::asynchronous(name, function);
        let result = self.registry().define_host_function(name, signature, function);
        self.after_definition("host function", name, result)
    }

    /// Forgets a host function; false where there was none. Functions that need it are refused
    /// until it is defined again.
    pub fn undefine_host_function(&self, name: &str) -> bool {
        self.registry().undefine_host_function(name)
    }

    /// Tells of a refused definition, and lets workers drop what an accepted one replaced.
    fn after_definition<T>(
        &self,
        what: &str,
        name: &str,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        match &result {
            Ok(_) => self.0.pool.nudge_workers(),
            Err(error) => {
                let details = EventDetails::DefinitionRefused {
                    what: what.to_owned(),
                    name: name.to_owned(),
                };
                self.0.pool.events.emit(Draft::by(EventSource::Parent, details).error(error));
            }
        }
        result
    }

    // Calls.

    /// Calls a function and blocks until it is answered, see [`PendingCall::wait`]. `arguments` is a
    /// tuple: `(a, b)`, `(a,)`, `()`.
    ///
    /// The types of the arguments and of the result are compared with those that the function declares, until they are
    /// proven; see [checked calls](crate#checked-calls). Each integer must have exactly the declared type: write
    /// `1u64` for a `u64`. A module that declares no types is not checked.
    ///
    /// # Errors
    ///
    /// [`Error::SignatureMismatch`] if the types differ; otherwise everything a call can be refused with or end with, see
    /// [`Error`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Error, Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// # let wasm = wat::parse_str(r#"(module (func (export "double") (param i64) (result i64)
    /// #     local.get 0 i64.const 2 i64.mul))"#)?;
    /// wpc.define_worker_function("double", &wasm)?;
    /// wpc.start_workers(1)?;
    /// assert_eq!(wpc.call::<i64>("double", (21i64,))?, 42);
    /// // The literal is an `i32`.
    /// let refused = wpc.call::<i64>("double", (21,));
    /// assert!(matches!(refused, Err(Error::SignatureMismatch { .. })));
    /// # Ok(()) }
    /// ```
    pub fn call<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
    ) -> Result<R, Error> {
        self.submit(name, arguments)?.wait()
    }

    /// Like [`call`](Self::call), with choices for this call.
    ///
    /// # Errors
    ///
    /// Everything a call can be refused with or end with, see [`Error`].
    pub fn call_with<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
        options: &CallOptions,
    ) -> Result<R, Error> {
        self.submit_with(name, arguments, options)?.wait()
    }

    /// Submits a call and returns its answer as a future, under any async runtime. The call is submitted now, not when the
    /// future is first polled. Dropping the future cancels the call.
    ///
    /// # Errors
    ///
    /// The future ends with everything a call can be refused with or end with, see [`Error`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// # wpc.define_worker_function("add", wat::parse_str(r#"(module (func (export "add") (param i32 i32) (result i32)
    /// #     local.get 0 local.get 1 i32.add))"#)?)?;
    /// # wpc.start_workers(2)?;
    /// # pollster::block_on(async {
    /// // Both run at the same time.
    /// let (one, other) = (wpc.call_async("add", (1, 2)), wpc.call_async("add", (30, 4)));
    /// let (one, other): (i32, i32) = (one.await?, other.await?);
    /// assert_eq!(one + other, 37);
    /// # Ok(()) }) }
    /// ```
    pub fn call_async<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
    ) -> CallFuture<R> {
        CallFuture::new(self.submit(name, arguments))
    }

    /// Like [`call_async`](Self::call_async), with options for this call.
    ///
    /// # Errors
    ///
    /// The future ends with everything a call can be refused with or end with, see [`Error`].
    pub fn call_async_with<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
        options: &CallOptions,
    ) -> CallFuture<R> {
        CallFuture::new(self.submit_with(name, arguments, options))
    }

    /// Sends a call off, to be waited for later: submit many, then collect.
    ///
    /// # Errors
    ///
    /// Everything a call can be refused with, see [`Error`].
    pub fn submit<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
    ) -> Result<PendingCall<R>, Error> {
        self.submit_with(name, arguments, &CallOptions::new())
    }

    /// Like [`submit`](Self::submit), with choices for this call.
    ///
    /// # Errors
    ///
    /// Everything a call can be refused with, see [`Error`].
    pub fn submit_with<R: DeserializeOwned + 'static>(
        &self,
        name: &str,
        arguments: impl Serialize,
        options: &CallOptions,
    ) -> Result<PendingCall<R>, Error> {
        let function = self.registry().function(name);
        intake::submit_by_name(&self.0.pool, function, name, &arguments, options)
    }

    /// A handle that is looked up once, and whose types are compared once for each definition with those that the module
    /// declares. `P` is the tuple of its parameters.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionNotDefined`], or [`Error::SignatureMismatch`] with the first place in which the types
    /// differ.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// # let wasm = wat::parse_str(r#"(module (func (export "half") (param f64) (result f64)
    /// #     local.get 0 f64.const 2 f64.div))"#)?;
    /// wpc.define_worker_function("half", &wasm)?;
    /// wpc.start_workers(1)?;
    /// let half = wpc.function::<(f64,), f64>("half")?;
    /// assert_eq!(half.call((3.0,))?, 1.5);
    /// assert!(wpc.function::<(String,), f64>("half").is_err());
    /// # Ok(()) }
    /// ```
    pub fn function<P: Parameters, R: DeserializeOwned + wpc_abi::Schema + 'static>(
        &self,
        name: &str,
    ) -> Result<Function<P, R>, Error> {
        Function::new(Arc::clone(&self.0), name)
    }

    // Workers.

    /// Starts `count` workers, each a thread, and returns when all are ready.
    ///
    /// A call goes to whichever worker comes to it soonest: one that is awake and soon free, or else the least loaded one.
    /// So some may get none while calls are few or tiny, and what guests keep in their memories is not spread evenly; a key
    /// ([`CallOptions::affinity`]) ties calls to a worker. As many workers as cores are enough, unless guests wait for host
    /// functions.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyStarted`]; [`Error::InvalidOptions`] for a count of 0 or one beyond
    /// `max_live_instances`; [`Error::StartFailed`] if a thread did not come up in time, [`Error::OsLimit`] if
    /// one could not be created. Those that came up end.
    #[doc(alias = "startWorkers")]
    pub fn start_workers(&self, count: usize) -> Result<(), Error> {
        self.0.start(count)
    }

    /// Stops the workers: takes no more calls, lets the accepted ones end until
    /// [`Options::stop_timeout`] is over, interrupts the rest, and returns when all are gone.
    /// Definitions stay, and the workers can be started again. On a stopped pool it does nothing;
    /// called twice at once, both return when it is done.
    ///
    /// It waits for calls, so it must not be called from where a call waits for it.
    #[doc(alias = "stopWorkers")]
    pub fn stop_workers(&self) {
        self.0.stop(self.0.pool.options.stop_timeout);
    }

    /// How every worker is, by number; lost ones as `restarting` until they are replaced, as
    /// `stopped` where they are not replaced any more. Empty while stopped. A worker looks around between
    /// calls, so a change may show a moment after its cause: `worker_health_state_changed` tells when.
    #[doc(alias = "getWorkerHealthStates")]
    #[must_use]
    pub fn get_worker_health_states(&self) -> Vec<WorkerHealth> {
        let workers = self.0.pool.workers.load();
        let mut states: Vec<_> = workers
            .iter()
            .map(|worker| WorkerHealth {
                worker_id: worker.id,
                health_state: worker.health(),
                pending_call_count: worker.in_flight(),
                restart_attempt: worker.restart_attempt,
            })
            .collect();
        states.extend(
            self.0.pool.lost.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned(),
        );
        states.sort_by_key(|state| state.worker_id);
        states
    }

    // Events.

    /// Adds a listener for everything that happens. Listeners run one after another on a thread of
    /// their own; a slow one delays the others and costs events, never calls. A listener that holds
    /// a clone of the pool keeps it alive.
    ///
    /// # Errors
    ///
    /// [`Error::OsLimit`] or [`Error::StartFailed`] if the listeners' thread could not be created.
    #[doc(alias = "onWorkerEvent")]
    pub fn on_worker_event(
        &self,
        listener: impl Fn(&WorkerEvent) + Send + Sync + 'static,
    ) -> Result<ListenerId, Error> {
        self.0.pool.events.add_listener(Arc::new(listener))
    }

    /// Observes every call that has run, whether it succeeded or not; in place of an earlier observer.
    ///
    /// `observe` runs on the thread that ran the call, after its caller was answered, so that it can stay on: it is to
    /// return within microseconds, as one that counts does. A panic of it is contained. Calls that were refused, or ended before they
    /// ran, are not reported here: their callers have the error.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::sync::Arc;
    /// use wpc_host::{Options, WorkerProcedureCall};
    ///
    /// let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let failed = Arc::new(AtomicU64::new(0));
    /// let counted = Arc::clone(&failed);
    /// wpc.observe_finished_calls(move |call| {
    ///     counted.fetch_add(u64::from(call.error.is_some()), Ordering::Relaxed);
    /// });
    /// # Ok(()) }
    /// ```
    pub fn observe_finished_calls(&self, observe: impl Fn(&FinishedCall) + Send + Sync + 'static) {
        self.0.pool.observer.set(Some(Box::new(observe)));
    }

    /// Removes the observer of finished calls, if there is one.
    pub fn stop_observing_finished_calls(&self) {
        self.0.pool.observer.set(None);
    }

    /// Removes a listener; false where it was none. It may be in the middle of one last event.
    #[doc(alias = "offWorkerEvent")]
    pub fn off_worker_event(&self, listener: ListenerId) -> bool {
        self.0.pool.events.remove_listener(listener)
    }
}

fn wasi_imports(module: &Module) -> Vec<String> {
    module.requirements.wasi.iter().cloned().collect()
}

fn host_functions(module: &Module) -> Vec<String> {
    module.requirements.host_functions.iter().cloned().collect()
}
