//! What a pool can run: functions, dependencies, constants and host functions.

pub(in crate::pool) mod changes;
pub(in crate::pool) mod constants;
mod dependencies;
mod functions;
mod host_functions;

use crate::error::{Definable, Error, Refusal};
use crate::event::{Draft, EventDetails, EventSource};
use crate::id::WorkerId;
use crate::module::Module;
use crate::pool::WorkerProcedureCall;
use crate::registry::{Change, Outcome};
use crate::system::background::Interest;

impl WorkerProcedureCall {
    /// Makes one change.
    pub(super) fn change(&self, change: Change) -> Result<Outcome, Error> {
        let (kind, name) = (change.kind(), change.name());
        let result = self.registry().apply_one(change, &Interest::default());
        self.after_change(kind, &name, result)
    }

    /// Removes an item; returns whether it was defined.
    fn remove(&self, kind: Definable, name: &str) -> bool {
        let outcome = self.change(Change::Remove { kind, name: name.to_owned() });
        // Removing an item adds no links and no types, so it cannot be refused.
        outcome.is_ok_and(|outcome| !outcome.removed.is_empty())
    }

    /// Reports a refused change, and makes workers drop the sandboxes that an accepted one replaced.
    pub(super) fn after_change(
        &self,
        kind: Definable,
        name: &str,
        result: Result<Outcome, Error>,
    ) -> Result<Outcome, Error> {
        match &result {
            Ok(_) => self.0.pool.request_cleanup_of_workers(),
            Err(error) => self.report_refused(kind, name, error),
        }
        result
    }

    fn report_refused(&self, kind: Definable, name: &str, error: &Error) {
        let (what, name) = (kind.to_string(), name.to_owned());
        let details = EventDetails::DefinitionRefused { what, name };
        self.0.pool.events.emit(Draft::by(EventSource::Parent, details).error(error));
    }

    /// Reports every refusal of several changes.
    pub(super) fn report_refusals(&self, refusals: &[Refusal]) {
        for Refusal { kind, name, error, .. } in refusals {
            self.report_refused(*kind, name, error);
        }
    }

    fn count_workers(&self, can: impl Fn(WorkerId) -> bool) -> usize {
        let workers = self.0.pool.workers.load();
        workers.iter().filter(|worker| worker.takes_calls() && can(worker.id)).count()
    }
}

fn wasi_imports(module: &Module) -> Vec<String> {
    module.requirements.wasi.iter().cloned().collect()
}

fn called_functions(module: &Module) -> Vec<String> {
    module.requirements.functions.keys().cloned().collect()
}

fn host_functions(module: &Module) -> Vec<String> {
    module.requirements.host_functions.iter().cloned().collect()
}
