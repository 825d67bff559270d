//! Runs one call in the sandbox of its definition.

use super::Thread;
use super::span::Span;
use crate::call::reply::{Body, RawReply, ReplyMetadata};
use crate::call::{Outcome, Reply};
use crate::codec::payload::Payload;
use crate::error::Error;
use crate::event::EventDetails;
use crate::registry::Definition;
use crate::sandbox::{Request, Sandbox};
use crate::sync::atomic::Ordering;
use crate::sync::time;
use crate::system::buffers::Buffers;
use crate::worker::Worker;
use crate::worker::capacity::LiveSandbox;
use crate::worker::job::Job;
use std::sync::Arc;

/// The definition that a job's call was accepted with.
#[inline(always)]
fn definition(job: &Job) -> Result<&Arc<Definition>, Box<Error>> {
    job.function.definition.as_ref().map_err(|alias| {
        let (function, alias) = (job.function.name.to_string(), alias.to_string());
        Error::DependencyNotDefined { function, alias }.into()
    })
}

fn request<'a>(job: &'a Job, definition: &Definition) -> Request<'a> {
    Request {
        call: &job.call,
        export: job.function.export(),
        export_at: job.function.export,
        fuel: definition.limits.fuel.map(|fuel| job.fuel.unwrap_or(fuel)),
    }
}

/// The metadata of a call that this worker answered.
pub(in crate::worker) fn metadata(job: &Job, worker: &Worker) -> ReplyMetadata {
    ReplyMetadata {
        function_hash_sha1: job.function.module.hash,
        worker_id: worker.id,
        fuel_used: job.call.fuel_used(),
    }
}

impl Thread {
    /// Runs the job's call, and returns its reply as the caller will receive it.
    pub(super) fn answer(&mut self, job: &mut Job, buffers: &Arc<Buffers>) -> Outcome {
        let mut body = None;
        let arguments = std::mem::take(&mut job.arguments);
        let error = |body: &Body| body.error().cloned();
        let read =
            |reply: RawReply<'_>, buffer| reply.to_body(buffer, buffers, || job.function.callee());
        self.execute(job, arguments, &mut body, read, error).map_err(|error| *error)?;
        match body {
            Some(body) => Ok(Reply { body, metadata: metadata(job, &self.worker) }),
            None => unreachable!("an answered call's reply was read"),
        }
    }

    /// Runs the job's call with its arguments, and stores in `value` what `read` returns for the reply. `read` gets the
    /// reply in the guest's memory, and the arguments back so that it can reuse their buffer. `error` returns the error
    /// that a value carries, if any, for listeners.
    // Every call takes this path once: inlining here and below saves call frames and moves of results.
    #[inline(always)]
    pub(in crate::worker) fn execute<A: Payload, T>(
        &mut self,
        job: &Job,
        arguments: A,
        value: &mut Option<T>,
        read: impl FnOnce(RawReply<'_>, A) -> T,
        error: impl FnOnce(&T) -> Option<Error>,
    ) -> Result<(), Box<Error>> {
        if self.worker.environment.observer.is_set() || Span::may_be_enabled() {
            self.observe(job);
        }
        let definition = definition(job)?;
        let request = request(job, definition);
        self.has_stale |= definition.is_retired();
        let mut is_spent = false;
        let result = self.sandbox(definition, &request).and_then(|(sandbox, has_answered)| {
            let result = sandbox.call(&request, arguments, |reply, arguments| {
                *value = Some(read(reply, arguments));
            });
            *has_answered |= result.is_ok();
            is_spent = sandbox.is_spent(&definition.limits);
            result
        });
        if is_spent {
            self.spent = Some(Arc::clone(definition));
        }
        match &result {
            Ok(()) => self.succeeded(job, definition, || value.as_ref().and_then(error)),
            Err(error) => {
                self.note_error(error);
                self.failed(job, definition, error);
                self.leave_span();
            }
        }
        result
    }

    /// Creates the sandbox of a warm-up. Its success does not close the function's circuit breaker.
    pub(super) fn warm(&mut self, job: &Job) -> Outcome {
        let definition = definition(job).map_err(|error| *error)?;
        let request = request(job, definition);
        self.has_stale |= definition.is_retired();
        match self.sandbox(definition, &request) {
            Ok((sandbox, _)) => sandbox.settle(),
            Err(error) => {
                self.failed(job, definition, &error);
                return Err(*error);
            }
        }
        self.abandon_trial(job);
        Ok(Reply { body: Body::nothing(), metadata: metadata(job, &self.worker) })
    }

    /// Returns the definition's sandbox on this worker, which it creates if necessary, and whether the definition has
    /// answered since it last failed.
    #[inline(always)]
    fn sandbox(
        &mut self,
        definition: &Arc<Definition>,
        request: &Request<'_>,
    ) -> Result<(&mut Sandbox, &mut bool), Box<Error>> {
        if self.sandbox_cache.entry(definition).sandbox.is_none() {
            self.create_sandbox(definition, request)?;
        }
        let kept = self.sandbox_cache.entry(definition);
        match &mut kept.sandbox {
            Some(live) => Ok((&mut live.sandbox, &mut kept.has_answered)),
            None => unreachable!("the sandbox was just created"),
        }
    }

    #[cold]
    fn create_sandbox(
        &mut self,
        definition: &Arc<Definition>,
        request: &Request<'_>,
    ) -> Result<(), Box<Error>> {
        let (environment, blueprint) = (&self.worker.environment, &definition.blueprint);
        let interrupt = || request.call.should_end(&environment.stopping, time::now());
        let (needed, ticker) = (blueprint.instances(), &self.worker.ticker);
        let reserved =
            self.sandbox_cache.reserve(needed, || interrupt().is_some(), || ticker.ring());
        let Ok(reservation) = reserved else {
            if let Some(interrupt) = interrupt() {
                return Err(request.call.error_of(interrupt, false).into());
            }
            let function = request.call.function.to_string();
            let limit = self.sandbox_cache.capacity();
            return Err(Error::InstancesInUse { function, needed, limit }.into());
        };
        let sandbox = Sandbox::new(blueprint, &definition.limits, environment, request)?;
        self.sandbox_cache.entry(definition).sandbox = Some(LiveSandbox::new(sandbox, reservation));
        Ok(())
    }

    /// Drops the sandbox that ran the last job if it is due for recycling. The caller has been answered before.
    #[inline]
    pub(in crate::worker) fn recycle(&mut self) {
        if let Some(definition) = self.spent.take() {
            self.sandbox_cache.discard(&definition);
        }
    }

    #[inline]
    fn succeeded(
        &mut self,
        job: &Job,
        definition: &Arc<Definition>,
        error: impl FnOnce() -> Option<Error>,
    ) {
        // The success of an abandoned worker does not count.
        let counts = !self.worker.environment.stopping.load(Ordering::Acquire);
        if counts
            && !definition.circuit_breaker.is_whole()
            && definition.circuit_breaker.recovered(self.worker.id)
        {
            let function_name = job.function.name.to_string();
            self.emit(EventDetails::SandboxRecovered { function_name }, job, None);
            self.clear_degraded();
        }
        // The guest returned normally, but with an error for its caller, which is reported to listeners.
        if let Some(error) = error() {
            self.emit_failed_call(job, &error);
            self.note_outcome(Some(&error));
        } else {
            self.note_outcome(None);
        }
    }
}
