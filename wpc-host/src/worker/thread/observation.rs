//! Collects what the observer of finished calls receives.

use super::Thread;
use crate::error::Error;
use crate::error::code::ErrorCode;
use crate::event::observer::FinishedCall;
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
}

impl Thread {
    #[cold]
    pub(super) fn observe(&mut self) {
        let begun = time::now();
        self.observed = Some(Observed { begun, took: Duration::ZERO, error: None });
    }

    #[inline]
    pub(super) fn note_outcome(&mut self, error: Option<&Error>) {
        if self.observed.is_some() {
            self.note_observed(error);
        }
    }

    #[cold]
    fn note_observed(&mut self, error: Option<&Error>) {
        if let Some(observed) = &mut self.observed {
            observed.took = time::now().saturating_duration_since(observed.begun);
            observed.error = error.map(Error::code);
        }
    }

    /// Reports the call that was answered to the observer, if there is one.
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
        environment.observer.report(&FinishedCall {
            call_id: job.call.id,
            function_name: Arc::clone(&job.function.name),
            function_hash_sha1: job.function.module.hash,
            worker_id: self.worker.id,
            error: observed.error,
            queued: job.call.queued(observed.begun),
            ran: observed.took,
            fuel_used: job.call.fuel_used(),
        });
        // A spent sandbox is dropped next.
        environment.is_occupied.store(self.spent.is_some(), Ordering::Relaxed);
    }
}
