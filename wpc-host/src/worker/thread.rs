//! What runs on a worker's thread: it takes jobs, finds or makes their sandboxes, answers, and keeps
//! the books of what failed. Nothing here is touched by another thread.

use super::Worker;
use crate::bulkhead::consequence;
use crate::call::{Outcome, Reply, ReplyMetadata, reply_error};
use crate::error::Error;
use crate::event::{Draft, EventDetails, EventSource, Events, HealthState};
use crate::id::Generation;
use crate::job::Job;
use crate::queue::Taken;
use crate::registry::Definition;
use crate::restart_policy::{Admission, Decision, RestartPolicy};
use crate::sandbox::{Request, Sandbox, keeps_sandbox};
use crate::sync::atomic::Ordering;
use crate::sync::thread::JoinHandle;
use crate::sync::{thread, time};
use crate::waiting::WaitingRoom;
use rand::rngs::SmallRng;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What a worker's thread needs beside the worker itself.
pub(crate) struct Equipment {
    pub(crate) policy: RestartPolicy,
    pub(crate) random: SmallRng,
    pub(crate) waiting: Arc<WaitingRoom>,
    /// Called when the thread is up, and again when it is about to end.
    pub(crate) on_change: Arc<dyn Fn() + Send + Sync>,
}

/// Starts the worker's thread.
pub(crate) fn spawn(worker: &Arc<Worker>, equipment: Equipment) -> std::io::Result<JoinHandle<()>> {
    let thread = Thread::new(worker, equipment);
    // A guest's stack lies on its worker's.
    let stack = worker.surroundings.max_wasm_stack + 2 * 1024 * 1024;
    #[expect(clippy::disallowed_methods, reason = "workers are what threads are for")]
    thread::Builder::new()
        .name(format!("wpc-{}", worker.id))
        .stack_size(stack)
        .spawn(move || thread.run())
}

/// What only the worker's own thread touches.
pub(super) struct Thread {
    worker: Arc<Worker>,
    equipment: Equipment,
    sandboxes: FxHashMap<Generation, Kept>,
    /// How many instances its sandboxes have together.
    instances: usize,
    /// Counts calls, to tell which sandbox was idle longest.
    clock: u64,
    /// Definitions that back off or are held here.
    troubled: Vec<Arc<Definition>>,
    /// Whether it may keep sandboxes of retired definitions.
    pub(super) has_stale: bool,
}

/// A definition that was called here.
struct Kept {
    /// Its sandbox, unless it failed, served its time or made room since.
    sandbox: Option<Sandbox>,
    definition: Arc<Definition>,
    books: Books,
}

/// How a definition fared on a worker.
#[derive(Default)]
struct Books {
    /// Whether it has answered since it last failed here.
    has_answered: bool,
    /// Whether its sandbox has served its time.
    is_spent: bool,
    last_used: u64,
}

/// The definition that a job's call was accepted with.
fn definition(job: &Job) -> Result<&Arc<Definition>, Error> {
    job.function.definition.as_ref().map_err(|alias| Error::DependencyNotDefined {
        function: job.function.name.to_string(),
        alias: alias.to_string(),
    })
}

fn request<'a>(job: &'a Job, definition: &Definition) -> Request<'a> {
    Request {
        call: &job.call,
        export: job.function.export(),
        arguments: &job.arguments,
        fuel: definition.limits.fuel.map(|fuel| job.fuel.unwrap_or(fuel)),
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

/// Answers the running call should the host panic under it.
struct Unanswered<'a>(&'a Worker);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.0.steal_running() {
            call.answer_with(|ran| {
                Err(Error::WorkerLost {
                    function: call.function.to_string(),
                    worker: self.0.id,
                    reason: "the host panicked; this is a bug of wpc or of a host function"
                        .to_owned(),
                    ran,
                })
            });
        }
    }
}

impl Thread {
    pub(super) fn new(worker: &Arc<Worker>, equipment: Equipment) -> Self {
        Self {
            worker: Arc::clone(worker),
            equipment,
            sandboxes: FxHashMap::default(),
            instances: 0,
            clock: 0,
            troubled: Vec::new(),
            has_stale: false,
        }
    }

    fn run(self) {
        let worker = Arc::clone(&self.worker);
        let on_change = Arc::clone(&self.equipment.on_change);
        let _farewell = Farewell { worker: Arc::clone(&worker), on_change: Arc::clone(&on_change) };
        // Dropped before the farewell is said: whoever hears it may use the sandboxes' room.
        let mut thread = self;
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
                    if !thread.serve(&worker, job) {
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
        &self.worker.surroundings.events
    }

    /// Runs a job's call and answers it; false where the worker was given up meanwhile.
    #[must_use]
    fn serve(&mut self, worker: &Worker, mut job: Job) -> bool {
        if worker.ticker.coarse_now() > worker.ticker.nanos(job.call.deadline()) {
            job.call.expire(time::now());
        }
        if job.call.is_answered() {
            worker.give_back();
            return true;
        }
        if !self.admits(&mut job) {
            if job.is_warm_up {
                // Elsewhere it would be of no use.
                let function = job.function.name.to_string();
                let reason = format!(
                    "it backs off or is held on {} after failures; try again later",
                    worker.id
                );
                job.call.answer_with(|_| Err(Error::Initialisation { function, reason }));
            } else {
                self.equipment.waiting.return_to(job);
            }
            worker.give_back();
            worker.ticker.ring();
            return true;
        }
        if !job.call.begin() {
            self.abandon_trial(&job);
            worker.give_back();
            return true;
        }
        let current = &worker.current;
        let sequence = current.sequence.load(Ordering::Relaxed) + 1;
        current.call.store(Some(Arc::clone(&job.call)));
        current.deadline_nanos.store(worker.ticker.nanos(job.call.deadline()), Ordering::Release);
        current.sequence.store(sequence, Ordering::Release);
        let unanswered = Unanswered(worker);

        let outcome = if job.is_warm_up { self.warm(&job) } else { self.answer(&job) };

        std::mem::forget(unanswered);
        if !current.end(sequence) {
            job.is_disowned = true;
            return false;
        }
        current.call.store(None);
        worker.served.fetch_add(1, Ordering::Relaxed);
        worker.give_back();
        job.call.answer_with(|_| outcome);
        self.recycle(&job);
        if !self.equipment.waiting.is_empty() {
            worker.ticker.ring();
        }
        true
    }

    /// Whether the job's definition may be tried here now.
    pub(super) fn admits(&self, job: &mut Job) -> bool {
        let Some(bulkhead) = job.bulkhead().filter(|bulkhead| !bulkhead.is_whole()) else {
            return true;
        };
        let now = time::now();
        match bulkhead.admit(self.worker.id, &self.equipment.policy, now) {
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
    fn answer(&mut self, job: &Job) -> Outcome {
        let error = |bytes: &Vec<u8>| reply_error(bytes, &job.function.name);
        let (bytes, metadata) = self.execute(job, <[u8]>::to_vec, error)?;
        Ok(Reply { bytes, metadata })
    }

    /// Runs the job's call. `read` takes what is wanted of the reply where it lies; `error` tells listeners
    /// which error it carries, if any.
    pub(super) fn execute<T>(
        &mut self,
        job: &Job,
        read: impl FnOnce(&[u8]) -> T,
        error: impl FnOnce(&T) -> Option<Error>,
    ) -> Result<(T, ReplyMetadata), Error> {
        let definition = definition(job)?;
        let request = request(job, definition);
        self.has_stale |= definition.is_retired();
        let result = match self.kept_with_sandbox(definition, &request) {
            Ok((kept, sandbox)) => {
                let result = sandbox.call(&request, read);
                kept.has_answered |= result.is_ok();
                kept.is_spent = sandbox.is_spent(&definition.limits);
                result
            }
            Err(error) => Err(error),
        };
        match &result {
            Ok((read, _)) => self.succeeded(job, definition, || error(read)),
            Err(error) => self.failed(job, definition, error),
        }
        result
    }

    /// Makes the sandbox of a warm-up, which is no verdict on the function.
    fn warm(&mut self, job: &Job) -> Outcome {
        let definition = definition(job)?;
        let request = request(job, definition);
        self.has_stale |= definition.is_retired();
        match self.kept_with_sandbox(definition, &request) {
            Ok((_, sandbox)) => sandbox.settle(),
            Err(error) => {
                self.failed(job, definition, &error);
                return Err(error);
            }
        }
        self.abandon_trial(job);
        let metadata = ReplyMetadata {
            function_hash_sha1: job.function.module.hash,
            worker_id: self.worker.id,
            fuel_used: None,
        };
        Ok(Reply { bytes: vec![wpc_abi::reply::TAG_VALUE], metadata })
    }

    /// The definition's sandbox here, made now if there is none, and what is kept of the definition.
    fn kept_with_sandbox(
        &mut self,
        definition: &Arc<Definition>,
        request: &Request<'_>,
    ) -> Result<(&mut Books, &mut Sandbox), Error> {
        self.clock += 1;
        let generation = definition.generation;
        let is_there = self.sandboxes.get(&generation).is_some_and(|kept| kept.sandbox.is_some());
        if !is_there {
            let blueprint = &definition.blueprint;
            self.make_room(blueprint.instances(), request)?;
            let sandbox =
                Sandbox::new(blueprint, &definition.limits, &self.worker.surroundings, request)?;
            self.instances += sandbox.instances();
            self.kept(definition).sandbox = Some(sandbox);
        }
        let clock = self.clock;
        let Kept { sandbox, books, .. } = self.kept(definition);
        books.last_used = clock;
        match sandbox {
            Some(sandbox) => Ok((books, sandbox)),
            None => unreachable!("it was just made"),
        }
    }

    fn kept(&mut self, definition: &Arc<Definition>) -> &mut Kept {
        self.sandboxes.entry(definition.generation).or_insert_with(|| Kept {
            sandbox: None,
            definition: Arc::clone(definition),
            books: Books::default(),
        })
    }

    /// Drops the longest idle sandboxes until `needed` instances more fit the worker's share.
    fn make_room(&mut self, needed: usize, request: &Request<'_>) -> Result<(), Error> {
        let limit = self.worker.surroundings.max_instances;
        if needed > limit {
            let what = format!("function \"{}\"", request.call.function);
            let option = "Options::max_live_instances";
            return Err(Error::TooManyInstances { what, needed, limit, option });
        }
        while self.instances + needed > limit {
            let made = self.sandboxes.iter().filter(|(_, kept)| kept.sandbox.is_some());
            let idle = made.min_by_key(|(_, kept)| kept.books.last_used);
            let Some(generation) = idle.map(|(generation, _)| *generation) else { break };
            self.discard(generation);
        }
        Ok(())
    }

    /// Drops the sandbox that ran the job if it has served its time. Its caller has the answer.
    pub(super) fn recycle(&mut self, job: &Job) {
        let Ok(definition) = &job.function.definition else { return };
        let kept = self.sandboxes.get(&definition.generation);
        if kept.is_some_and(|kept| kept.books.is_spent) {
            self.discard(definition.generation);
        }
    }

    /// Drops a definition's sandbox, and remembers how the definition fared.
    fn discard(&mut self, generation: Generation) {
        let Some(kept) = self.sandboxes.get_mut(&generation) else { return };
        kept.books.is_spent = false;
        if let Some(sandbox) = kept.sandbox.take() {
            self.instances -= sandbox.instances();
        }
    }

    fn succeeded(
        &mut self,
        job: &Job,
        definition: &Arc<Definition>,
        error: impl FnOnce() -> Option<Error>,
    ) {
        // A worker that was given up comes too late to say anything.
        let counts = !self.worker.surroundings.stopping.load(Ordering::Acquire);
        if counts
            && !definition.bulkhead.is_whole()
            && definition.bulkhead.recovered(self.worker.id)
        {
            let function_name = job.function.name.to_string();
            self.tell(EventDetails::SandboxRecovered { function_name }, job, None);
            self.forget_troubles();
        }
        // The guest ended by itself, but its caller gets an error: listeners hear of that.
        if self.events().is_heard()
            && let Some(error) = error()
        {
            self.tell_failed_call(job, &error);
        }
    }

    /// Takes note of a failure: the sandbox goes, and the policy says when the next one may come.
    fn failed(&mut self, job: &Job, definition: &Arc<Definition>, error: &Error) {
        self.tell_failed_call(job, error);
        if keeps_sandbox(error) {
            self.abandon_trial(job);
            return;
        }
        self.discard(definition.generation);
        // What the caller or the operator asked for is no failure of the function.
        let was_asked_for = matches!(error, Error::Cancelled { .. } | Error::Stopped { .. });
        if was_asked_for || self.worker.surroundings.stopping.load(Ordering::Acquire) {
            self.abandon_trial(job);
            return;
        }
        self.tell(
            EventDetails::SandboxFailed { function_name: job.function.name.to_string() },
            job,
            Some(error),
        );
        let had_answered = std::mem::take(&mut self.kept(definition).books.has_answered);
        let decision = definition.bulkhead.failed(
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

    /// A trial that ended without a verdict may be made again.
    fn abandon_trial(&self, job: &Job) {
        if let Some(bulkhead) = job.bulkhead().filter(|_| job.is_trial) {
            bulkhead.abandon_trial(self.worker.id, time::now());
        }
    }

    fn remember_trouble(&mut self, definition: &Arc<Definition>, function: &str, what: &str) {
        if definition.is_retired() {
            return;
        }
        if self.troubled.iter().any(|other| other.generation == definition.generation) {
            return;
        }
        self.troubled.push(Arc::clone(definition));
        self.worker.troubled.store(self.troubled.len(), Ordering::Release);
        if self.troubled.len() == 1 {
            let reason = format!("function \"{function}\" {what}");
            self.worker.tell_health(HealthState::Degraded, Some(&reason));
        }
    }

    /// Forgets troubles that are over: answered again, redefined, revived.
    fn forget_troubles(&mut self) {
        if self.troubled.is_empty() {
            return;
        }
        let id = self.worker.id;
        self.troubled
            .retain(|definition| !definition.is_retired() && definition.bulkhead.troubles(id));
        self.worker.troubled.store(self.troubled.len(), Ordering::Release);
        if self.troubled.is_empty() {
            self.worker.tell_health(HealthState::Ready, Some("every function serves again"));
        }
    }

    /// Drops what is no longer needed.
    pub(super) fn look_around(&mut self) {
        self.has_stale = false;
        let retired = self.sandboxes.iter().filter(|(_, kept)| kept.definition.is_retired());
        let retired = retired.map(|(generation, _)| *generation).collect::<Vec<_>>();
        for generation in retired {
            self.discard(generation);
            self.sandboxes.remove(&generation);
        }
        self.forget_troubles();
    }

    fn tell_failed_call(&self, job: &Job, error: &Error) {
        let function_name = job.function.name.to_string();
        self.tell(EventDetails::CallExecutionFailed { function_name }, job, Some(error));
    }

    fn tell(&self, details: EventDetails, job: &Job, error: Option<&Error>) {
        let draft =
            Draft::by(EventSource::Worker, details).worker(self.worker.id).call(job.call.id);
        let draft = match error {
            Some(error) => draft.error(error),
            None => draft,
        };
        self.events().emit(draft);
    }
}
