//! The embedder's observer of finished calls, which runs on the thread that ran the call.

use crate::error::ErrorCode;
use crate::id::{CallId, FunctionHash, TraceContext, WorkerId};
use crate::sync::ArcSwapOption;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::system::contain::contain;
use crate::system::offload::foreign;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Measurements of a call that has run, see
/// [`observe_finished_calls`](crate::WorkerProcedureCall::observe_finished_calls).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FinishedCall {
    /// The call's number, which its events carry as well.
    pub call_id: CallId,
    /// The function that was called.
    #[serde(with = "shared_text")]
    pub function_name: Arc<str>,
    /// The SHA-1 of its module.
    pub function_hash_sha1: FunctionHash,
    /// The worker that ran it.
    pub worker_id: WorkerId,
    /// The code of the call's error; `None` if it returned a value.
    pub error: Option<ErrorCode>,
    /// The time from the call's acceptance until it began. Zero on a local worker.
    pub queued: Duration,
    /// The time from its beginning until its outcome was known, including the instantiation of its sandbox.
    pub ran: Duration,
    /// The fuel it used; `None` if its definition does not meter fuel.
    pub fuel_used: Option<u64>,
    /// The trace that its caller passed with [`CallOptions::trace_context`](crate::CallOptions::trace_context).
    pub trace_context: Option<TraceContext>,
    /// The identifier that its caller passed with [`CallOptions::correlation_id`](crate::CallOptions::correlation_id).
    pub correlation_id: Option<String>,
}

impl FinishedCall {
    /// A call that returned a value at once, without metered fuel. The other fields can be set.
    #[must_use]
    pub fn new(
        call_id: CallId,
        function_name: impl Into<Arc<str>>,
        function_hash_sha1: FunctionHash,
        worker_id: WorkerId,
    ) -> Self {
        Self {
            call_id,
            function_name: function_name.into(),
            function_hash_sha1,
            worker_id,
            error: None,
            queued: Duration::ZERO,
            ran: Duration::ZERO,
            fuel_used: None,
            trace_context: None,
            correlation_id: None,
        }
    }
}

/// Serializes an `Arc<str>`, for which serde needs a feature.
mod shared_text {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Into::into)
    }
}

type Observe = Box<dyn Fn(&FinishedCall) + Send + Sync>;

/// Receives finished calls in addition to the embedder's observer, see
/// [`Backend::sample_finished_calls`](crate::Backend::sample_finished_calls).
pub type FinishedCallSampler = Box<dyn Fn(&FinishedCall) + Send + Sync>;

/// Set if there is an observer.
const OBSERVES: u8 = 1;

/// Set if latencies are collected.
const COLLECTS_LATENCIES: u8 = 2;

/// Set if a server samples finished calls.
const SAMPLES: u8 = 4;

/// The observer, if one is set. If nothing is measured, a call only reads a flag.
#[derive(Default)]
pub(crate) struct Observer {
    measures: AtomicU8,
    observe: ArcSwapOption<Observe>,
    sample: ArcSwapOption<Observe>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").field("measures", &self.measures).finish()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.set(None);
        self.set_sampler(None);
    }
}

impl Observer {
    pub(crate) fn set(&self, observe: Option<Observe>) {
        self.replace(&self.observe, OBSERVES, observe);
    }

    pub(crate) fn set_sampler(&self, sample: Option<Observe>) {
        self.replace(&self.sample, SAMPLES, sample);
    }

    fn replace(&self, slot: &ArcSwapOption<Observe>, flag: u8, observe: Option<Observe>) {
        let is_set = observe.is_some();
        let replaced = slot.swap(observe.map(Arc::new));
        self.measure(flag, is_set);
        foreign(move || drop(replaced));
    }

    pub(crate) fn collect_latencies(&self, collect: bool) {
        self.measure(COLLECTS_LATENCIES, collect);
    }

    fn measure(&self, what: u8, measure: bool) {
        if measure {
            self.measures.fetch_or(what, Ordering::AcqRel);
        } else {
            self.measures.fetch_and(!what, Ordering::AcqRel);
        }
    }

    /// Whether calls are measured.
    #[inline]
    pub(crate) fn measures(&self) -> bool {
        self.measures.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn observes(&self) -> bool {
        self.measures.load(Ordering::Acquire) & (OBSERVES | SAMPLES) != 0
    }

    pub(crate) fn collects_latencies(&self) -> bool {
        self.measures.load(Ordering::Relaxed) & COLLECTS_LATENCIES != 0
    }

    pub(crate) fn report(&self, finished: &FinishedCall) {
        for observe in [&self.observe, &self.sample] {
            if let Some(observe) = observe.load_full() {
                drop(contain(|| observe(finished)));
                // If it was replaced meanwhile, this is the last owner, and dropping it runs the embedder's code.
                foreign(move || drop(observe));
            }
        }
    }
}
