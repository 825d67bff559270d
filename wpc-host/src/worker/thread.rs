//! What runs on a worker's thread: it takes jobs, finds or makes their sandboxes, answers, and keeps
//! the books of what failed. Nothing here is touched by another thread.

use super::Worker;
use super::current::{Finish, Running};
use super::sandbox_cache::SandboxCache;
use super::service_time::Sampler;
use crate::call::reply::{Body, RawReply, ReplyMetadata};
use crate::call::{Outcome, Reply};
use crate::codec::payload::{Payload, Refused};
use crate::error::Error;
use crate::error::code::ErrorCode;
use crate::event::observer::FinishedCall;
use crate::event::{Draft, EventDetails, EventSource, Events, FailureSeverities, HealthState};
use crate::registry::Definition;
use crate::registry::circuit_breaker::{CircuitBreaker, consequence};
use crate::registry::restart_policy::{Admission, Decision, RestartPolicy};
use crate::sandbox::{Request, Sandbox, keeps_sandbox};
use crate::sync::atomic::Ordering;
use crate::sync::thread::JoinHandle;
use crate::sync::{thread, time};
use crate::system::buffers::Buffers;
use crate::system::contain::contain;
use crate::system::os_limits;
use crate::worker::capacity::{Capacity, LiveSandbox};
use crate::worker::job::Job;
use crate::worker::overflow_queue::OverflowQueue;
use crate::worker::queue::Taken;
use rand::rngs::SmallRng;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a worker's thread needs beside the worker itself.
pub(crate) struct Equipment {
    pub(crate) policy: RestartPolicy,
    /// How long a call may take where its definition does not say.
    pub(crate) call_timeout: Duration,
    pub(crate) failure_severities: FailureSeverities,
    pub(crate) random: SmallRng,
    pub(crate) waiting: Arc<OverflowQueue>,
    pub(crate) capacity: Arc<Capacity>,
    pub(crate) buffers: Arc<Buffers>,
    /// Called when the thread is up, and again when it is about to end.
    pub(crate) on_change: Arc<dyn Fn() + Send + Sync>,
}

/// Starts the worker's thread.
pub(crate) fn spawn(worker: &Arc<Worker>, equipment: Equipment) -> Result<JoinHandle<()>, Error> {
    let thread = Thread::new(worker, equipment);
    // A guest's stack lies on its worker's.
    let stack = worker.environment.max_wasm_stack + 2 * 1024 * 1024;
    os_limits::start_thread(format_args!("the thread of {}", worker.id), stack, || {
        #[expect(clippy::disallowed_methods, reason = "workers are what threads are for")]
        thread::Builder::new()
            .name(format!("wpc-{}", worker.id))
            .stack_size(stack)
            // What a panic carries may panic as the thread's result is dropped, which would abort the process.
            .spawn(move || drop(contain(|| thread.run())))
    })
}

/// What only the worker's own thread touches.
pub(super) struct Thread {
    worker: Arc<Worker>,
    equipment: Equipment,
    sandbox_cache: SandboxCache,
    sampler: Sampler,
    /// The definition whose sandbox has served its time.
    spent: Option<Arc<Definition>>,
    /// What is known of the call that runs, where calls are observed.
    observed: Option<Observed>,
    /// Definitions that back off or are held here.
    degraded: Vec<Arc<Definition>>,
    /// Whether it may keep sandboxes of retired definitions.
    pub(super) has_stale: bool,
}

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

/// What is known of a call that was answered here.
pub(super) fn metadata(job: &Job, worker: &Worker) -> ReplyMetadata {
    ReplyMetadata {
        function_hash_sha1: job.function.module.hash,
        worker_id: worker.id,
        fuel_used: job.call.fuel_used(),
    }
}

/// Says that the thread is gone, however it goes.
struct Farewell {
    worker: Arc<Worker>,
    on_change: Arc<dyn Fn() + Send + Sync>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.worker.takes_calls.store(false, Ordering::Release);
        self.worker.is_busy.store(false, Ordering::SeqCst);
        self.worker.has_exited.store(true, Ordering::Release);
        (self.on_change)();
        self.worker.ticker.ring();
    }
}

/// When a call was begun, and the error it ended with.
struct Observed {
    begun: Instant,
    took: Duration,
    error: Option<ErrorCode>,
}

/// Why a job was not run.
enum Unserved {
    /// Its call has been answered.
    Answered,
    /// Its definition failed here, and may not be tried yet.
    NotAdmitted,
}

/// Answers the running call should the host panic under it.
struct Unanswered<'a> {
    worker: &'a Worker,
    job: &'a mut Job,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some(call) = self.worker.steal_running() else {
            // The thread that has taken it over answers it.
            self.job.is_disowned = true;
            return;
        };
        call.answer_with(|ran| {
            Err(Error::WorkerLost {
                function: call.function.to_string(),
                worker: self.worker.id,
                reason: "the host panicked; this is a bug of wpc or of a host function".to_owned(),
                ran,
            })
        });
    }
}

impl Thread {
    pub(super) fn new(worker: &Arc<Worker>, equipment: Equipment) -> Self {
        let sandbox_cache =
            SandboxCache::new(Arc::clone(&worker.idle), Arc::clone(&equipment.capacity));
        Self {
            worker: Arc::clone(worker),
            equipment,
            sandbox_cache,
            sampler: Sampler::default(),
            spent: None,
            observed: None,
            degraded: Vec::new(),
            has_stale: false,
        }
    }

    fn run(self) {
        let worker = Arc::clone(&self.worker);
        let on_change = Arc::clone(&self.equipment.on_change);
        let buffers = Arc::clone(&self.equipment.buffers);
        let _farewell = Farewell { worker: Arc::clone(&worker), on_change: Arc::clone(&on_change) };
        // Dropped before the farewell is said: whoever hears it may use the sandboxes' room.
        let mut thread = self;
        if worker.restart_attempt > 0 {
            thread.sandbox_cache.drop_orphans();
        }
        worker.set_health(HealthState::Ready, None);
        let ready = Draft::by(EventSource::Worker, EventDetails::WorkerReady {});
        thread.events().emit(ready.worker(worker.id));
        on_change();
        let rest = || worker.is_busy.store(false, Ordering::SeqCst);
        let resume = || {
            worker.is_busy.store(true, Ordering::SeqCst);
            worker.ticker.ring();
        };
        worker.ticker.ring();
        loop {
            match worker.queue.take(rest, resume) {
                Taken::Item(job) => {
                    if !thread.serve(&worker, &buffers, job) {
                        return;
                    }
                    if thread.has_stale && !worker.has_queued() {
                        thread.look_around();
                    }
                }
                Taken::Nudge => thread.look_around(),
                Taken::Closed => return,
            }
        }
    }

    fn events(&self) -> &Events {
        &self.worker.environment.events
    }

    /// Runs a job's call and answers it; false where the worker was abandoned meanwhile.
    #[must_use]
    fn serve(&mut self, worker: &Worker, buffers: &Arc<Buffers>, mut job: Job) -> bool {
        worker.environment.is_occupied.store(false, Ordering::Relaxed);
        let deadline = worker.ticker.nanos(job.call.deadline());
        let running = worker.current.begin(&job.call, deadline);
        let unanswered = Unanswered { worker, job: &mut job };
        if worker.ticker.coarse_now() > deadline {
            unanswered.job.call.expire(time::now());
        }
        if let Err(unserved) = self.take_up(unanswered.job) {
            std::mem::forget(unanswered);
            return self.put_down(worker, running, job, unserved);
        }

        let is_timed = !unanswered.job.is_warm_up && self.sampler.is_due(&worker.service_time);
        let begun = is_timed.then(time::now);
        let outcome = if unanswered.job.is_warm_up {
            self.warm(unanswered.job)
        } else {
            self.answer(unanswered.job, buffers)
        };

        if let Some(begun) = begun {
            worker.service_time.note(time::now().saturating_duration_since(begun));
        }

        std::mem::forget(unanswered);
        if worker.current.finish(running) == Finish::Stolen {
            job.is_disowned = true;
            return false;
        }
        // Only this thread writes it.
        worker.served.store(worker.served.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // Dropping a sandbox takes longer than a tiny call: no call is to queue behind that.
        worker.environment.is_occupied.store(self.spent.is_some(), Ordering::Relaxed);
        worker.give_back();
        job.call.answer_with(|_| outcome);
        self.report(&job);
        self.recycle();
        worker.environment.is_occupied.store(false, Ordering::Relaxed);
        if !self.equipment.waiting.is_empty() {
            worker.ticker.ring();
        }
        true
    }

    /// Begins the job's call, if it is still to be answered and may be tried here now.
    #[inline]
    fn take_up(&self, job: &mut Job) -> Result<(), Unserved> {
        if job.call.is_answered() {
            return Err(Unserved::Answered);
        }
        if !self.admits(job) {
            return Err(Unserved::NotAdmitted);
        }
        if job.call.begin() {
            return Ok(());
        }
        self.abandon_trial(job);
        Err(Unserved::Answered)
    }

    /// Lets go of a job that was not run; false where the worker was abandoned meanwhile.
    #[cold]
    fn put_down(
        &self,
        worker: &Worker,
        running: Running,
        mut job: Job,
        unserved: Unserved,
    ) -> bool {
        if worker.current.finish(running) == Finish::Stolen {
            job.is_disowned = true;
            return false;
        }
        match unserved {
            Unserved::Answered => worker.give_back(),
            Unserved::NotAdmitted => {
                if job.is_warm_up {
                    // Another worker's sandbox is of no use.
                    let function = job.function.name.to_string();
                    let reason = format!(
                        "it backs off or is held on {} after failures; try again later",
                        worker.id
                    );
                    worker.give_back();
                    job.call.answer_with(|_| Err(Error::Initialisation { function, reason }));
                } else {
                    // A stop that finds no slot taken finds the call in the overflow queue.
                    self.equipment.waiting.return_to(job);
                    worker.give_back();
                }
                worker.ticker.ring();
            }
        }
        true
    }

    /// Whether the job's definition may be tried here now.
    #[inline(always)]
    pub(super) fn admits(&self, job: &mut Job) -> bool {
        job.circuit_breaker().is_none_or(CircuitBreaker::is_whole)
            || self.admits_after_failures(job)
    }

    #[cold]
    fn admits_after_failures(&self, job: &mut Job) -> bool {
        let Some(circuit_breaker) = job.circuit_breaker() else { return true };
        let now = time::now();
        match circuit_breaker.admit(self.worker.id, &self.equipment.policy, now) {
            Admission::Yes => true,
            Admission::Trial => {
                job.is_trial = true;
                self.tell(
                    EventDetails::SandboxRevived { function_name: job.function.name.to_string() },
                    job,
                    None,
                );
                true
            }
            Admission::From(_) | Admission::Held { .. } => false,
        }
    }

    /// The reply for whoever waits for it.
    fn answer(&mut self, job: &mut Job, buffers: &Arc<Buffers>) -> Outcome {
        let mut body = None;
        let arguments = std::mem::take(&mut job.arguments);
        let error = |body: &Body| body.error().cloned();
        let read =
            |reply: RawReply<'_>, room| reply.to_body(room, buffers, || job.function.callee());
        self.execute(job, arguments, &mut body, read, error).map_err(|error| *error)?;
        match body {
            Some(body) => Ok(Reply { body, metadata: metadata(job, &self.worker) }),
            None => unreachable!("an answered call's reply was read"),
        }
    }

    /// Runs the job's call with its arguments, which `read` has back when it takes what is wanted of the reply where
    /// that lies, and that goes into `value`; `error` tells listeners which error it carries, if any.
    // Here and below: one way in, taken by every call. What a call frame costs counts, and results move less.
    #[inline(always)]
    pub(super) fn execute<A: Payload, T>(
        &mut self,
        job: &Job,
        arguments: A,
        value: &mut Option<T>,
        read: impl FnOnce(RawReply<'_>, A) -> T,
        error: impl FnOnce(&T) -> Option<Error>,
    ) -> Result<(), Box<Error>> {
        if self.worker.environment.observer.is_set() {
            self.observe();
        }
        let definition = definition(job)?;
        let request = request(job, definition);
        self.has_stale |= definition.is_retired();
        let mut is_spent = false;
        let result = self.sandbox(definition, &request).and_then(|(sandbox, has_answered)| {
            let result = sandbox.call(&request, arguments, |reply, room| {
                *value = Some(read(reply, room));
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
                self.note_outcome(Some(error));
                self.failed(job, definition, error);
            }
        }
        result
    }

    /// Makes the sandbox of a warm-up, which is no verdict on the function.
    fn warm(&mut self, job: &Job) -> Outcome {
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

    /// The definition's sandbox here, made now if there is none, and whether it has answered since it last
    /// failed.
    #[inline(always)]
    fn sandbox(
        &mut self,
        definition: &Arc<Definition>,
        request: &Request<'_>,
    ) -> Result<(&mut Sandbox, &mut bool), Box<Error>> {
        if self.sandbox_cache.of(definition).sandbox.is_none() {
            self.make_sandbox(definition, request)?;
        }
        let kept = self.sandbox_cache.of(definition);
        match &mut kept.sandbox {
            Some(live) => Ok((&mut live.sandbox, &mut kept.has_answered)),
            None => unreachable!("it was just made"),
        }
    }

    #[cold]
    fn make_sandbox(
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
        self.sandbox_cache.of(definition).sandbox = Some(LiveSandbox::new(sandbox, reservation));
        Ok(())
    }

    /// Drops the sandbox that ran the last job if it has served its time. Its caller has the answer.
    #[inline]
    pub(super) fn recycle(&mut self) {
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
        // A worker that was given up comes too late to say anything.
        let counts = !self.worker.environment.stopping.load(Ordering::Acquire);
        if counts
            && !definition.circuit_breaker.is_whole()
            && definition.circuit_breaker.recovered(self.worker.id)
        {
            let function_name = job.function.name.to_string();
            self.tell(EventDetails::SandboxRecovered { function_name }, job, None);
            self.forget_troubles();
        }
        // The guest ended by itself, but its caller gets an error: listeners hear of that.
        if let Some(error) = error() {
            self.tell_failed_call(job, &error);
            self.note_outcome(Some(&error));
        } else {
            self.note_outcome(None);
        }
    }

    #[cold]
    fn observe(&mut self) {
        let begun = time::now();
        self.observed = Some(Observed { begun, took: Duration::ZERO, error: None });
    }

    #[inline]
    fn note_outcome(&mut self, error: Option<&Error>) {
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

    /// Reports the call that was answered, where calls are observed.
    #[inline]
    pub(super) fn report(&mut self, job: &Job) {
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
        // Dropping a spent sandbox comes next.
        environment.is_occupied.store(self.spent.is_some(), Ordering::Relaxed);
    }

    /// Takes note of a failure: the sandbox goes, and the policy says when the next one may come.
    fn failed(&mut self, job: &Job, definition: &Arc<Definition>, error: &Error) {
        if !Refused::caused(error) {
            self.tell_failed_call(job, error);
        }
        if keeps_sandbox(error) {
            self.abandon_trial(job);
            return;
        }
        self.sandbox_cache.discard(definition);
        if self.was_asked_for(job, definition, error)
            || self.worker.environment.stopping.load(Ordering::Acquire)
        {
            self.abandon_trial(job);
            return;
        }
        self.tell(
            EventDetails::SandboxFailed { function_name: job.function.name.to_string() },
            job,
            Some(error),
        );
        let had_answered = std::mem::take(&mut self.sandbox_cache.of(definition).has_answered);
        let decision = definition.circuit_breaker.failed(
            self.worker.id,
            had_answered,
            error,
            &self.equipment.policy,
            time::now(),
            &mut self.equipment.random,
        );
        let (error, trouble) = match decision {
            Decision::Hold { .. } => (Some(error), Some("is held")),
            Decision::RestartAfter { delay, .. } if !delay.is_zero() => (None, Some("backs off")),
            Decision::RestartNow { .. } | Decision::RestartAfter { .. } => (None, None),
        };
        self.tell(consequence(decision, &job.function.name), job, error);
        if let Some(trouble) = trouble {
            self.remember_trouble(definition, &job.function.name, trouble);
        }
    }

    /// Whether the caller or the operator asked for this end, so that it is not evidence against the function: by a cancel, a
    /// stop, or a bound below the definition's own.
    fn was_asked_for(&self, job: &Job, definition: &Definition, error: &Error) -> bool {
        match error {
            Error::Cancelled { .. } | Error::Stopped { .. } => true,
            Error::Timeout { limit, .. } => {
                *limit < definition.limits.time.unwrap_or(self.equipment.call_timeout)
            }
            Error::OutOfFuel { .. } => job.fuel < definition.limits.fuel && job.fuel.is_some(),
            _ => false,
        }
    }

    /// A trial that ended without a verdict may be made again.
    fn abandon_trial(&self, job: &Job) {
        if let Some(circuit_breaker) = job.circuit_breaker().filter(|_| job.is_trial) {
            circuit_breaker.abandon_trial(self.worker.id, time::now());
        }
    }

    fn remember_trouble(&mut self, definition: &Arc<Definition>, function: &str, what: &str) {
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
            self.worker.tell_health(HealthState::Degraded, Some(&reason));
        }
    }

    /// Forgets troubles that are over: answered again, redefined, revived.
    fn forget_troubles(&mut self) {
        if self.degraded.is_empty() {
            return;
        }
        let id = self.worker.id;
        self.degraded.retain(|definition| {
            !definition.is_retired() && definition.circuit_breaker.troubles(id)
        });
        self.worker.degraded.store(self.degraded.len(), Ordering::Release);
        if self.degraded.is_empty() {
            self.worker.tell_health(HealthState::Ready, Some("every function serves again"));
        }
    }

    /// Drops what is no longer needed.
    pub(super) fn look_around(&mut self) {
        self.has_stale = false;
        self.sandbox_cache.forget_retired();
        self.sandbox_cache.yield_to_others();
        self.forget_troubles();
    }

    fn tell_failed_call(&self, job: &Job, error: &Error) {
        let function_name = job.function.name.to_string();
        let severity = self.equipment.failure_severities.of(error);
        let draft = self.draft(EventDetails::CallExecutionFailed { function_name }, job);
        self.events().emit(draft.error(error).severity(severity));
    }

    fn tell(&self, details: EventDetails, job: &Job, error: Option<&Error>) {
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
