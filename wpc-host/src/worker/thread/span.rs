//! The `tracing` span of a call, in which its guest and its host functions run.
//!
//! A subscriber is the embedder's code. It runs on this thread; its panics are contained.

use crate::error::ErrorCode;
use crate::id::{CallContext, WorkerId};
use crate::system::contain::contain;
use crate::worker::job::Job;
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// The span of the running call. Dropping it closes it.
pub(super) struct Span {
    /// Taken when it is dropped.
    span: Option<tracing::Span>,
    is_entered: bool,
}

impl Span {
    /// Whether any subscriber may be interested: the one check that calls pay for without a subscriber.
    #[inline(always)]
    pub(super) fn may_be_enabled() -> bool {
        LevelFilter::current() >= Level::DEBUG
    }

    /// Creates the call's span and enters it, if a subscriber is interested in it.
    pub(super) fn enter(job: &Job, worker: WorkerId) -> Option<Self> {
        let context = job.call.context.as_deref();
        let create = || {
            tracing::debug_span!(
                target: "wpc",
                "call",
                function = &*job.function.name,
                hash = %job.function.module.hash,
                worker = worker.0,
                call = job.call.id.0,
                correlation_id = context.and_then(CallContext::correlation_id),
                traceparent = context.and_then(CallContext::traceparent),
                outcome = tracing::field::Empty,
            )
        };
        let span = contain(create).ok().filter(|span| !span.is_disabled())?;
        let mut span = Self { span: Some(span), is_entered: false };
        span.resume();
        Some(span)
    }

    /// Enters the span, at first or again after its call was suspended.
    pub(super) fn resume(&mut self) {
        self.is_entered = true;
        self.pass(|dispatch, id| dispatch.enter(id));
    }

    /// Leaves the span until its call is resumed.
    pub(super) fn suspend(&mut self) {
        self.exit();
    }

    /// Records the outcome and leaves the span.
    pub(super) fn leave(&mut self, error: Option<ErrorCode>) {
        let outcome = error.map_or("ok", ErrorCode::as_str);
        if let Some(span) = &self.span {
            drop(contain(|| {
                span.record("outcome", outcome);
            }));
        }
        self.exit();
    }

    fn exit(&mut self) {
        if std::mem::take(&mut self.is_entered) {
            self.pass(|dispatch, id| dispatch.exit(id));
        }
    }

    /// Entering by a guard would tie this type to its thread.
    fn pass(&self, to: impl FnOnce(&tracing::Dispatch, &tracing::Id)) {
        if let Some(span) = &self.span {
            drop(contain(|| span.with_subscriber(|(id, dispatch)| to(dispatch, id))));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.exit();
        let span = self.span.take();
        drop(contain(|| drop(span)));
    }
}
