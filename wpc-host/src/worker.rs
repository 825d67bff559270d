//! A worker: a thread, its queue, and its sandboxes.
//!
//! # Protocol
//!
//! * *In flight* counts the jobs a worker was given and has not let go of. A place is reserved
//!   before a job is pushed and given back before the job is answered, so that whoever saw the
//!   answer also sees the place free.
//! * While a call runs, the worker lays it into its `current` place. Whoever moves that place from
//!   *running* to something else owns the call's answer: the worker itself when the guest is done,
//!   or the supervisor when the worker has fallen silent. A worker that finds its place stolen was
//!   given up, and ends.
//! * Everything else here is touched by the worker's own thread only.

use crate::bulkhead::Bulkhead;
use crate::call::{Call, Outcome, Reply};
use crate::error::Error;
use crate::event::{Draft, EventDetails, EventSource, Events, HealthState, Severity};
use crate::id::{Generation, WorkerId};
use crate::queue::{Queue, Taken};
use crate::registry::{Definition, Function};
use crate::restart_policy::{Admission, Decision, RestartPolicy};
use crate::sandbox::{Request, Sandbox, Surroundings, keeps_sandbox};
use crate::ticker::Ticker;
use crate::waiting::WaitingRoom;
use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;
use rand::rngs::SmallRng;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A call on its way to a worker. Dropping it unanswered answers it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) call: Arc<Call>,
    pub(crate) function: Arc<Function>,
    pub(crate) arguments: Vec<u8>,
    pub(crate) fuel: Option<u64>,
    pub(crate) affinity: Option<u64>,
    pub(crate) wait_for_room: bool,
    /// Somebody else owns the answer.
    pub(crate) is_disowned: bool,
}

impl Job {
    /// The definition the call was accepted with. Calls of a function without one are refused.
    pub(crate) fn bulkhead(&self) -> Option<&Bulkhead> {
        self.function.definition.as_ref().ok().map(|definition| &definition.bulkhead)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.is_disowned {
            return;
        }
        let call = &self.call;
        call.answer_with(|ran| Err(Error::Stopped { function: call.function.to_string(), ran }));
    }
}

/// What others see of a worker.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    /// Which replacement in a row it is.
    pub(crate) restart_attempt: u32,
    queue: Queue<Job>,
    in_flight: CachePadded<AtomicUsize>,
    /// Of those in the queue, how many must not go to another worker.
    affine: AtomicUsize,
    /// The earliest deadline among those in the queue, or earlier.
    next_expiry: AtomicU64,
    current: CachePadded<Current>,
    is_busy: AtomicBool,
    health: Mutex<HealthState>,
    takes_calls: AtomicBool,
    /// How many definitions back off or are held here.
    troubled: AtomicUsize,
    served: AtomicU64,
    has_exited: AtomicBool,
    surroundings: Arc<Surroundings>,
    ticker: Arc<Ticker>,
}

/// The place of the call that runs: an even number while none does, an odd one while one does.
struct Current {
    sequence: AtomicU64,
    deadline_nanos: AtomicU64,
    call: AtomicCell<Option<Arc<Call>>>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("id", &self.id)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Worker {
    pub(crate) fn new(
        id: WorkerId,
        restart_attempt: u32,
        surroundings: Arc<Surroundings>,
        ticker: Arc<Ticker>,
    ) -> Self {
        Self {
            id,
            restart_attempt,
            queue: Queue::new(),
            in_flight: CachePadded::new(AtomicUsize::new(0)),
            affine: AtomicUsize::new(0),
            next_expiry: AtomicU64::new(u64::MAX),
            current: CachePadded::new(Current {
                sequence: AtomicU64::new(0),
                deadline_nanos: AtomicU64::new(0),
                call: AtomicCell::new(None),
            }),
            is_busy: AtomicBool::new(true),
            health: Mutex::new(HealthState::Starting),
            takes_calls: AtomicBool::new(false),
            troubled: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            has_exited: AtomicBool::new(false),
            surroundings,
            ticker,
        }
    }

    // What callers use.

    pub(crate) fn takes_calls(&self) -> bool {
        self.takes_calls.load(Ordering::Acquire)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Reserves a place; false where `limit` are taken.
    #[must_use]
    pub(crate) fn reserve(&self, limit: usize) -> bool {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) < limit {
            return true;
        }
        self.give_back();
        false
    }

    fn give_back(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gives the worker a job for which a place was reserved; back comes what it cannot take any
    /// more.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let deadline = self.ticker.nanos(job.call.deadline);
        let is_affine = job.affinity.is_some();
        if is_affine {
            self.affine.fetch_add(1, Ordering::AcqRel);
        }
        if let Err(job) = self.queue.push(job) {
            if is_affine {
                self.affine.fetch_sub(1, Ordering::AcqRel);
            }
            self.give_back();
            return Err(job);
        }
        if deadline < self.next_expiry.load(Ordering::Relaxed) {
            self.next_expiry.fetch_min(deadline, Ordering::AcqRel);
        }
        Ok(())
    }

    // What the supervisor uses.

    /// Takes a job out of the queue and frees its place.
    fn pop(&self) -> Option<Job> {
        let job = self.queue.pop()?;
        self.let_go(&job);
        self.give_back();
        Some(job)
    }

    fn let_go(&self, job: &Job) {
        if job.affinity.is_some() {
            self.affine.fetch_sub(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::SeqCst)
    }

    pub(crate) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.has_exited.load(Ordering::Acquire)
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// A number that stays the same for as long as one call runs; `None` while none does.
    pub(crate) fn running(&self) -> Option<u64> {
        let sequence = self.current.sequence.load(Ordering::Acquire);
        (sequence % 2 == 1).then_some(sequence)
    }

    /// Takes the running call's answer away from the worker if its deadline passed `grace` ago;
    /// the worker is lost then.
    pub(crate) fn steal_overdue(&self, now: Instant, grace: Duration) -> Option<Arc<Call>> {
        let sequence = self.running()?;
        let deadline = self.current.deadline_nanos.load(Ordering::Acquire);
        let grace = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
        if self.ticker.nanos(now) < deadline.saturating_add(grace) {
            return None;
        }
        self.steal(sequence)
    }

    /// Takes the running call's answer away from the worker, whatever its deadline.
    pub(crate) fn steal_running(&self) -> Option<Arc<Call>> {
        self.steal(self.running()?)
    }

    fn steal(&self, sequence: u64) -> Option<Arc<Call>> {
        let stolen = self.current.sequence.compare_exchange(
            sequence,
            u64::MAX - 1,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        stolen.ok()?;
        self.give_back();
        self.current.call.take()
    }

    /// Closes the queue to new calls. What is in it is still run.
    pub(crate) fn drain(&self) {
        self.takes_calls.store(false, Ordering::Release);
        self.queue.close();
    }

    /// Interrupts what runs and everything that will.
    pub(crate) fn interrupt(&self) {
        self.surroundings.stopping.store(true, Ordering::Release);
    }

    /// Everything in the queue; close it first.
    pub(crate) fn take_queue(&self) -> Vec<Job> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// Whether the limit of a queued call may have passed.
    pub(crate) fn may_expire(&self, now: Instant) -> bool {
        self.ticker.nanos(now) >= self.next_expiry.load(Ordering::Acquire)
    }

    /// Ends queued calls whose limit passed, and frees the places of those that were answered; the
    /// others keep their order. Gives back what found the queue closed.
    pub(crate) fn sweep_queue(&self, now: Instant) -> Vec<Job> {
        // Reset first: a push that is missed below lowers it again, since pushes do so last.
        self.next_expiry.store(u64::MAX, Ordering::Release);
        let mut homeless = Vec::new();
        let taken: Vec<_> = std::iter::from_fn(|| self.queue.pop()).collect();
        for job in taken {
            self.let_go(&job);
            if job.call.is_answered() || job.call.expire(now) {
                self.give_back();
            } else if let Err(job) = self.push(job) {
                homeless.push(job);
            }
        }
        homeless
    }

    /// A queued job for a worker that is idle, unless some must stay.
    pub(crate) fn pop_for_another(&self) -> Option<Job> {
        if self.affine.load(Ordering::Acquire) > 0 { None } else { self.pop() }
    }

    /// Makes the worker drop sandboxes of retired definitions.
    pub(crate) fn nudge(&self) {
        self.queue.nudge();
    }

    pub(crate) fn health(&self) -> HealthState {
        let health = *self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if health == HealthState::Ready && self.troubled.load(Ordering::Acquire) > 0 {
            HealthState::Degraded
        } else {
            health
        }
    }

    /// Changes the thread's health and tells of it; nothing where it is so already.
    pub(crate) fn set_health(&self, to: HealthState, reason: Option<&str>) {
        {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            if *health == to {
                return;
            }
            *health = to;
        }
        self.takes_calls.store(to == HealthState::Ready, Ordering::Release);
        self.tell_health(to, reason);
    }

    fn tell_health(&self, health_state: HealthState, reason: Option<&str>) {
        let reason = reason.map(str::to_owned);
        let draft = Draft::by(
            EventSource::Parent,
            EventDetails::WorkerHealthStateChanged { health_state, reason },
        );
        let draft = match health_state {
            HealthState::Degraded | HealthState::Restarting => draft.severity(Severity::Warn),
            _ => draft,
        };
        self.surroundings.events.emit(draft.worker(self.id));
    }
}

/// What a worker's thread needs beside the worker itself.
pub(crate) struct Equipment {
    pub(crate) policy: RestartPolicy,
    pub(crate) random: SmallRng,
    pub(crate) waiting: Arc<WaitingRoom>,
    /// How many instances it may keep alive.
    pub(crate) max_instances: usize,
    /// Called when the thread is up, and again when it is about to end.
    pub(crate) on_change: Arc<dyn Fn() + Send + Sync>,
}

/// Starts the worker's thread.
pub(crate) fn spawn(worker: &Arc<Worker>, equipment: Equipment) -> std::io::Result<JoinHandle<()>> {
    let thread = Thread {
        worker: Arc::clone(worker),
        equipment,
        sandboxes: FxHashMap::default(),
        instances: 0,
        clock: 0,
        troubled: Vec::new(),
    };
    // A guest's stack lies on its worker's.
    let stack = worker.surroundings.max_wasm_stack + 2 * 1024 * 1024;
    #[expect(clippy::disallowed_methods, reason = "workers are what threads are for")]
    std::thread::Builder::new()
        .name(format!("wpc-{}", worker.id))
        .stack_size(stack)
        .spawn(move || thread.run())
}

/// What only the worker's own thread touches.
struct Thread {
    worker: Arc<Worker>,
    equipment: Equipment,
    sandboxes: FxHashMap<Generation, Kept>,
    /// How many instances its sandboxes have together.
    instances: usize,
    /// Counts calls, to tell which sandbox was idle longest.
    clock: u64,
    /// Definitions that back off or are held here.
    troubled: Vec<Arc<Definition>>,
}

struct Kept {
    sandbox: Sandbox,
    definition: Arc<Definition>,
    last_used: u64,
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
    fn run(mut self) {
        let worker = Arc::clone(&self.worker);
        let on_change = Arc::clone(&self.equipment.on_change);
        let _farewell = Farewell { worker: Arc::clone(&worker), on_change: Arc::clone(&on_change) };
        worker.set_health(HealthState::Ready, None);
        let ready = Draft::by(EventSource::Worker, EventDetails::WorkerReady {});
        self.events().emit(ready.worker(worker.id));
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
                    worker.let_go(&job);
                    if !self.serve(&worker, job) {
                        return;
                    }
                }
                Taken::Nudge => self.look_around(),
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
        if worker.ticker.coarse_now() > worker.ticker.nanos(job.call.deadline) {
            job.call.expire(Instant::now());
        }
        if job.call.is_answered() {
            worker.give_back();
            return true;
        }
        if !self.admits(&job) {
            worker.give_back();
            self.equipment.waiting.return_to(job);
            worker.ticker.ring();
            return true;
        }
        if !job.call.begin() {
            worker.give_back();
            return true;
        }
        let current = &worker.current;
        let sequence = current.sequence.load(Ordering::Relaxed) + 1;
        current.call.store(Some(Arc::clone(&job.call)));
        current.deadline_nanos.store(worker.ticker.nanos(job.call.deadline), Ordering::Release);
        current.sequence.store(sequence, Ordering::Release);
        let unanswered = Unanswered(worker);

        let outcome = self.execute(&job);

        std::mem::forget(unanswered);
        let mine = current.sequence.compare_exchange(
            sequence,
            sequence + 1,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if mine.is_err() {
            job.is_disowned = true;
            return false;
        }
        current.call.store(None);
        worker.served.fetch_add(1, Ordering::Relaxed);
        worker.give_back();
        job.call.answer_with(|_| outcome);
        if !self.equipment.waiting.is_empty() {
            worker.ticker.ring();
        }
        true
    }

    /// Whether the job's definition may be tried here now.
    fn admits(&self, job: &Job) -> bool {
        let Some(bulkhead) = job.bulkhead().filter(|bulkhead| !bulkhead.is_whole()) else {
            return true;
        };
        let now = Instant::now();
        match bulkhead.admission(self.worker.id, now) {
            Admission::Yes => true,
            Admission::Trial => {
                bulkhead.begin_trial(self.worker.id, &self.equipment.policy, now);
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

    fn execute(&mut self, job: &Job) -> Outcome {
        let definition = match &job.function.definition {
            Ok(definition) => Arc::clone(definition),
            Err(alias) => {
                return Err(Error::DependencyNotDefined {
                    function: job.function.name.to_string(),
                    alias: alias.to_string(),
                });
            }
        };
        let request = Request {
            call: &job.call,
            export: job.function.export(),
            arguments: &job.arguments,
            fuel: definition.limits.fuel.map(|fuel| job.fuel.unwrap_or(fuel)),
        };
        let (result, had_answered) = match self.sandbox(&definition, &request) {
            Ok(sandbox) => {
                let had_answered = sandbox.has_answered();
                (sandbox.call(&request), had_answered)
            }
            Err(error) => (Err(error), false),
        };
        match &result {
            Ok(reply) => self.succeeded(job, &definition, reply),
            Err(error) => self.failed(job, &definition, error, had_answered),
        }
        if definition.is_retired() {
            self.discard(definition.generation);
        }
        result
    }

    /// The definition's sandbox here, made now if there is none.
    fn sandbox(
        &mut self,
        definition: &Arc<Definition>,
        request: &Request<'_>,
    ) -> Result<&mut Sandbox, Error> {
        self.clock += 1;
        let generation = definition.generation;
        if !self.sandboxes.contains_key(&generation) {
            let blueprint = &definition.blueprint;
            self.make_room(blueprint.instances(), request)?;
            let sandbox =
                Sandbox::new(blueprint, &definition.limits, &self.worker.surroundings, request)?;
            self.instances += sandbox.instances();
            let kept = Kept { sandbox, definition: Arc::clone(definition), last_used: 0 };
            self.sandboxes.insert(generation, kept);
        }
        match self.sandboxes.get_mut(&generation) {
            Some(kept) => {
                kept.last_used = self.clock;
                Ok(&mut kept.sandbox)
            }
            None => unreachable!("it was just put there"),
        }
    }

    /// Drops the longest idle sandboxes until `needed` instances more fit the worker's share.
    fn make_room(&mut self, needed: usize, request: &Request<'_>) -> Result<(), Error> {
        let limit = self.equipment.max_instances;
        if needed > limit {
            let what = format!("function \"{}\"", request.call.function);
            return Err(Error::TooManyInstances { what, needed, limit });
        }
        while self.instances + needed > limit {
            let idle = self.sandboxes.iter().min_by_key(|(_, kept)| kept.last_used);
            let Some(generation) = idle.map(|(generation, _)| *generation) else { break };
            self.discard(generation);
        }
        Ok(())
    }

    fn discard(&mut self, generation: Generation) {
        if let Some(kept) = self.sandboxes.remove(&generation) {
            self.instances -= kept.sandbox.instances();
        }
    }

    fn succeeded(&mut self, job: &Job, definition: &Arc<Definition>, reply: &Reply) {
        if !definition.bulkhead.is_whole() && definition.bulkhead.recovered(self.worker.id) {
            let function_name = job.function.name.to_string();
            self.tell(EventDetails::SandboxRecovered { function_name }, job, None);
            self.forget_troubles();
        }
        // The guest ended by itself, but its caller gets an error: listeners hear of that.
        if let Some(error) = reply.error(&job.function.name) {
            self.tell_failed_call(job, &error);
        }
    }

    /// Takes note of a failure: the sandbox goes, and the policy says when the next one may come.
    fn failed(
        &mut self,
        job: &Job,
        definition: &Arc<Definition>,
        error: &Error,
        had_answered: bool,
    ) {
        self.tell_failed_call(job, error);
        if keeps_sandbox(error) {
            return;
        }
        self.discard(definition.generation);
        // What the caller or the operator asked for is no failure of the function.
        if matches!(error, Error::Cancelled { .. } | Error::Stopped { .. }) {
            return;
        }
        let function_name = job.function.name.to_string();
        self.tell(
            EventDetails::SandboxFailed { function_name: function_name.clone() },
            job,
            Some(error),
        );
        let decision = definition.bulkhead.failed(
            self.worker.id,
            had_answered,
            error,
            &self.equipment.policy,
            Instant::now(),
            &mut self.equipment.random,
        );
        let (restart_attempt, restart_delay) = match decision {
            Decision::RestartNow { attempt } => (attempt, Duration::ZERO),
            Decision::RestartAfter { attempt, delay } => (attempt, delay),
            Decision::Hold { attempts } => {
                let held = EventDetails::SandboxHeld { function_name, restart_attempts: attempts };
                self.tell(held, job, Some(error));
                self.remember_trouble(definition, &job.function.name, "is held");
                return;
            }
        };
        let name = Arc::clone(&job.function.name);
        self.tell(
            EventDetails::SandboxRestartScheduled { function_name, restart_attempt, restart_delay },
            job,
            None,
        );
        if !restart_delay.is_zero() {
            self.remember_trouble(definition, &name, "backs off");
        }
    }

    fn remember_trouble(&mut self, definition: &Arc<Definition>, function: &str, what: &str) {
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
    fn look_around(&mut self) {
        let retired = self.sandboxes.iter().filter(|(_, kept)| kept.definition.is_retired());
        let retired = retired.map(|(generation, _)| *generation).collect::<Vec<_>>();
        for generation in retired {
            self.discard(generation);
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
