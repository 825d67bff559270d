//! Instantiates definitions that were checked and are not published.

use super::WorkerProcedureCall;
use super::intake;
use super::local::check_stack;
use crate::error::{Definable, Error, Refusal};
use crate::pool::definitions::changes::Checked;
use crate::registry::Function;
use crate::supervisor::workers::Pool;
use crate::worker::Local;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A local worker that is removed when this value is dropped.
struct Trial<'a> {
    pool: &'a Arc<Pool>,
    local: Local,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        self.pool.forget_local(self.local.worker());
    }
}

impl WorkerProcedureCall {
    /// Creates a sandbox of each definition that the changes would make, and drops it: modules are instantiated with their
    /// dependencies, and start functions, initialisers and init hooks run under the time limit, the memory and the fuel of a call. They
    /// read the constants that the changes define. No function becomes callable and nothing is counted as a call.
    ///
    /// Side effects outside the sandbox do take place: calls to granted host functions and to other functions (in their current
    /// versions), output, and changes to files in granted directories.
    ///
    /// Runs on this thread, for as long as the guests need, up to their time limits. The pool must run.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use wpc_host::{Changes, Options, WorkerProcedureCall};
    ///
    /// let traps = wat::parse_str(r#"(module (func $start unreachable) (start $start) (func (export "f")))"#)?;
    /// let wpc = WorkerProcedureCall::new(Options::default())?;
    /// wpc.start_workers(1)?;
    /// let checked = wpc.check(Changes::new().define_function("f", traps))?;
    /// assert!(wpc.instantiate(&checked).is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ChangesRefused`] with each change of which a definition cannot be instantiated; [`Error::NotRunning`];
    /// [`Error::InvalidCallOptions`] if this thread has too little stack.
    pub fn instantiate(&self, checked: &Checked) -> Result<(), Error> {
        let pool = &self.0.pool;
        let outcome = &checked.outcome;
        if outcome.defined.is_empty() && outcome.relinked.is_empty() {
            return Ok(());
        }
        let mut trial = Trial { pool, local: pool.local() };
        let mut seen = BTreeSet::new();
        let mut refusals: Vec<Refusal> = Vec::new();
        for function in outcome.defined.iter().chain(&outcome.relinked) {
            // One that lacks a dependency is in `Checked::missing_dependencies`.
            let Ok(definition) = &function.definition else { continue };
            if !seen.insert(definition.generation.0) {
                continue;
            }
            // The checked definition is never published, so it uses the bindings of the check instead of the pool's current
            // ones.
            if let Some(bindings) = &outcome.bindings {
                definition.blueprint.retire(bindings);
            }
            let Err(error) = instantiate(&mut trial, function) else { continue };
            if matches!(error, Error::NotRunning) {
                return Err(error);
            }
            let change = outcome.causes.get(&function.name).copied().unwrap_or_default();
            let (kind, name) = (Definable::Function, function.name.to_string());
            refusals.push(Refusal { change, kind, name, error });
        }
        if refusals.is_empty() { Ok(()) } else { Err(Error::ChangesRefused { refusals }) }
    }
}

fn instantiate(trial: &mut Trial<'_>, function: &Arc<Function>) -> Result<(), Error> {
    check_stack(trial.pool, &function.name)?;
    intake::instantiate(trial.pool, &mut trial.local, function)
}
