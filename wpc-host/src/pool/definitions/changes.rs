//! Several changes that are made together.

use super::constants::constant;
use super::host_functions::host_function;
use crate::codec::arguments::Parameters;
use crate::definition::WasmModule;
use crate::error::{Definable, Error, Refusal};
use crate::host_function::HostContext;
use crate::information::FunctionInformation;
use crate::pool::WorkerProcedureCall;
use crate::registry::{self, Change, OnRefusal, Outcome};
use crate::system::background::Interest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use wpc_abi::Schema;

/// Changes to what a pool can run, which [`WorkerProcedureCall::apply`] makes together.
///
/// They are made in the order in which they were added. Only the state after all of them is checked and becomes visible, so a
/// dependency and the functions that use it can change together, and a function can be removed and defined again.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wpc_host::{Changes, Options, WorkerProcedureCall};
///
/// # let rate = |ty: &str| wat::parse_str(format!(
/// #     r#"(module (func (export "rate") (result {ty}) {ty}.const 3))"#));
/// # let price = |ty: &str| wat::parse_str(format!(
/// #     r#"(module (import "rates" "rate" (func $rate (result {ty})))
/// #         (func (export "price") (result {ty}) call $rate))"#));
/// # let (rate_v1, price_v1, rate_v2, price_v2) = (rate("i32")?, price("i32")?, rate("f64")?, price("f64")?);
/// let wpc = WorkerProcedureCall::new(Options::default())?;
/// wpc.define_worker_dependency("rates", rate_v1)?;
/// wpc.define_worker_function("price", price_v1)?;
///
/// // Version 2 of the dependency returns another type, so neither module works with version 1 of the other.
/// assert!(wpc.define_worker_dependency("rates", &rate_v2).is_err());
/// wpc.apply(Changes::new().define_dependency("rates", rate_v2).define_function("price", price_v2))?;
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
#[must_use = "pass it to `apply`"]
pub struct Changes {
    pub(in crate::pool) changes: Vec<Change>,
    pub(in crate::pool) on_refusal: OnRefusal,
}

/// What [`WorkerProcedureCall::apply`] changed.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Applied {
    /// The functions that the changes defined.
    pub functions: Vec<FunctionInformation>,
    /// The names of other functions that were linked again, because a dependency that they require changed.
    pub relinked: Vec<String>,
    /// The items that were defined and no longer are, each with its kind and name.
    pub removed: Vec<(Definable, String)>,
    /// The changes that were not made, because [`Changes::skip_refused`] was set.
    pub refused: Vec<Refusal>,
}

/// The result of [`WorkerProcedureCall::check`], which [`WorkerProcedureCall::instantiate`] can instantiate for a trial. While
/// it exists, the same changes are applied without compiling their modules again.
#[derive(Debug)]
#[non_exhaustive]
pub struct Checked {
    /// The functions that the changes would define.
    pub functions: Vec<FunctionInformation>,
    /// Other functions that would be linked again because a dependency that they require would change. They are described as
    /// they would be after the changes.
    pub relinked: Vec<FunctionInformation>,
    /// The names of the functions in `functions` and `relinked` that would lack a dependency, each with the alias of one
    /// missing dependency.
    pub missing_dependencies: Vec<(String, String)>,
    /// Keeps the compiled modules.
    pub(in crate::pool) outcome: Outcome,
}

impl Changes {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of changes that were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether no change was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Makes the other changes if some are refused. A refused item keeps its previous definition, even if an earlier change
    /// removes it. So does everything that cannot be changed without it: the users of a refused dependency, and a dependency
    /// if a user that is not changed does not link with the new version. [`Applied::refused`] lists all of these. By
    /// default, no change is made if one is refused.
    pub fn skip_refused(mut self) -> Self {
        self.on_refusal = OnRefusal::Skip;
        self
    }

    /// Defines a function as
    /// [`define_worker_function`](WorkerProcedureCall::define_worker_function) does.
    pub fn define_function(self, name: impl Into<String>, module: impl Into<WasmModule>) -> Self {
        self.add(Change::Function { name: name.into(), source: module.into() })
    }

    /// Defines the functions of a module as [`define_worker_module`](WorkerProcedureCall::define_worker_module) does.
    /// Functions of a previous version that the module no longer has stay defined.
    pub fn define_module(self, module: impl Into<WasmModule>) -> Self {
        self.replace_module(Vec::new(), module)
    }

    /// Like [`define_module`](Self::define_module), and removes those of the functions `previous` that the module does not
    /// define. If the module is refused, they stay.
    pub fn replace_module(self, previous: Vec<String>, module: impl Into<WasmModule>) -> Self {
        self.add(Change::Module { source: module.into(), replaced: previous })
    }

    /// Defines a dependency as [`define_worker_dependency`](WorkerProcedureCall::define_worker_dependency) does.
    pub fn define_dependency(
        self,
        alias: impl Into<String>,
        module: impl Into<WasmModule>,
    ) -> Self {
        self.add(Change::Dependency { alias: alias.into(), source: module.into() })
    }

    /// Defines a constant as [`define_worker_constant`](WorkerProcedureCall::define_worker_constant) does. The value is
    /// encoded now; a value that cannot be encoded is refused by `apply`.
    pub fn define_constant<T: Serialize + ?Sized>(self, name: &str, value: &T) -> Self {
        self.add(constant(name, value))
    }

    /// Defines a host function as [`define_host_function`](WorkerProcedureCall::define_host_function) does.
    pub fn define_host_function<A, R, E, F>(self, name: &str, function: F) -> Self
    where
        A: DeserializeOwned + Parameters,
        R: Serialize + Schema,
        E: std::fmt::Display,
        F: Fn(&HostContext, A) -> Result<R, E> + Send + Sync + 'static,
    {
        self.add(host_function(name, function))
    }

    /// Removes a function. Nothing happens if it is not defined, as for the other kinds of items.
    pub fn remove_function(self, name: impl Into<String>) -> Self {
        self.remove(Definable::Function, name.into())
    }

    /// Removes a dependency. Calls to the functions that still require it are refused until it is defined again.
    pub fn remove_dependency(self, alias: impl Into<String>) -> Self {
        self.remove(Definable::Dependency, alias.into())
    }

    /// Removes a constant.
    pub fn remove_constant(self, name: impl Into<String>) -> Self {
        self.remove(Definable::Constant, name.into())
    }

    /// Removes a host function.
    pub fn remove_host_function(self, name: impl Into<String>) -> Self {
        self.remove(Definable::HostFunction, name.into())
    }

    fn remove(self, kind: Definable, name: String) -> Self {
        self.add(Change::Remove { kind, name })
    }

    pub(in crate::pool) fn add(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }
}

impl WorkerProcedureCall {
    /// Makes all changes, or none. Every module is compiled and everything is checked as it would be after the changes;
    /// then all of them become visible at once. A thread that has seen one of them sees all of them.
    ///
    /// Calls accepted before run the previous definitions to the end. A call sees constants and host functions as they were
    /// when its guest first used any of them, or when its definition was replaced if that was earlier.
    ///
    /// Changes that other threads make in the meantime are neither lost nor overwritten by an outdated check. Blocks while
    /// modules are compiled.
    ///
    /// # Errors
    ///
    /// [`Error::ChangesRefused`] with every change that was refused and the reason. A change is refused for its own module,
    /// name or value, or because the state after the changes would be inconsistent. In that case, nothing is changed, unless
    /// [`Changes::skip_refused`] was set.
    pub fn apply(&self, changes: Changes) -> Result<Applied, Error> {
        let Changes { changes, on_refusal } = changes;
        let result = self.registry().apply(changes, on_refusal, &Interest::default());
        self.after_changes(result)
    }

    /// Checks changes as [`apply`](Self::apply) does, and makes none of them. Modules are compiled, types are compared, and
    /// everything that the changes affect is linked. `apply` can still refuse the same changes if others were made in between,
    /// or if the operating system refuses memory or a thread.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use wpc_host::{Changes, Options, WorkerProcedureCall};
    ///
    /// let wasm = wat::parse_str(r#"(module (func (export "half") (param f64) (result f64)
    ///     local.get 0 f64.const 2 f64.div))"#)?;
    /// let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let checked = wpc.check(Changes::new().define_function("half", wasm))?;
    /// assert_eq!(checked.functions[0].name, "half");
    /// assert!(wpc.get_remote_functions().is_empty());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ChangesRefused`] with every change that would be refused, even if [`Changes::skip_refused`] was set.
    pub fn check(&self, changes: Changes) -> Result<Checked, Error> {
        let outcome = self.registry().check(changes.changes)?;
        let information = |functions: &[Arc<registry::Function>]| {
            functions.iter().map(|function| self.information(function)).collect()
        };
        let missing = outcome.defined.iter().chain(&outcome.relinked).filter_map(|function| {
            let alias = function.definition.as_ref().err()?;
            Some((function.name.to_string(), alias.to_string()))
        });
        Ok(Checked {
            functions: information(&outcome.defined),
            relinked: information(&outcome.relinked),
            missing_dependencies: missing.collect(),
            outcome,
        })
    }

    /// Reports what was refused, and makes workers drop the sandboxes that were replaced.
    pub(in crate::pool) fn after_changes(
        &self,
        result: Result<Outcome, Error>,
    ) -> Result<Applied, Error> {
        let outcome = result.inspect_err(|error| {
            if let Error::ChangesRefused { refusals } = error {
                self.report_refusals(refusals);
            }
        })?;
        self.0.pool.request_cleanup_of_workers();
        self.report_refusals(&outcome.refused);
        Ok(Applied {
            functions: self.informations(&outcome),
            relinked: outcome.relinked.iter().map(|function| function.name.to_string()).collect(),
            removed: outcome.removed.iter().map(|(kind, name)| (*kind, name.to_string())).collect(),
            refused: outcome.refused,
        })
    }
}
