//! A call on its way to a worker.

use crate::call::Call;
use crate::error::Error;
use crate::registry::{Definition, Function};
use std::sync::Arc;

/// A call on its way to a worker. Dropping it unanswered answers it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) call: Arc<Call>,
    pub(crate) function: Arc<Function>,
    /// The definition of `function`, with which the call was accepted.
    pub(crate) definition: Arc<Definition>,
    pub(crate) arguments: Vec<u8>,
    pub(crate) fuel: Option<u64>,
    pub(crate) affinity: Option<u64>,
    pub(crate) wait_for_capacity: bool,
    /// Only creates the function's sandbox, and calls nothing.
    pub(crate) is_warm_up: bool,
    /// The trial call of a definition whose circuit breaker is half-open.
    pub(crate) is_trial: bool,
    /// The answer belongs to another owner, so dropping the job does not answer the call.
    pub(crate) is_disowned: bool,
}

impl Job {
    /// A job with default options.
    pub(crate) fn new(
        call: Arc<Call>,
        function: Arc<Function>,
        definition: Arc<Definition>,
        arguments: Vec<u8>,
    ) -> Self {
        Self {
            call,
            function,
            definition,
            arguments,
            fuel: None,
            affinity: None,
            wait_for_capacity: false,
            is_warm_up: false,
            is_trial: false,
            is_disowned: false,
        }
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
