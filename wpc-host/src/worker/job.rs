//! A call on its way to a worker.

use crate::call::Call;
use crate::error::Error;
use crate::registry::Function;
use crate::registry::circuit_breaker::CircuitBreaker;
use std::sync::Arc;

/// A call on its way to a worker. Dropping it unanswered answers it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) call: Arc<Call>,
    pub(crate) function: Arc<Function>,
    pub(crate) arguments: Vec<u8>,
    pub(crate) fuel: Option<u64>,
    pub(crate) affinity: Option<u64>,
    pub(crate) wait_for_room: bool,
    /// Only creates the function's sandbox, and calls nothing.
    pub(crate) is_warm_up: bool,
    /// The trial call of a definition whose circuit breaker is half-open.
    pub(crate) is_trial: bool,
    /// The answer belongs to another owner, so dropping the job does not answer the call.
    pub(crate) is_disowned: bool,
}

impl Job {
    /// A job with default options.
    pub(crate) fn new(call: Arc<Call>, function: Arc<Function>, arguments: Vec<u8>) -> Self {
        Self {
            call,
            function,
            arguments,
            fuel: None,
            affinity: None,
            wait_for_room: false,
            is_warm_up: false,
            is_trial: false,
            is_disowned: false,
        }
    }

    /// The circuit breaker of the definition that the call was accepted with. Calls of a function without a definition are
    /// refused.
    #[inline]
    pub(crate) fn circuit_breaker(&self) -> Option<&CircuitBreaker> {
        self.function.definition.as_ref().ok().map(|definition| &definition.circuit_breaker)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.is_disowned {
            return;
        }
        let call = &self.call;
        call.answer_with(|ran| Err(Error::Stopped { function: call.function.to_string(), ran }));
    }
}
