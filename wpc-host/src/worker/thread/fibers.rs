//! Calls on fibers: while one is suspended, the thread runs others.

use super::execution::{Reply, metadata, request, request_of};
use super::observation::Observed;
use super::{Thread, Unanswered, Unserved};
use crate::call::reply::{Body, BorrowedReply, OwnedReply};
use crate::call::{Call, Interrupt, Outcome};
use crate::codec::payload::Payload;
use crate::error::Error;
use crate::host_function::drive;
use crate::id::Generation;
use crate::registry::{Definition, Function};
use crate::sandbox::{Environment, Request, Sandbox, keeps_sandbox};
use crate::sync::time;
use crate::system::buffers::Buffers;
use crate::worker::Worker;
use crate::worker::capacity::{Admission, LiveSandbox, Reservation};
use crate::worker::current::{Finish, Token};
use crate::worker::job::Job;
use crate::worker::suspended::{SuspendedCall, TaskId, TaskWaker};
use crate::worker::waiting::need;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::hash_map::Entry;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// The calls on fibers of a worker's thread.
#[derive(Default)]
pub(super) struct Fibers {
    suspended: FxHashMap<TaskId, Box<Task>>,
    /// How many sandboxes of each definition are in use.
    in_use: FxHashMap<Generation, usize>,
    /// Whether a sandbox may be free for jobs that wait.
    has_freed: bool,
    last: u64,
}

/// A call on a fiber.
struct Task {
    id: TaskId,
    job: Job,
    guest: Pin<Box<dyn Future<Output = Ended> + Send>>,
    wakes: Arc<TaskWaker>,
    waker: Waker,
    begun: Option<Instant>,
    observed: Option<Observed>,
    /// Dropped last: then the sandbox is idle or gone.
    _admission: Admission,
}

/// The sandbox after a call, unless it could not be created, and what the guest replied.
struct Ended {
    live: Option<LiveSandbox>,
    reply: Reply<Body>,
}

/// Where a call's sandbox comes from.
enum Source {
    Kept(LiveSandbox),
    New(Reservation),
}

impl Fibers {
    /// Whether no call is suspended.
    pub(super) fn is_empty(&self) -> bool {
        self.suspended.is_empty()
    }

    /// Whether a sandbox may be free for jobs that wait.
    pub(super) fn has_freed(&self) -> bool {
        self.has_freed
    }

    fn in_use(&self, definition: &Definition) -> usize {
        self.in_use.get(&definition.generation).copied().unwrap_or_default()
    }

    /// Whether the job's call may begin. Each level of nested calls may exceed the limit by one more. Therefore no call waits
    /// for a sandbox that is in use by one of its own callers or by a caller of another waiting call.
    fn may_begin(&self, job: &Job) -> bool {
        let most = job.definition.limits.max_concurrent_calls.saturating_add(job.call.depth);
        self.in_use(&job.definition) < most
    }

    fn acquire(&mut self, definition: &Definition) -> TaskId {
        *self.in_use.entry(definition.generation).or_default() += 1;
        self.last += 1;
        TaskId(self.last)
    }

    fn release(&mut self, definition: &Definition) {
        if let Entry::Occupied(mut count) = self.in_use.entry(definition.generation) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        self.has_freed = true;
    }
}

impl Thread {
    /// Runs a job's call on a fiber until it ends or is suspended, or keeps the job until a sandbox is free. Returns false if
    /// the worker was abandoned in the meantime.
    #[inline(never)]
    #[must_use]
    pub(super) fn serve_on_fiber(
        &mut self,
        worker: &Arc<Worker>,
        buffers: &Arc<Buffers>,
        job: Job,
    ) -> bool {
        if worker.ticker.coarse_now() > job.deadline {
            job.call.expire(time::now());
        }
        // An answered call does not run, so it needs no sandbox.
        let source = if job.call.is_answered() { None } else { self.source(&job) };
        if source.is_none() && !job.call.is_answered() {
            worker.keep_waiting(job);
            return true;
        }
        self.begin_on_fiber(worker, buffers, job, source)
    }

    /// Begins a job's call in this sandbox. Without one, the call was answered.
    fn begin_on_fiber(
        &mut self,
        worker: &Arc<Worker>,
        buffers: &Arc<Buffers>,
        mut job: Job,
        source: Option<(Source, Admission)>,
    ) -> bool {
        let token = worker.current.begin(&job.call, job.deadline);
        let source = match (self.begin(&mut job), source) {
            (Ok(()), Some(source)) => source,
            (begun, source) => {
                if let Some((Source::Kept(live), _)) = source {
                    self.sandbox_cache.keep(&job.definition, live, usize::MAX);
                }
                self.fibers.has_freed = true;
                let unserved = begun.err().unwrap_or(Unserved::Answered);
                return self.release(worker, token, job, unserved);
            }
        };
        self.begun = Some(time::now());
        self.begin_observation(&job);
        let task = self.task(worker, buffers, job, source);
        self.poll(worker, token, task)
    }

    /// Resumes a suspended call. If another thread has answered it, drops its guest. Returns false if the worker was abandoned
    /// in the meantime.
    #[inline(never)]
    #[must_use]
    pub(super) fn resume(&mut self, worker: &Arc<Worker>, id: TaskId) -> bool {
        // A waker may be used after its call has ended.
        let Some(mut task) = self.fibers.suspended.remove(&id) else { return true };
        self.begun = task.begun;
        if worker.suspended.take(id).is_none() {
            return self.drop_ended(worker, *task);
        }
        task.job.is_disowned = false;
        self.observed = task.observed.take();
        self.resume_span();
        let deadline = task.job.deadline;
        let token = worker.current.begin(&task.job.call, deadline);
        self.poll(worker, token, task)
    }

    /// Serves jobs that wait for a sandbox, because one may be free. Returns false if the worker was abandoned in the
    /// meantime.
    // Like the other functions here, this is not inlined: calls without fibers need no stack space for it.
    #[inline(never)]
    #[must_use]
    pub(super) fn serve_waiting(&mut self, worker: &Arc<Worker>, buffers: &Arc<Buffers>) -> bool {
        self.fibers.has_freed = false;
        // Definitions whose sandboxes do not fit do not delay others.
        let mut without = FxHashSet::default();
        let next = |fibers: &Fibers, without: &FxHashSet<_>| {
            worker.waiting.take(|job| fibers.may_begin(job) && !without.contains(&need(job)))
        };
        while let Some(job) = next(&self.fibers, &without) {
            let source = if job.call.is_answered() { None } else { self.source(&job) };
            if source.is_none() && !job.call.is_answered() {
                without.insert(need(&job));
                worker.waiting.put_back(job);
            } else if !self.begin_on_fiber(worker, buffers, job, source) {
                return false;
            }
        }
        self.sandbox_cache.set_wanting(!without.is_empty());
        true
    }

    /// Runs a call on this thread, which waits while the guest is suspended, and returns what `read` returns for the reply.
    /// Only a local worker does so: its caller waits for the call anyway.
    #[cold]
    pub(in crate::worker) fn block_on_fiber<A: Payload, T>(
        &mut self,
        job: &Job,
        mut arguments: A,
        read: impl FnOnce(BorrowedReply<'_>, A) -> Result<T, Box<Error>>,
    ) -> Result<T, Box<Error>> {
        self.begin_observation(job);
        let definition = &job.definition;
        self.has_stale |= definition.is_retired();
        let environment = Arc::clone(&self.worker.environment);
        let request = request_of(job);
        let bytes = match arguments.bytes() {
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(refused) => Err(Box::new(refused.error(&job.function.name))),
        };
        let source = bytes.and_then(|bytes| Ok((bytes, self.source_to_block(job)?)));
        let (live, reply) = match source {
            Ok((bytes, source)) => {
                let read = |reply: BorrowedReply<'_>| read(reply, arguments);
                let guest = run(&request, definition, &environment, &bytes, source, read);
                // The guest itself checks whether its call should end.
                match drive(guest, || None) {
                    Ok(ended) => ended,
                    Err(interrupt) => (None, Err(job.call.error_of(interrupt, true).into())),
                }
            }
            Err(error) => (None, Err(error)),
        };
        if let Some(live) = live
            && is_healthy(&reply)
            && !definition.is_retired()
            && !live.sandbox.is_spent(&definition.limits)
        {
            self.sandbox_cache.keep(definition, live, 1);
        }
        self.record_on_fiber(job, reply)
    }

    fn source_to_block(&mut self, job: &Job) -> Result<Source, Box<Error>> {
        match self.sandbox_cache.take(&job.definition) {
            Some(live) => Ok(Source::Kept(live)),
            None => self.reserve(&job.definition, &job.call).map(Source::New),
        }
    }

    /// Lets jobs that wait for a sandbox try again, because other workers may have freed instances.
    pub(super) fn retry_waiting(&mut self) {
        self.fibers.has_freed = self.worker.waiting_count() > 0;
    }

    /// A sandbox for the job's call, if one is free or may be created now. Without a sandbox, a nested call that might wait for
    /// its own callers is answered with an error.
    fn source(&mut self, job: &Job) -> Option<(Source, Admission)> {
        if !self.fibers.may_begin(job) {
            return None;
        }
        let (instances, depth) = (job.definition.blueprint.instances(), job.call.depth);
        let admission = self.sandbox_cache.admit(instances, depth);
        if admission.is_none() && !self.sandbox_cache.may_wait(instances, depth) {
            let (function, limit) = (job.call.function.to_string(), self.sandbox_cache.capacity());
            let error = Error::InstancesInUse { function, needed: instances, limit };
            job.call.answer_unstarted(|| error);
            return None;
        }
        let source = admission.and_then(|admission| {
            let source = match self.sandbox_cache.take(&job.definition) {
                Some(live) => Source::Kept(live),
                None => Source::New(self.sandbox_cache.reserve_now(instances)?),
            };
            Some((source, admission))
        });
        if source.is_none() {
            // Other workers drop what they do not use, and the supervisor makes this one retry.
            self.sandbox_cache.set_wanting(true);
        }
        source
    }

    fn task(
        &mut self,
        worker: &Arc<Worker>,
        buffers: &Arc<Buffers>,
        mut job: Job,
        (source, admission): (Source, Admission),
    ) -> Box<Task> {
        let id = self.fibers.acquire(&job.definition);
        let wakes = TaskWaker::new(id, &job.call, worker);
        let call = GuestCall {
            call: Arc::clone(&job.call),
            function: Arc::clone(&job.function),
            definition: Arc::clone(&job.definition),
            arguments: std::mem::take(&mut job.arguments),
            fuel: job.fuel,
            is_warm_up: job.is_warm_up,
            environment: Arc::clone(&worker.environment),
            buffers: Arc::clone(buffers),
        };
        Box::new(Task {
            id,
            job,
            guest: Box::pin(call.run(source)),
            waker: Waker::from(Arc::clone(&wakes)),
            wakes,
            begun: self.begun,
            observed: None,
            _admission: admission,
        })
    }

    fn poll(&mut self, worker: &Arc<Worker>, token: Token, mut task: Box<Task>) -> bool {
        let unanswered = Unanswered { worker, job: &mut task.job };
        task.wakes.begin_poll();
        let polled = task.guest.as_mut().poll(&mut Context::from_waker(&task.waker));
        std::mem::forget(unanswered);
        match polled {
            Poll::Ready(ended) => self.end(worker, token, *task, ended),
            Poll::Pending => self.suspend(worker, token, task),
        }
    }

    fn suspend(&mut self, worker: &Arc<Worker>, token: Token, mut task: Box<Task>) -> bool {
        self.suspend_span();
        task.observed = self.observed.take();
        let call = Arc::clone(&task.job.call);
        call.wake_if_interrupted(&task.waker);
        task.job.is_disowned = true;
        if worker.current.finish(token) == Finish::Stolen {
            return false;
        }
        let is_warm_up = task.job.is_warm_up;
        let suspended = SuspendedCall { call, is_warm_up, waker: Arc::clone(&task.wakes) };
        let deadline = task.job.deadline;
        match worker.suspended.add(task.id, suspended, deadline) {
            Ok(()) => drop(self.fibers.suspended.insert(task.id, task)),
            // The worker is being stopped or abandoned.
            Err(SuspendedCall { call, .. }) => {
                worker.release_slot();
                let error = call.error_of(Interrupt::Stopped, true);
                if !is_warm_up {
                    task.job.function.meter.count_elsewhere(error.code());
                }
                call.answer_with(|_| Err(error));
                return self.drop_ended(worker, *task);
            }
        }
        true
    }

    /// Drops the guest of a suspended call that another thread answers. Returns false if the worker was abandoned in the
    /// meantime, because the future of a host function did not return from its destructor.
    fn drop_ended(&mut self, worker: &Arc<Worker>, task: Task) -> bool {
        let Task { mut job, guest, observed, .. } = task;
        // The supervisor watches the destructors as it watches a call.
        worker.take_slot();
        let token = worker.current.begin(&Arc::new(job.call.destructors()), job.deadline);
        let unanswered = Unanswered { worker, job: &mut job };
        drop(guest);
        std::mem::forget(unanswered);
        if worker.current.finish(token) == Finish::Stolen {
            return false;
        }
        worker.release_slot();
        self.observed = observed;
        self.has_stale |= job.definition.is_retired();
        self.fibers.release(&job.definition);
        let error = match job.call.outcome() {
            Some(Err(error)) => error.clone(),
            // A value does not end a suspended call, and the thread that took it is about to write its error.
            Some(Ok(_)) | None => {
                let interrupt = job.call.interrupted(time::now()).unwrap_or(Interrupt::Stopped);
                job.call.error_of(interrupt, true)
            }
        };
        self.note_error(&error);
        self.failed(&job, &error);
        self.leave_span();
        self.report(&job);
        true
    }

    /// Answers a call whose guest has ended.
    fn end(&mut self, worker: &Arc<Worker>, token: Token, task: Task, ended: Ended) -> bool {
        let Task { job, .. } = task;
        let definition = Arc::clone(&job.definition);
        self.has_stale |= definition.is_retired();
        let Ended { live, reply } = ended;
        let is_healthy = is_healthy(&reply);
        let outcome = self.apply(&job, reply);
        let is_kept = is_healthy
            && !definition.is_retired()
            && live.as_ref().is_some_and(|live| !live.sandbox.is_spent(&definition.limits));
        let (kept, discarded) = if is_kept { (live, None) } else { (None, live) };
        self.fibers.release(&definition);
        if let Some(live) = kept {
            // As many as are in use, and one more for a call at a time.
            let most = self.fibers.in_use(&definition) + 1;
            self.sandbox_cache.keep(&definition, live, most);
        }
        let is_owned = self.finish(worker, token, job, outcome);
        drop(discarded);
        is_owned
    }

    /// Records how a call of a job ended, and returns its outcome.
    fn apply(&mut self, job: &Job, reply: Reply<Body>) -> Outcome {
        let body = if job.is_warm_up && reply.is_ok() {
            self.abandon_trial(job);
            Body::nothing()
        } else {
            self.record_on_fiber(job, reply).map_err(|error| *error)?
        };
        Ok(OwnedReply { body, metadata: metadata(job, &self.worker) })
    }

    /// Like [`record`](Self::record), for a call whose definition may have failed while it was suspended.
    fn record_on_fiber<T>(&mut self, job: &Job, reply: Reply<T>) -> Result<T, Box<Error>> {
        if reply.is_ok() && !self.began_before_failure(&job.definition) {
            self.sandbox_cache.entry(&job.definition).has_answered = true;
        }
        self.record(job, reply)
    }
}

/// Whether the sandbox of a call can be used again. A limit of the operating system ends a guest while it waits for a helper
/// thread that cannot be started; a sandbox that such a limit refused does not exist.
fn is_healthy<T>(reply: &Reply<T>) -> bool {
    reply
        .as_ref()
        .err()
        .is_none_or(|error| keeps_sandbox(error) && !matches!(**error, Error::OsLimit { .. }))
}

/// A call as its fiber owns it.
struct GuestCall {
    call: Arc<Call>,
    function: Arc<Function>,
    definition: Arc<Definition>,
    arguments: Vec<u8>,
    fuel: Option<u64>,
    is_warm_up: bool,
    environment: Arc<Environment>,
    buffers: Arc<Buffers>,
}

impl GuestCall {
    async fn run(self, source: Source) -> Ended {
        let request = request(&self.call, &self.function, &self.definition, self.fuel);
        let (definition, environment) = (&self.definition, &self.environment);
        if self.is_warm_up {
            return match sandbox(&request, definition, environment, source).await {
                Ok(mut live) => {
                    live.sandbox.settle();
                    Ended { live: Some(live), reply: Ok(Ok(Body::nothing())) }
                }
                Err(error) => Ended { live: None, reply: Err(error) },
            };
        }
        let read = |reply: BorrowedReply<'_>| {
            reply.to_body(Vec::new(), &self.buffers, || self.function.callee())
        };
        let (live, reply) =
            run(&request, definition, environment, &self.arguments, source, read).await;
        Ended { live, reply }
    }
}

/// The sandbox that a call runs in.
async fn sandbox(
    request: &Request<'_>,
    definition: &Definition,
    environment: &Arc<Environment>,
    source: Source,
) -> Result<LiveSandbox, Box<Error>> {
    let reservation = match source {
        Source::Kept(live) => return Ok(live),
        Source::New(reservation) => reservation,
    };
    let Definition { blueprint, limits, .. } = definition;
    let sandbox = Sandbox::new_on_fiber(blueprint, limits, environment, request).await?;
    Ok(LiveSandbox::new(sandbox, reservation))
}

/// Runs a call, and returns its sandbox and what `read` returns for the reply.
async fn run<T>(
    request: &Request<'_>,
    definition: &Definition,
    environment: &Arc<Environment>,
    arguments: &[u8],
    source: Source,
    read: impl FnOnce(BorrowedReply<'_>) -> T,
) -> (Option<LiveSandbox>, Result<T, Box<Error>>) {
    match sandbox(request, definition, environment, source).await {
        Ok(mut live) => {
            let reply = live.sandbox.call_on_fiber(request, arguments, read).await;
            (Some(live), reply)
        }
        Err(error) => (None, Err(error)),
    }
}
