//! Collects what the observer of finished calls and the subscriber of spans receive.

use super::Thread;
use super::span::Span;
use crate::error::Error;
use crate::error::ErrorCode;
use crate::event::observer::FinishedCall;
use crate::id::CallContext;
use crate::sync::atomic::Ordering;
use crate::sync::time;
use crate::worker::job::Job;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a call began, how long it took, and the error it ended with.
pub(super) struct Observed {
    begun: Instant,
    took: Duration,
    error: Option<ErrorCode>,
    /// The call's span, if a subscriber is interested in it.
    span: Option<Span>,
}

impl Thread {
    #[cold]
    pub(super) fn observe(&mut self, job: &Job) {
        let span = Span::enter(job, self.worker.id);
        if span.is_none() && !self.worker.environment.observer.is_set() {
            return;
        }
        let begun = time::now();
        self.observed = Some(Observed { begun, took: Duration::ZERO, error: None, span });
    }

    /// Records the outcome of a call that its guest answered, and leaves its span.
    #[inline]
    pub(super) fn note_outcome(&mut self, error: Option<&Error>) {
        if self.observed.is_some() {
            self.note_observed(error);
            self.leave_span();
        }
    }

    /// Records the error of a failed call. Its span is left when the failure has been handled.
    pub(super) fn note_error(&mut self, error: &Error) {
        self.note_observed(Some(error));
    }

    #[cold]
    fn note_observed(&mut self, error: Option<&Error>) {
        if let Some(observed) = &mut self.observed {
            observed.took = time::now().saturating_duration_since(observed.begun);
            observed.error = error.map(Error::code);
        }
    }

    #[cold]
    pub(super) fn leave_span(&mut self) {
        if let Some(Observed { span: Some(span), error, .. }) = &mut self.observed {
            span.leave(*error);
        }
    }

    /// Reports the call that was answered to the observer, if there is one, and closes its span.
    #[inline]
    pub(in crate::worker) fn report(&mut self, job: &Job) {
        if self.observed.is_some() {
            self.report_observed(job);
        }
    }

    #[cold]
    fn report_observed(&mut self, job: &Job) {
        let Some(observed) = self.observed.take() else { return };
        let environment = &self.worker.environment;
        environment.is_occupied.store(true, Ordering::Relaxed);
        if environment.observer.is_set() {
            let context = job.call.context.as_deref();
            environment.observer.report(&FinishedCall {
                call_id: job.call.id,
                function_name: Arc::clone(&job.function.name),
                function_hash_sha1: job.function.module.hash,
                worker_id: self.worker.id,
                error: observed.error,
                queued: job.call.queued(observed.begun),
                ran: observed.took,
                fuel_used: job.call.fuel_used(),
                trace_context: context.and_then(|context| context.trace.clone()),
                correlation_id: context.and_then(CallContext::correlation_id).map(str::to_owned),
            });
        }
        drop(observed);
        // A spent sandbox is dropped next.
        environment.is_occupied.store(self.spent.is_some(), Ordering::Relaxed);
    }
}
