//! What a pool can run: functions, dependencies, constants and host functions.

mod constants;
mod dependencies;
mod functions;
mod host_functions;

use crate::error::Error;
use crate::event::{Draft, EventDetails, EventSource};
use crate::id::WorkerId;
use crate::module::Module;
use crate::pool::WorkerProcedureCall;

impl WorkerProcedureCall {
    /// Reports a refused definition, and makes workers drop the sandboxes that an accepted one replaced.
    pub(super) fn after_definition<T>(
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

    fn count_workers(&self, can: impl Fn(WorkerId) -> bool) -> usize {
        let workers = self.0.pool.workers.load();
        workers.iter().filter(|worker| worker.takes_calls() && can(worker.id)).count()
    }
}

fn wasi_imports(module: &Module) -> Vec<String> {
    module.requirements.wasi.iter().cloned().collect()
}

fn host_functions(module: &Module) -> Vec<String> {
    module.requirements.host_functions.iter().cloned().collect()
}
