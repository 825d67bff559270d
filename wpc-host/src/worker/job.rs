//! A call on its way to a worker.

use crate::call::{Call, Interrupt};
use crate::error::{Error, ErrorCode};
use crate::registry::{Definition, Function};
use crate::sync::time;
use std::sync::Arc;

/// A call on its way to a worker. Dropping it unanswered answers it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) call: Arc<Call>,
    pub(crate) function: Arc<Function>,
    /// The definition of `function`, with which the call was accepted.
    pub(crate) definition: Arc<Definition>,
    pub(crate) arguments: Vec<u8>,
    /// The call's deadline in nanoseconds of the epoch ticker's clock, once it is in a worker's queue.
    pub(crate) deadline: u64,
    pub(crate) fuel: Option<u64>,
    pub(crate) affinity: Option<u64>,
    pub(crate) wait_for_capacity: bool,
    /// Whether the job only creates the function's sandbox, without a call.
    pub(crate) is_warm_up: bool,
    /// The trial call of a definition whose circuit breaker is half-open.
    pub(crate) is_trial: bool,
    /// The call is already answered and counted, or another owner will do so: the thread that stole it, the set of suspended
    /// calls, or the caller that ran it on its own thread. Dropping the job does neither.
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
            deadline: u64::MAX,
            fuel: None,
            affinity: None,
            wait_for_capacity: false,
            is_warm_up: false,
            is_trial: false,
            is_disowned: false,
        }
    }

    /// Counts a call that is refused with this error, which its caller gets instead of an answer.
    #[cold]
    pub(crate) fn refused(mut self, error: Error) -> Error {
        self.is_disowned = true;
        self.function.meter.count_elsewhere(error.code());
        error
    }

    /// The code of the error with which another thread answered the call; `None` if it is a value.
    #[cold]
    pub(crate) fn answered_with(&self) -> Option<ErrorCode> {
        match self.call.outcome() {
            Some(outcome) => outcome.as_ref().err().map(Error::code),
            // That thread is about to write why the call ended early.
            None => {
                let interrupt = self.call.interrupted(time::now()).unwrap_or(Interrupt::Deadline);
                Some(self.call.error_of(interrupt, false).code())
            }
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
        if !self.is_warm_up {
            // Its worker did not answer it; most such calls never ran.
            self.answered_with()
                .into_iter()
                .for_each(|code| self.function.meter.count_elsewhere(code));
        }
    }
}
