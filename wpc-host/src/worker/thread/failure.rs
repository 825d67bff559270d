//! Applies failures to the sandbox, the circuit breaker and the worker's health.

use super::Thread;
use crate::codec::payload::Refused;
use crate::error::Error;
use crate::event::{Draft, EventDetails, EventSource, HealthState};
use crate::id::CallContext;
use crate::registry::Definition;
use crate::registry::circuit_breaker::consequence;
use crate::registry::restart_policy::{Admission, Decision};
use crate::sandbox::keeps_sandbox;
use crate::sync::atomic::Ordering;
use crate::sync::time;
use crate::worker::job::Job;
use std::sync::Arc;
use std::time::Duration;

/// How late a worker may start a call so that reaching the time limit still counts as a failure of the function; at most an
/// eighth of the limit. Waking a thread takes up to several milliseconds on a busy machine.
const MAX_START_DELAY: Duration = Duration::from_millis(10);

impl Thread {
    /// Whether this worker may run the job's definition at the moment.
    #[inline(always)]
    pub(in crate::worker) fn admits(&self, job: &mut Job) -> bool {
        job.definition.circuit_breaker.is_closed() || self.admits_after_failures(job)
    }

    #[cold]
    fn admits_after_failures(&self, job: &mut Job) -> bool {
        let circuit_breaker = &job.definition.circuit_breaker;
        match circuit_breaker.admit(self.worker.id, &self.context.policy, time::now()) {
            Admission::Yes => true,
            Admission::Trial => {
                job.is_trial = true;
                self.emit(
                    EventDetails::SandboxRevived { function_name: job.function.name.to_string() },
                    job,
                    None,
                );
                true
            }
            Admission::From(_) | Admission::Open { .. } => false,
        }
    }

    /// Records a failure: drops the sandbox, and lets the policy decide when the next one may be created.
    pub(super) fn failed(&mut self, job: &Job, error: &Error) {
        let definition = &job.definition;
        if !Refused::caused(error) {
            self.emit_failed_call(job, error);
        }
        if keeps_sandbox(error) {
            self.abandon_trial(job);
            return;
        }
        if !definition.can_suspend {
            self.sandbox_cache.discard(definition);
        }
        if self.is_caused_elsewhere(job, error)
            || self.began_before_failure(definition)
            || self.worker.environment.stopping.load(Ordering::Acquire)
        {
            self.abandon_trial(job);
            return;
        }
        job.function.meter.count_sandbox_failure();
        self.emit(
            EventDetails::SandboxFailed { function_name: job.function.name.to_string() },
            job,
            Some(error),
        );
        let entry = self.sandbox_cache.entry(definition);
        let had_answered = std::mem::take(&mut entry.has_answered);
        if definition.can_suspend {
            entry.failed_at = Some(time::now());
        }
        let decision = definition.circuit_breaker.failed(
            self.worker.id,
            had_answered,
            error,
            &self.context.policy,
            time::now(),
            &mut self.context.random,
        );
        let (error, trouble) = match decision {
            Decision::Open { .. } => (Some(error), Some("has an open circuit breaker")),
            Decision::Restart { delay, .. } if !delay.is_zero() => (None, Some("backs off")),
            Decision::Restart { .. } => (None, None),
        };
        self.emit(consequence(decision, &job.function.name), job, error);
        if let Some(trouble) = trouble {
            self.mark_degraded(definition, &job.function.name, trouble);
        }
    }

    /// Whether the running call began before its definition last failed on this worker, as calls that were suspended
    /// meanwhile did. One outage ends many of them: together they are one failure, and their success is not a recovery.
    pub(super) fn began_before_failure(&mut self, definition: &Arc<Definition>) -> bool {
        definition.can_suspend
            && self
                .sandbox_cache
                .entry(definition)
                .failed_at
                .zip(self.begun)
                .is_some_and(|(failed_at, begun)| begun < failed_at)
    }

    /// Whether this end is not a failure of the function, because the caller, the operator or the load caused it:
    ///
    /// * a cancel or a stop;
    /// * a time limit that passed while the call waited for module instances, before its guest ran;
    /// * a limit of the caller below the definition's own;
    /// * a time limit that passed before the function ran for as long as its definition allows, because the call waited
    ///   in a queue, for its caller to read items, or for functions that it called;
    /// * an item that the caller does not read.
    fn is_caused_elsewhere(&self, job: &Job, error: &Error) -> bool {
        let limits = &job.definition.limits;
        match error {
            Error::Cancelled { .. } | Error::Stopped { .. } | Error::Timeout { ran: false, .. } => {
                true
            }
            Error::Timeout { limit, .. } => {
                let own = limits.timeout.unwrap_or(self.context.call_timeout);
                // A called function has the deadline of its caller, so its limit is shorter, if only by the time before the
                // call.
                let is_callers = *limit < own && job.call.depth == 0;
                is_callers || self.ran(job) < own.saturating_sub(MAX_START_DELAY.min(own / 8))
            }
            Error::YieldsItems { .. } => true,
            Error::OutOfFuel { .. } => job.fuel < limits.fuel && job.fuel.is_some(),
            _ => false,
        }
    }

    /// How long the running call has run, apart from the time in which it waited for its caller to read items, or for
    /// functions that it called.
    fn ran(&self, job: &Job) -> Duration {
        let now = time::now();
        let since_acceptance = || job.call.queued(now);
        let ran =
            self.begun.map_or_else(since_acceptance, |begun| now.saturating_duration_since(begun));
        let ran = ran.saturating_sub(job.call.nested());
        match &job.call.items {
            Some(items) => ran.saturating_sub(items.suspended(now)),
            None => ran,
        }
    }

    /// Lets a trial that ended without a result be repeated.
    pub(super) fn abandon_trial(&self, job: &Job) {
        if job.is_trial {
            job.definition.circuit_breaker.abandon_trial(self.worker.id, time::now());
        }
    }

    fn mark_degraded(&mut self, definition: &Arc<Definition>, function: &str, what: &str) {
        if definition.is_retired() {
            return;
        }
        if self.degraded.iter().any(|other| other.generation == definition.generation) {
            return;
        }
        self.degraded.push(Arc::clone(definition));
        self.worker.degraded.store(self.degraded.len(), Ordering::Release);
        if self.degraded.len() == 1 {
            let reason = format!("function \"{function}\" {what}");
            self.worker.emit_health(HealthState::Degraded, Some(&reason));
        }
    }

    /// Removes definitions that are no longer degraded: they answered again, were redefined or were revived.
    pub(super) fn clear_degraded(&mut self) {
        if self.degraded.is_empty() {
            return;
        }
        let id = self.worker.id;
        self.degraded.retain(|definition| {
            !definition.is_retired() && definition.circuit_breaker.has_failed_on(id)
        });
        self.worker.degraded.store(self.degraded.len(), Ordering::Release);
        if self.degraded.is_empty() {
            self.worker.emit_health(HealthState::Ready, Some("every function runs again"));
        }
    }

    #[cold]
    pub(super) fn emit_failed_call(&self, job: &Job, error: &Error) {
        let context = job.call.context.as_deref();
        let details = EventDetails::CallExecutionFailed {
            function_name: job.function.name.to_string(),
            correlation_id: context.and_then(CallContext::correlation_id).map(str::to_owned),
            traceparent: context.and_then(CallContext::traceparent),
        };
        let severity = self.context.failure_severities.of(error);
        let draft = self.draft(details, job);
        self.events().emit(draft.error(error).severity(severity));
    }

    pub(super) fn emit(&self, details: EventDetails, job: &Job, error: Option<&Error>) {
        let draft = self.draft(details, job);
        self.events().emit(match error {
            Some(error) => draft.error(error),
            None => draft,
        });
    }

    fn draft(&self, details: EventDetails, job: &Job) -> Draft {
        Draft::by(EventSource::Worker, details).worker(self.worker.id).call(job.call.id)
    }
}
