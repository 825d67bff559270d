//! The health of a pool and of its functions.

use crate::information::{BreakerCounts, FunctionHealth, FunctionState, PoolHealth};
use crate::pool::WorkerProcedureCall;
use crate::pool::metrics::breakers;
use crate::registry::Function;
use crate::sync::time;
use crate::worker::Worker;
use std::sync::Arc;
use std::time::Instant;

impl WorkerProcedureCall {
    /// Returns the health of the workers and their load. It takes time in proportion to the number of workers, however many
    /// functions are defined.
    #[must_use]
    pub fn health(&self) -> PoolHealth {
        let pool = &self.0.pool;
        let workers = pool.workers.load_full();
        let per_worker = pool.options.max_pending_calls_per_worker;
        PoolHealth {
            workers: workers.health(),
            pending_calls: workers.iter().map(|worker| worker.in_flight()).sum(),
            pending_call_limit: workers.len().saturating_mul(per_worker),
            waiting_calls: pool.overflow_queue.len(),
            waiting_call_limit: pool.options.max_waiting_calls,
        }
    }

    /// Returns which functions can be called, and why the others cannot, sorted by name.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use wpc_host::{FunctionState, Options, WorkerProcedureCall};
    ///
    /// let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let wasm = wat::parse_str(r#"(module (func (export "nothing")))"#)?;
    /// wpc.define_worker_function("nothing", &wasm)?;
    /// assert_eq!(wpc.function_health()[0].state, FunctionState::Ready);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn function_health(&self) -> Vec<FunctionHealth> {
        let workers = self.0.pool.workers.load_full();
        let now = time::now();
        let functions = self.registry().functions();
        functions.iter().map(|function| self.health_of(function, &workers, now)).collect()
    }

    fn health_of(
        &self,
        function: &Function,
        workers: &[Arc<Worker>],
        now: Instant,
    ) -> FunctionHealth {
        let of = |state, reason, breakers| {
            let new = FunctionHealth::new(&*function.name, function.module.hash, state);
            FunctionHealth { reason, breakers, ..new }
        };
        match &function.definition {
            Err(alias) => {
                let reason = format!("the dependency \"{alias}\" is not defined");
                of(FunctionState::MissingDependency, Some(reason), BreakerCounts::default())
            }
            Ok(definition) => {
                if let Some(name) = self.registry().missing_host_function(definition) {
                    let reason = format!("the host function \"{name}\" is not defined");
                    return of(
                        FunctionState::MissingHostFunction,
                        Some(reason),
                        BreakerCounts::default(),
                    );
                }
                let breakers = breakers(definition, workers, now);
                let state = FunctionState::of(&breakers);
                let failure = match state {
                    FunctionState::Ready => None,
                    _ => definition.circuit_breaker.last_failure(),
                };
                of(state, failure.map(|error| error.to_string()), breakers)
            }
        }
    }
}
