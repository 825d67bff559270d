//! Runs one call in the sandbox of its definition.

use super::Thread;
use crate::call::reply::{Body, BorrowedReply, OwnedReply, ReplyMetadata};
use crate::call::{Call, Outcome};
use crate::codec::payload::Payload;
use crate::error::Error;
use crate::event::EventDetails;
use crate::host_function::drive;
use crate::registry::{Definition, Function};
use crate::sandbox::{Request, Sandbox};
use crate::sync::atomic::Ordering;
use crate::sync::time;
use crate::system::buffers::Buffers;
use crate::worker::Worker;
use crate::worker::capacity::{LiveSandbox, Reservation};
use crate::worker::job::Job;
use crate::worker::sandbox_cache::Entry;
use std::sync::Arc;

/// What was read from the guest's reply, which may be an error of the function; or why the guest did not reply.
pub(super) type Reply<T> = Result<Result<T, Box<Error>>, Box<Error>>;

#[inline]
pub(super) fn request<'a>(
    call: &'a Arc<Call>,
    function: &'a Function,
    definition: &Definition,
    fuel: Option<u64>,
) -> Request<'a> {
    Request {
        call,
        export: function.export(),
        export_at: function.export,
        fuel: definition.limits.fuel.map(|own| fuel.unwrap_or(own)),
    }
}

#[inline]
pub(super) fn request_of(job: &Job) -> Request<'_> {
    request(&job.call, &job.function, &job.definition, job.fuel)
}

/// The metadata of a call that this worker answered.
#[inline]
pub(in crate::worker) fn metadata(job: &Job, worker: &Worker) -> ReplyMetadata {
    ReplyMetadata {
        function_hash_sha1: job.function.module.hash,
        worker_id: worker.id,
        fuel_used: job.call.fuel_used(),
    }
}

impl Thread {
    /// Runs the job's call, and returns its reply as the caller will receive it.
    pub(super) fn run_call(&mut self, job: &mut Job, buffers: &Arc<Buffers>) -> Outcome {
        let arguments = std::mem::take(&mut job.arguments);
        let read = |reply: BorrowedReply<'_>, buffer| {
            reply.to_body(buffer, buffers, || job.function.callee())
        };
        let body = self.execute(job, arguments, read).map_err(|error| *error)?;
        Ok(OwnedReply { body, metadata: metadata(job, &self.worker) })
    }

    /// Runs the job's call, whose definition cannot suspend, and returns what `read` returns for the reply. `read` gets it in the
    /// guest's memory, and the arguments back so that it can reuse their buffer. It returns an error if the guest replied
    /// with one.
    // Every call takes this path once: inlining here and below saves call frames and moves of results.
    #[inline(always)]
    pub(in crate::worker) fn execute<A: Payload, T>(
        &mut self,
        job: &Job,
        arguments: A,
        read: impl FnOnce(BorrowedReply<'_>, A) -> Result<T, Box<Error>>,
    ) -> Result<T, Box<Error>> {
        self.begin_observation(job);
        let (definition, request) = (&job.definition, request_of(job));
        self.has_stale |= definition.is_retired();
        let (sandbox, has_answered) = match self.sandbox_cache.entry(definition) {
            Entry { sandbox: Some(live), has_answered, .. } => (&mut *live.sandbox, has_answered),
            _ => match self.create_sandbox(definition, &request) {
                Ok(created) => created,
                Err(error) => return self.record(job, Err(error)),
            },
        };
        let result = sandbox.call(&request, arguments, read);
        *has_answered |= result.is_ok();
        if sandbox.is_spent(&definition.limits) {
            self.spent = Some(Arc::clone(definition));
        }
        self.record(job, result)
    }

    /// Records how a call ended, and returns what was read from the guest's reply.
    #[inline(always)]
    pub(super) fn record<T>(&mut self, job: &Job, reply: Reply<T>) -> Result<T, Box<Error>> {
        match reply {
            Ok(value) => {
                self.succeeded(job, value.as_ref().err().map(|error| &**error));
                value
            }
            Err(error) => {
                self.note_error(&error);
                self.failed(job, &error);
                self.leave_span();
                Err(error)
            }
        }
    }

    /// Creates the sandbox of a warm-up. Its success does not close the function's circuit breaker.
    pub(super) fn warm(&mut self, job: &Job) -> Outcome {
        self.has_stale |= job.definition.is_retired();
        let sandbox = match self.sandbox_cache.entry(&job.definition) {
            Entry { sandbox: Some(live), .. } => Ok(&mut *live.sandbox),
            _ => self.create_sandbox(&job.definition, &request_of(job)).map(|(sandbox, _)| sandbox),
        };
        match sandbox {
            Ok(sandbox) => sandbox.settle(),
            Err(error) => {
                self.failed(job, &error);
                return Err(*error);
            }
        }
        self.abandon_trial(job);
        Ok(OwnedReply { body: Body::nothing(), metadata: metadata(job, &self.worker) })
    }

    /// Creates the sandbox of a job's call, and drops it. Nothing is recorded about it.
    pub(in crate::worker) fn instantiate(&mut self, job: &Job) -> Result<(), Box<Error>> {
        let (definition, request) = (&job.definition, request_of(job));
        let reservation = self.reserve(definition, request.call)?;
        let (environment, blueprint) = (&self.worker.environment, &definition.blueprint);
        let sandbox = if definition.can_suspend {
            let guest = Sandbox::new_on_fiber(blueprint, &definition.limits, environment, &request);
            // The guest itself checks whether its call should end.
            drive(guest, || None).map_err(|interrupt| request.call.error_of(interrupt, true))??
        } else {
            Sandbox::new(blueprint, &definition.limits, environment, &request)?
        };
        drop(LiveSandbox::new(sandbox, reservation));
        Ok(())
    }

    /// Creates the definition's sandbox on this worker. Returns it, and whether the definition has answered since it last
    /// failed.
    #[cold]
    fn create_sandbox(
        &mut self,
        definition: &Arc<Definition>,
        request: &Request<'_>,
    ) -> Result<(&mut Sandbox, &mut bool), Box<Error>> {
        let reservation = self.reserve(definition, request.call)?;
        let (environment, blueprint) = (&self.worker.environment, &definition.blueprint);
        let sandbox = Sandbox::new(blueprint, &definition.limits, environment, request)?;
        let entry = self.sandbox_cache.entry(definition);
        let live = entry.sandbox.insert(LiveSandbox::new(sandbox, reservation));
        Ok((&mut *live.sandbox, &mut entry.has_answered))
    }

    /// Reserves instances for a sandbox of the call.
    #[cold]
    pub(super) fn reserve(
        &mut self,
        definition: &Arc<Definition>,
        call: &Call,
    ) -> Result<Reservation, Box<Error>> {
        let interrupt = || call.should_end(&self.worker.environment.stopping, time::now());
        let (needed, ticker) = (definition.blueprint.instances(), &self.worker.ticker);
        self.sandbox_cache.reserve(needed, || interrupt().is_some(), || ticker.notify()).map_err(
            |_| {
                if let Some(interrupt) = interrupt() {
                    return call.error_of(interrupt, false).into();
                }
                let (function, limit) = (call.function.to_string(), self.sandbox_cache.capacity());
                Error::InstancesInUse { function, needed, limit }.into()
            },
        )
    }

    /// Drops the sandbox that ran the last job if it is due for recycling. The caller has been answered before.
    #[inline]
    pub(in crate::worker) fn recycle(&mut self) {
        if let Some(definition) = self.spent.take() {
            self.sandbox_cache.discard(&definition);
        }
    }

    /// Records a call whose guest returned, with the error that its reply carries, if any.
    #[inline]
    pub(super) fn succeeded(&mut self, job: &Job, error: Option<&Error>) {
        if !job.definition.circuit_breaker.is_closed() {
            self.succeeded_after_failures(job);
        }
        if let Some(error) = error {
            self.emit_failed_call(job, error);
        }
        self.note_outcome(error);
    }

    #[cold]
    fn succeeded_after_failures(&mut self, job: &Job) {
        // The success of an abandoned worker does not count.
        let counts = !self.worker.environment.stopping.load(Ordering::Acquire)
            && !self.began_before_failure(&job.definition);
        if counts && job.definition.circuit_breaker.recovered(self.worker.id) {
            let function_name = job.function.name.to_string();
            self.emit(EventDetails::SandboxRecovered { function_name }, job, None);
            self.clear_degraded();
        }
    }
}
