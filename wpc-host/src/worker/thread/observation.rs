//! Counts calls, and collects what the observer of finished calls and the subscriber of spans receive.

use super::Thread;
use super::span::Span;
use crate::error::{Error, ErrorCode};
use crate::event::observer::FinishedCall;
use crate::id::CallContext;
use crate::metrics::Counters;
use crate::sync::atomic::Ordering;
use crate::sync::time;
use crate::worker::job::Job;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a call began, and how long it took.
pub(super) struct Observed {
    begun: Instant,
    took: Duration,
    /// The call's span, if a subscriber is interested in it.
    span: Option<Span>,
}

impl Thread {
    /// Begins what is observed of a call, if anything is.
    #[inline(always)]
    pub(super) fn begin_observation(&mut self, job: &Job) {
        if self.worker.environment.observer.measures() || Span::may_be_enabled() {
            self.observe(job);
        }
    }

    #[cold]
    fn observe(&mut self, job: &Job) {
        let span = Span::enter(job, self.worker.id);
        if span.is_none() && !self.worker.environment.observer.measures() {
            return;
        }
        let begun = time::now();
        self.observed = Some(Observed { begun, took: Duration::ZERO, span });
    }

    /// Records the outcome of a call that its guest answered, and leaves its span.
    #[inline]
    pub(super) fn note_outcome(&mut self, error: Option<&Error>) {
        self.ended_with = error.map(Error::code);
        if self.observed.is_some() {
            self.note_observed();
            self.leave_span();
        }
    }

    /// Records the error of a failed call. Its span is left when the failure has been handled.
    pub(super) fn note_error(&mut self, error: &Error) {
        self.ended_with = Some(error.code());
        self.note_observed();
    }

    #[cold]
    fn note_observed(&mut self) {
        if let Some(observed) = &mut self.observed {
            observed.took = time::now().saturating_duration_since(observed.begun);
        }
    }

    /// Counts the call that has run. This precedes its answer, so that a caller that has the answer finds it counted.
    // Inlining saves a call frame.
    #[inline(always)]
    pub(in crate::worker) fn count(&mut self, job: &Job, failed: Option<ErrorCode>) {
        let counters = self.sandbox_cache.counters(&job.definition, &job.function);
        counters.count(failed);
        if let Some(fuel) = job.call.fuel_used() {
            counters.add_fuel(fuel);
        }
        if let Some(observed) = &self.observed
            && self.worker.environment.observer.collects_latencies()
        {
            record_latencies(counters, observed, job);
        }
    }

    /// Counts a call that has run on its caller's thread.
    #[inline(always)]
    pub(in crate::worker) fn count_local(&mut self, job: &Job) {
        match self.ended_with {
            None => self.count(job, None),
            Some(code) => self.count_local_error(job, code),
        }
    }

    #[cold]
    fn count_local_error(&mut self, job: &Job, code: ErrorCode) {
        let failed = match code {
            // The caller counts it, because it knows whether the arguments' types were the reason.
            ErrorCode::ArgumentsEncode | ErrorCode::ArgumentsTooLarge => return,
            // The guest returned a value, which the caller could not decode.
            ErrorCode::ResultDecode | ErrorCode::SignatureMismatch => None,
            _ => Some(code),
        };
        self.count(job, failed);
    }

    #[cold]
    pub(super) fn leave_span(&mut self) {
        if let Some(Observed { span: Some(span), .. }) = &mut self.observed {
            span.leave(self.ended_with);
        }
    }

    /// Leaves the span of a call that is suspended, until it is resumed.
    pub(super) fn suspend_span(&mut self) {
        if let Some(Observed { span: Some(span), .. }) = &mut self.observed {
            span.suspend();
        }
    }

    pub(super) fn resume_span(&mut self) {
        if let Some(Observed { span: Some(span), .. }) = &mut self.observed {
            span.resume();
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
        if environment.observer.observes() {
            let context = job.call.context.as_deref();
            environment.observer.report(&FinishedCall {
                call_id: job.call.id,
                function_name: Arc::clone(&job.function.name),
                function_hash_sha1: job.function.module.hash,
                worker_id: self.worker.id,
                error: self.ended_with,
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

#[cold]
fn record_latencies(counters: &Counters, observed: &Observed, job: &Job) {
    let queued = job.call.queued(observed.begun);
    // Only a call on the caller's own thread does not wait at all.
    counters.record(observed.took, Some(queued).filter(|queued| !queued.is_zero()));
}
