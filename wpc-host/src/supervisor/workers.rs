//! The workers as a set: which of them a call goes to, how they come up and how they go down.
//!
//! The set is an immutable snapshot that callers read without a lock. The supervisor replaces it
//! when a worker is lost; start and stop replace it as a whole.

use crate::error::Error;
use crate::event::observer::Observer;
use crate::event::{Draft, EventDetails, EventSource, Events, HealthState};
use crate::id::{Counter, WorkerId};
use crate::information::WorkerHealth;
use crate::module::engine::Engines;
use crate::options::Options;
use crate::registry::Registry;
use crate::registry::restart_policy::{Admission, RestartPolicy};
use crate::sandbox::Environment;
use crate::supervisor::scheduler::{self, Candidate};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::sync::{ArcSwap, Mutex, MutexGuard, thread, time};
use crate::system::buffers::Buffers;
use crate::system::changes::Changes;
use crate::system::epoch_ticker::EpochTicker;
use crate::worker::capacity::Capacity;
use crate::worker::job::Job;
use crate::worker::overflow_queue::OverflowQueue;
use crate::worker::{self, Equipment, Local, Worker};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use std::cell::Cell;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How many abandoned threads there may be. Each hangs in a host function; while there are so many, no worker is replaced, and
/// calls that no other worker takes are refused.
pub(crate) const MAX_ABANDONED: usize = 64;

pub(crate) struct Pool {
    pub(crate) options: Options,
    pub(crate) policy: RestartPolicy,
    pub(crate) events: Events,
    pub(crate) engines: Arc<Engines>,
    pub(crate) registry: Registry,
    pub(crate) capacity: Arc<Capacity>,
    pub(crate) ticker: Arc<EpochTicker>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) waiting: Arc<OverflowQueue>,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) workers: ArcSwap<Vec<Arc<Worker>>>,
    /// Those without a thread, which run on their callers'.
    locals: Mutex<Vec<Arc<Worker>>>,
    /// Workers that were lost, until they are replaced; for `get_worker_health_states`.
    pub(crate) lost: Mutex<Vec<WorkerHealth>>,
    /// Threads that were given up and may still come back, to be stopped then.
    pub(crate) abandoned: Mutex<Vec<Arc<Worker>>>,
    /// Held while the set is replaced; true once a stop has taken it over.
    is_frozen: Mutex<bool>,
    /// Calls are accepted.
    pub(crate) is_open: AtomicBool,
    /// Lost workers that will be replaced.
    pub(crate) returning: AtomicUsize,
    last_pick: AtomicUsize,
    /// How many threads can run at once.
    cores: usize,
    worker_ids: Counter,
    pub(crate) call_ids: Counter,
    /// How many workers `start_workers` was asked for.
    pub(crate) size: AtomicUsize,
    changes: Arc<Changes>,
    started: Instant,
}

/// Why no worker takes a job at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All that could take it are full.
    Saturated,
    /// Its function backs off, or a worker is being replaced: it will be taken later.
    Later,
    /// Its function is held on every worker.
    Held,
    /// No worker is left, and none is coming.
    NoWorkers,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("workers", &self.workers.load()).finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn new(options: Options) -> Result<Self, Error> {
        let events = Events::new(options.max_waiting_events);
        let engines = Arc::new(Engines::new(&options, Some(&events))?);
        let max_live_instances = usize::try_from(options.max_live_instances).unwrap_or(usize::MAX);
        let ticker = Arc::new(EpochTicker::new());
        Ok(Self {
            policy: RestartPolicy::new(&options),
            events,
            registry: Registry::new(Arc::clone(&engines), max_live_instances),
            capacity: Arc::new(Capacity::new(max_live_instances)),
            engines,
            buffers: Arc::new(Buffers::new(Arc::clone(&ticker))),
            ticker,
            observer: Arc::default(),
            waiting: Arc::new(OverflowQueue::new(options.max_waiting_calls)),
            workers: ArcSwap::default(),
            locals: Mutex::default(),
            lost: Mutex::default(),
            abandoned: Mutex::default(),
            is_frozen: Mutex::new(true),
            is_open: AtomicBool::new(false),
            returning: AtomicUsize::new(0),
            last_pick: AtomicUsize::new(0),
            cores: thread::available_parallelism().map_or(1, usize::from),
            worker_ids: Counter::default(),
            call_ids: Counter::default(),
            size: AtomicUsize::new(0),
            changes: Arc::default(),
            started: time::now(),
            options,
        })
    }

    // Calls.

    /// Sees that the job is run, or says why not; its call is not answered then.
    pub(crate) fn accept(&self, job: Job) -> Result<(), Error> {
        // Whoever is ready to wait for room does so behind those who wait for it already.
        let job = if job.wait_for_room && self.waiting.has_waiters_for_room() {
            match self.let_wait(job) {
                Ok(()) => return Ok(()),
                Err(job) => job,
            }
        } else {
            job
        };
        let (job, refusal) = match self.dispatch(job) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let function = job.function.name.to_string();
        let saturated = || Error::Saturated {
            function: function.clone(),
            limit: self.options.max_pending_calls_per_worker,
        };
        match refusal {
            Refusal::Saturated if !job.wait_for_room => Err(saturated()),
            Refusal::Saturated | Refusal::Later => self.let_wait(job).map_err(|_| {
                if self.is_open.load(Ordering::Acquire) { saturated() } else { Error::NotRunning }
            }),
            Refusal::Held | Refusal::NoWorkers => Err(self.no_eligible_worker(&job, refusal)),
        }
    }

    fn let_wait(&self, job: Job) -> Result<(), Job> {
        self.waiting.enter(job)?;
        self.ticker.ring();
        Ok(())
    }

    /// Gives the job to the right worker, or back with the reason why there is none.
    pub(crate) fn dispatch(&self, mut job: Job) -> Result<(), (Job, Refusal)> {
        loop {
            let workers = self.workers.load();
            // Most definitions have no trouble anywhere, and nobody looks at the clock for them.
            let degraded =
                job.circuit_breaker().filter(|circuit_breaker| !circuit_breaker.is_whole());
            let degraded = degraded.map(|circuit_breaker| (circuit_breaker, time::now()));
            let admits = |worker: &Worker| match &degraded {
                None => true,
                Some((circuit_breaker, now)) => {
                    matches!(
                        circuit_breaker.admission(worker.id, *now),
                        Admission::Yes | Admission::Trial
                    )
                }
            };
            let limit = self.options.max_pending_calls_per_worker;
            let some_are_full = Cell::new(false);
            let candidate = |at: usize| {
                let worker: &Worker = &workers[at];
                if !worker.takes_calls() || !admits(worker) {
                    return Candidate::Unfit;
                }
                let in_flight = worker.in_flight();
                // A key's worker stays its worker although it is full.
                if in_flight >= limit && job.affinity.is_none() {
                    some_are_full.set(true);
                    return Candidate::Unfit;
                }
                Candidate::Ready { in_flight, wait: worker.wait_behind(in_flight) }
            };
            let picked = match job.affinity {
                Some(key) => {
                    scheduler::by_affinity(key, workers.iter().map(|worker| worker.id.0), candidate)
                }
                None => {
                    let last = self.last_pick.load(Ordering::Relaxed);
                    scheduler::soonest(workers.len(), last, self.cores, candidate)
                }
            };
            let Some(at) = picked else {
                if some_are_full.get() && self.reclaim(workers.iter()) {
                    continue;
                }
                let refusal = if some_are_full.get() {
                    Refusal::Saturated
                } else {
                    self.why_no_worker(&workers, &job)
                };
                return Err((job, refusal));
            };
            let worker = &workers[at];
            if !worker.reserve(limit) {
                if job.affinity.is_some() && !self.reclaim(std::iter::once(worker)) {
                    return Err((job, Refusal::Saturated));
                }
                // Somebody took the place meanwhile: look again.
                continue;
            }
            self.last_pick.store(at, Ordering::Relaxed);
            match worker.push(job) {
                Ok(()) => return Ok(()),
                // It closed meanwhile, and takes no calls any more: look again.
                Err(returned) => job = returned,
            }
        }
    }

    /// Frees the slots that answered calls still have in the queues of full workers; false where there are none.
    #[cold]
    fn reclaim<'a>(&self, workers: impl Iterator<Item = &'a Arc<Worker>>) -> bool {
        let limit = self.options.max_pending_calls_per_worker;
        let mut homeless = Vec::new();
        let mut has_freed = false;
        for worker in workers.filter(|worker| worker.in_flight() >= limit) {
            has_freed |= worker.reclaim(limit, &mut homeless);
        }
        for job in homeless {
            self.place(job);
        }
        has_freed
    }

    fn why_no_worker(&self, workers: &[Arc<Worker>], job: &Job) -> Refusal {
        let now = time::now();
        let up = workers.iter().filter(|worker| worker.takes_calls());
        let mut admissions = up.map(|worker| {
            job.circuit_breaker()
                .map_or(Admission::Yes, |circuit_breaker| circuit_breaker.admission(worker.id, now))
        });
        // One that takes no calls is starting, or has died and the supervisor has not seen it yet.
        let is_changing = workers.iter().any(|worker| !worker.takes_calls());
        let returns =
            || self.returning.load(Ordering::Acquire) > 0 && self.abandoned() < MAX_ABANDONED;
        if is_changing || returns() {
            return Refusal::Later;
        }
        let Some(first) = admissions.next() else { return Refusal::NoWorkers };
        let all_held = std::iter::once(first)
            .chain(admissions)
            .all(|admission| matches!(admission, Admission::Held { .. }));
        if all_held { Refusal::Held } else { Refusal::Later }
    }

    fn no_eligible_worker(&self, job: &Job, refusal: Refusal) -> Error {
        let function = job.function.name.to_string();
        let held =
            job.circuit_breaker().and_then(|circuit_breaker| circuit_breaker.held(time::now()));
        match (refusal, held) {
            (Refusal::Held, Some((since, last))) => {
                Error::Held { function, held_for: since.elapsed(), reason: last.to_string() }
            }
            // It was revived between the two looks: its caller may simply try again.
            (Refusal::Held, None) => Error::Held {
                function,
                held_for: Duration::ZERO,
                reason: "it was revived just now".to_owned(),
            },
            _ if !self.is_open.load(Ordering::Acquire) => Error::NotRunning,
            _ => Error::NoReadyWorkers { function },
        }
    }

    /// Gives jobs of a lost worker, or of the overflow queue, to whoever can take them.
    pub(crate) fn redispatch(&self, job: Job) -> Option<Job> {
        let now = time::now();
        if let Some(interrupt) = job.call.interrupted(now) {
            job.call.answer_unstarted(|| job.call.error_of(interrupt, false));
        }
        if job.call.is_answered() {
            return None;
        }
        match self.dispatch(job) {
            Ok(()) => None,
            Err((job, Refusal::Saturated | Refusal::Later)) => Some(job),
            Err((job, refusal)) => {
                job.call.answer_unstarted(|| self.no_eligible_worker(&job, refusal));
                None
            }
        }
    }

    /// Gives a job that left its worker another one, or lets it wait.
    pub(crate) fn place(&self, job: Job) {
        if let Some(job) = self.redispatch(job) {
            self.waiting.return_to(job);
        }
    }

    // Workers.

    pub(crate) fn worker_is_up(&self, id: WorkerId) -> bool {
        self.workers.load().iter().any(|worker| worker.id == id)
    }

    /// Replaces the set of workers; false, and nothing done, where a stop has taken it over.
    pub(crate) fn change_workers(&self, change: impl FnOnce(&mut Vec<Arc<Worker>>)) -> bool {
        let is_frozen = self.is_frozen.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_frozen {
            return false;
        }
        let mut workers = Vec::clone(&self.workers.load());
        change(&mut workers);
        self.workers.store(Arc::new(workers));
        true
    }

    /// Makes every worker drop what is retired.
    pub(crate) fn nudge_workers(&self) {
        for worker in self.workers.load().iter().chain(self.locals().iter()) {
            worker.nudge();
        }
    }

    /// How many instances a worker may keep alive while others need some.
    fn instances_per_worker(&self) -> usize {
        self.capacity.total() / self.size.load(Ordering::Acquire).max(1)
    }

    /// Starts a worker's thread; it is in no set yet.
    pub(crate) fn spawn_worker(&self, restart_attempt: u32) -> Result<Arc<Worker>, Error> {
        let (worker, equipment) = self.make_worker(restart_attempt);
        // The thread is not joined: its end is told by `has_exited`, and a lost one never ends.
        drop(worker::spawn(&worker, equipment)?);
        Ok(worker)
    }

    /// A worker that runs on whatever thread uses it.
    pub(crate) fn local(&self) -> Local {
        let (worker, equipment) = self.make_worker(0);
        self.locals().push(Arc::clone(&worker));
        let local = Local::new(worker, equipment);
        self.tell(local.worker(), EventDetails::WorkerReady {});
        local
    }

    pub(crate) fn forget_local(&self, worker: &Arc<Worker>) {
        self.locals().retain(|other| other.id != worker.id);
        self.registry.forget_worker(worker.id);
        self.tell(worker, EventDetails::WorkerExited { failure_reason: None });
    }

    fn locals(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        self.locals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a call runs on its caller's thread.
    pub(crate) fn is_locally_busy(&self) -> bool {
        self.locals().iter().any(|worker| worker.is_busy())
    }

    fn make_worker(&self, restart_attempt: u32) -> (Arc<Worker>, Equipment) {
        let id = WorkerId(self.worker_ids.next());
        let environment = Arc::new(Environment {
            worker: id,
            events: self.events.clone(),
            constants: Arc::clone(self.registry.constants()),
            host_functions: Arc::clone(self.registry.host_functions()),
            stopping: Arc::default(),
            is_occupied: AtomicBool::new(false),
            ticker: Arc::clone(&self.ticker),
            observer: Arc::clone(&self.observer),
            started: self.started,
            max_wasm_stack: self.engines.max_wasm_stack(),
            max_instances: self.capacity.total(),
        });
        let idle = self.capacity.add_cache(self.instances_per_worker());
        let ticker = Arc::clone(&self.ticker);
        let worker = Arc::new(Worker::new(id, restart_attempt, environment, ticker, idle));
        let random = match self.options.restart_jitter_seed {
            Some(seed) => SmallRng::seed_from_u64(seed ^ id.0),
            None => rand::make_rng(),
        };
        let changes = Arc::clone(&self.changes);
        let equipment = Equipment {
            policy: self.policy.clone(),
            call_timeout: self.options.call_timeout,
            failure_severities: self.options.failure_severities,
            random,
            waiting: Arc::clone(&self.waiting),
            capacity: Arc::clone(&self.capacity),
            buffers: Arc::clone(&self.buffers),
            on_change: Arc::new(move || changes.tell()),
        };
        self.tell(&worker, EventDetails::WorkerSpawned { restart_attempt });
        (worker, equipment)
    }

    /// Brings `count` workers up, or none.
    pub(crate) fn start(&self, count: usize) -> Result<(), Error> {
        self.size.store(count, Ordering::Release);
        self.waiting.open();
        self.buffers.open();
        let mut workers = Vec::with_capacity(count);
        let mut failure = None;
        for _ in 0..count {
            match self.spawn_worker(0) {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let timeout = self.options.start_timeout;
        let is_decided = || {
            workers.iter().all(|worker| worker.takes_calls())
                || workers.iter().any(|worker| worker.has_exited())
        };
        if failure.is_none() {
            self.changes.wait_until(timeout, is_decided);
            let late = workers.iter().find(|worker| !worker.takes_calls());
            failure = late.map(|worker| Error::StartFailed {
                cause: if worker.has_exited() {
                    format!("{} panicked as it started", worker.id)
                } else {
                    format!("{} was not ready within {} ms", worker.id, timeout.as_millis())
                },
            });
        }
        if let Some(error) = failure {
            workers.iter().for_each(|worker| worker.drain());
            self.waiting.close();
            self.buffers.close();
            return Err(error);
        }
        self.returning.store(0, Ordering::Release);
        *self.is_frozen.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.change_workers(|set| *set = workers);
        // Workers rang while the supervisor could not see them yet.
        self.ticker.ring();
        self.is_open.store(true, Ordering::Release);
        Ok(())
    }

    /// Takes no more calls, lets the accepted ones end until `spin-then-park policy` is over, interrupts the
    /// rest, and returns when the workers are gone or given up.
    pub(crate) fn stop(&self, spin: Duration) {
        self.is_open.store(false, Ordering::SeqCst);
        // Whoever begins a call on its own thread says so, and then looks whether this is open.
        fence(Ordering::SeqCst);
        let workers = self.workers.load_full();
        for worker in workers.iter() {
            self.tell(worker, EventDetails::WorkerShutdownRequested {});
        }
        // The supervisor goes on meanwhile: it ticks, serves the overflow queue, replaces the lost.
        let deadline = time::now() + spin;
        let left = || deadline.saturating_duration_since(time::now());
        let is_drained = || {
            self.waiting.is_empty()
                && !self.is_locally_busy()
                && self.workers.load().iter().all(|worker| worker.in_flight() == 0)
        };
        self.changes.wait_until(left(), is_drained);
        self.waiting.close();
        *self.is_frozen.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let workers = self.workers.load_full();
        workers.iter().for_each(|worker| worker.drain());
        // Whoever looked before the pool closed may have pushed a call since: it has time too.
        let have_exited =
            || !self.is_locally_busy() && workers.iter().all(|worker| worker.has_exited());
        if !self.changes.wait_until(left(), have_exited) {
            for worker in self.locals().iter().filter(|worker| worker.is_busy()) {
                worker.interrupt();
            }
            for worker in workers.iter() {
                worker.interrupt();
                worker.take_queue().iter().for_each(|job| job.call.stop());
            }
            if !self.changes.wait_until(self.options.lost_worker_grace, have_exited) {
                let stuck = workers.iter().filter(|worker| !worker.has_exited());
                stuck.for_each(|worker| self.give_up(worker));
            }
        }
        for worker in workers.iter().filter(|worker| worker.has_exited()) {
            self.tell(worker, EventDetails::WorkerExited { failure_reason: None });
            worker.set_health(HealthState::Stopped, Some("stop_workers requested"));
        }
        self.workers.store(Arc::default());
        self.capacity.drop_orphans();
        for function in self.registry.functions() {
            if let Ok(definition) = &function.definition {
                definition.circuit_breaker.revive();
            }
        }
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.buffers.close();
    }

    fn give_up(&self, worker: &Arc<Worker>) {
        let message = "it did not stop in time; its thread is given up".to_owned();
        self.tell(worker, EventDetails::WorkerError { message });
        worker.set_health(HealthState::Stopped, Some("stop_workers requested"));
        if let Some(call) = worker.steal_running() {
            call.answer_with(|ran| {
                Err(Error::Stopped { function: call.function.to_string(), ran })
            });
        }
        self.abandon(worker);
    }

    /// Keeps an eye on a thread that was given up: should it come back from where it hangs, its
    /// guest must be interrupted.
    pub(crate) fn abandon(&self, worker: &Arc<Worker>) {
        worker.interrupt();
        worker.orphan_idle_sandboxes();
        let mut abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        // The supervisor and a stop may both come to it.
        if !abandoned.iter().any(|other| other.id == worker.id) {
            abandoned.push(Arc::clone(worker));
        }
    }

    /// How many threads that were given up are still there.
    pub(crate) fn abandoned(&self) -> usize {
        let mut abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        abandoned.retain(|worker| !worker.has_exited());
        abandoned.len()
    }

    /// Lets a waiting stop look whether the pool is drained.
    pub(crate) fn tell_change(&self) {
        self.changes.tell();
    }

    pub(crate) fn tell(&self, worker: &Worker, details: EventDetails) {
        self.events.emit(Draft::by(EventSource::Parent, details).worker(worker.id));
    }
}
