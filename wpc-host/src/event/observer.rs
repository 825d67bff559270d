//! The embedder's observer of finished calls: what a call took, reported on the thread that ran it. It knows nothing of how
//! calls are run.

use crate::error::code::ErrorCode;
use crate::id::{CallId, FunctionHash, WorkerId};
use crate::sync::ArcSwapOption;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::system::contain::contain;
use crate::system::offload::foreign;
use std::sync::Arc;
use std::time::Duration;

/// What a call that has run took; see
/// [`observe_finished_calls`](crate::WorkerProcedureCall::observe_finished_calls).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FinishedCall {
    /// The call's number, as events and replies carry it.
    pub call_id: CallId,
    /// The function that was called.
    pub function_name: Arc<str>,
    /// The SHA-1 of its module.
    pub function_hash_sha1: FunctionHash,
    /// The worker that ran it.
    pub worker_id: WorkerId,
    /// The code of the error that it ended with; `None` where it returned a value.
    pub error: Option<ErrorCode>,
    /// From when the call was accepted until it was begun. Zero on a local worker.
    pub queued: Duration,
    /// From when it was begun until its outcome was known, the instantiation of its sandbox included.
    pub ran: Duration,
    /// How much fuel it used, where its definition meters fuel.
    pub fuel_used: Option<u64>,
}

type Observe = Box<dyn Fn(&FinishedCall) + Send + Sync>;

/// The observer, if there is one. A call without one reads a flag.
#[derive(Default)]
pub(crate) struct Observer {
    is_set: AtomicBool,
    observe: ArcSwapOption<Observe>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").field("is_set", &self.is_set).finish()
    }
}

impl Observer {
    pub(crate) fn set(&self, observe: Option<Observe>) {
        let is_set = observe.is_some();
        self.observe.store(observe.map(Arc::new));
        self.is_set.store(is_set, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    pub(crate) fn report(&self, finished: &FinishedCall) {
        if let Some(observe) = self.observe.load_full() {
            drop(contain(|| observe(finished)));
            // It may have been replaced meanwhile: then this is its last owner.
            foreign(move || drop(observe));
        }
    }
}
