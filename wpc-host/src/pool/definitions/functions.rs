//! Defining, listing, restarting and warming functions.

use crate::definition::WasmModule;
use crate::error::{Definable, Error};
use crate::event::{Draft, EventDetails, EventSource};
use crate::id::WorkerId;
use crate::information::FunctionInformation;
use crate::module::signature;
use crate::pool::definitions::{called_functions, host_functions, wasi_imports};
use crate::pool::{WorkerProcedureCall, intake};
use crate::registry::restart_policy::Admission;
use crate::registry::{self, Change, Outcome};
use crate::sync::time;

impl WorkerProcedureCall {
    /// Defines a function, or replaces the previous definition of that name. Blocks while the module is compiled, which
    /// takes tens of milliseconds for a large one. Calls accepted before the replacement run the previous definition to
    /// the end; calls accepted after this method returned run the new one.
    ///
    /// The export is the one chosen with [`WasmModule::export`], else the one with the function's name, else the only
    /// one.
    ///
    /// # Errors
    ///
    /// An invalid name or module, or a requirement of the module that is not met. In that case, nothing is changed.
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
        let source = module.into();
        let outcome = self.change(Change::Function { name: name.to_owned(), source })?;
        self.defined_information(name, &outcome)
    }

    /// Defines the functions of a module under the names of their exports: those whose types the module declares, or every
    /// export that can be called if it declares none. They share their sandboxes, and so the guest's memory.
    ///
    /// A function keeps its export's name even where that is not an identifier, such as `get-answer` or
    /// `ns:pkg/iface#fn`. Exports whose names are empty, exceed 255 bytes or contain control characters are left out;
    /// [`WasmModule::export`] defines each of them under another name.
    ///
    /// # Errors
    ///
    /// An invalid module, or a requirement of it that is not met. In that case, nothing is changed.
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
        let outcome =
            self.change(Change::Module { source: module.into(), replaced: Vec::new() })?;
        Ok(self.informations(&outcome))
    }

    /// Removes a function; returns false if it was not defined. Calls accepted before run to the end.
    #[doc(alias = "undefineWorkerFunction")]
    #[doc(alias = "undefineWokerFunction")]
    pub fn undefine_worker_function(&self, name: &str) -> bool {
        self.remove(Definable::Function, name)
    }

    /// Lists every defined function, sorted by name.
    #[doc(alias = "getRemoteFunctions")]
    #[must_use]
    pub fn get_remote_functions(&self) -> Vec<FunctionInformation> {
        self.registry().functions().iter().map(|function| self.information(function)).collect()
    }

    /// Returns information about a function; `None` if it is not defined.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// let wasm = wat::parse_str(r#"(module (func (export "half") (param f64) (result f64)
    ///     local.get 0 f64.const 2 f64.div))"#)?;
    /// wpc.define_worker_function("half", &wasm)?;
    /// let half = wpc.function_information("half").ok_or("it is not defined")?;
    /// let signature = half.signature.ok_or("its types are not declared")?;
    /// assert_eq!(signature.to_string(), "(argument1: f64) -> f64");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn function_information(&self, name: &str) -> Option<FunctionInformation> {
        self.registry().function(name).map(|function| self.information(&function))
    }

    /// Closes the function's circuit breaker and ends its backoff, so that every worker may run it again at once.
    /// Returns false if the function was not backing off and no circuit breaker was open.
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
        self.0.pool.request_cleanup_of_workers();
        Ok(!workers.is_empty())
    }

    /// Creates a sandbox of the function on every worker ahead of its first call, runs its start functions, and returns
    /// when all sandboxes are ready.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionNotDefined`], the error that a call would be refused with, or the error of the first sandbox that
    /// could not be created. The last counts as a failure of the function, as in a call.
    pub fn warm_worker_function(&self, name: &str) -> Result<(), Error> {
        let undefined = || Error::FunctionNotDefined { function: name.to_owned() };
        let function = self.registry().function(name).ok_or_else(undefined)?;
        let calls = intake::warm(&self.0.pool, &function)?;
        // Waits for all of them, even if one fails.
        let results = calls.into_iter().map(|call| call.wait_encoded().map(drop));
        results.fold(Ok(()), Result::and)
    }

    /// Information about a function that a change defined.
    pub(in crate::pool) fn defined_information(
        &self,
        name: &str,
        outcome: &Outcome,
    ) -> Result<FunctionInformation, Error> {
        let defined = outcome.defined.iter().find(|function| &*function.name == name);
        defined
            .map(|function| self.information(function))
            .ok_or_else(|| Error::FunctionNotDefined { function: name.to_owned() })
    }

    /// Information about the functions that a change defined.
    pub(in crate::pool) fn informations(&self, outcome: &Outcome) -> Vec<FunctionInformation> {
        outcome.defined.iter().map(|function| self.information(function)).collect()
    }

    pub(in crate::pool) fn information(
        &self,
        function: &registry::Function,
    ) -> FunctionInformation {
        let export = function.export();
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
        let suspension_causes = match &function.definition {
            Ok(definition) => self.registry().suspension_causes(definition),
            Err(_) => Vec::new(),
        };
        FunctionInformation {
            name: function.name.to_string(),
            signature: signature::known(export).map(|signature| (&*signature).into()),
            function_hash_sha1: function.module.hash,
            installed_worker_count,
            required_dependencies: self.registry().required_aliases(&function.module),
            required_constants,
            required_host_functions: host_functions(&function.module),
            required_functions: called_functions(&function.module),
            required_capabilities: function.module.capabilities(),
            required_wasi_imports: wasi_imports(&function.module),
            can_suspend: function
                .definition
                .as_ref()
                .is_ok_and(|definition| definition.can_suspend),
            suspension_causes,
            documentation: export.documentation.clone(),
        }
    }
}
