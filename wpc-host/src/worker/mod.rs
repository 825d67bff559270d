//! A worker: a thread, its queue, and its sandboxes. `local` is one without a thread.
//!
//! # Protocol
//!
//! * *In flight* counts the jobs a worker was given and has not let go of. A place is reserved
//!   before a job is pushed and given back before the job is answered, so that whoever saw the
//!   answer also sees the place free.
//! * From when the worker takes a job until it is done with it, the job's call is its *current* one. The thread that
//!   takes it from there owns its answer, see `current`. A worker whose call was stolen is abandoned, and ends.
//! * *Service time* is a hint: the worker and the supervisor write it, callers read it, and a lost update does no harm.
//! * Everything else here is touched by the worker's own thread only.

pub(crate) mod capacity;
pub(crate) mod job;
pub(crate) mod overflow_queue;
pub(crate) mod queue;

mod current;
mod local;
mod sandbox_cache;
mod service_time;
mod thread;

use current::Current;
pub(crate) use current::Running;
pub(crate) use local::Local;
use service_time::ServiceTime;
pub(crate) use thread::{WorkerContext, spawn};

use crate::call::Call;
use crate::event::{Draft, EventDetails, EventSource, HealthState, Severity};
use crate::id::WorkerId;
use crate::sandbox::Environment;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::system::epoch_ticker::EpochTicker;
use crate::worker::capacity::IdleSandboxes;
use crate::worker::job::Job;
use crate::worker::queue::Queue;
use crossbeam_utils::CachePadded;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// What others see of a worker.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    /// Which replacement in a row it is.
    pub(crate) restart_attempt: u32,
    queue: Queue<Job>,
    in_flight: CachePadded<AtomicUsize>,
    /// The earliest deadline among those in the queue, or earlier.
    next_expiry: AtomicU64,
    /// The tick, plus one, at which a reclaim last found nothing; a hint.
    fruitless_reclaim: AtomicU64,
    /// Held while jobs of the queue are looked at outside it.
    sweeping: Mutex<()>,
    current: CachePadded<Current>,
    is_busy: AtomicBool,
    health: Mutex<HealthState>,
    takes_calls: AtomicBool,
    /// How many definitions back off or are held here.
    degraded: AtomicUsize,
    served: AtomicU64,
    service_time: ServiceTime,
    has_exited: AtomicBool,
    environment: Arc<Environment>,
    ticker: Arc<EpochTicker>,
    idle: Arc<IdleSandboxes>,
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
        environment: Arc<Environment>,
        ticker: Arc<EpochTicker>,
        idle: Arc<IdleSandboxes>,
    ) -> Self {
        Self {
            id,
            restart_attempt,
            queue: Queue::new(),
            in_flight: CachePadded::new(AtomicUsize::new(0)),
            next_expiry: AtomicU64::new(u64::MAX),
            fruitless_reclaim: AtomicU64::new(0),
            sweeping: Mutex::default(),
            current: CachePadded::new(Current::new()),
            is_busy: AtomicBool::new(true),
            health: Mutex::new(HealthState::Starting),
            takes_calls: AtomicBool::new(false),
            degraded: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            service_time: ServiceTime::new(),
            has_exited: AtomicBool::new(false),
            environment,
            ticker,
            idle,
        }
    }

    // What callers use.

    pub(crate) fn takes_calls(&self) -> bool {
        self.takes_calls.load(Ordering::Acquire)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// How long a call is likely to wait behind `calls` others; `None` where the worker sleeps or is occupied otherwise.
    /// Should it be wrong, the supervisor moves the call at the tick after the next, if it has a better place for it and
    /// no key ties it to this worker.
    pub(crate) fn wait_behind(&self, calls: usize) -> Option<Duration> {
        let is_there =
            !self.queue.is_asleep() && !self.environment.is_occupied.load(Ordering::Relaxed);
        is_there.then(|| self.service_time.of(calls))
    }

    /// Reserves a place; false where `limit` are taken.
    #[must_use]
    pub(crate) fn reserve(&self, limit: usize) -> bool {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) < limit {
            return true;
        }
        self.release_slot();
        false
    }

    fn release_slot(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gives the worker a job for which a place was reserved; back comes what it cannot take any
    /// more.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let deadline = self.ticker.nanos(job.call.deadline());
        if let Err(job) = self.queue.push(job) {
            self.release_slot();
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
        self.release_slot();
        Some(job)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::SeqCst)
    }

    pub(crate) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed) > 0
    }

    /// Takes note that it is stuck, so that nobody counts on it: in a call, or between two of them, where it runs a
    /// waker that does not return.
    pub(crate) fn note_stuck(&self) {
        if self.running().is_some() {
            self.service_time.note_stuck();
        } else if self.has_queued() {
            self.environment.is_occupied.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.has_exited.load(Ordering::Acquire)
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// A number that changes when a call begins and when it ends: while it stays and something is
    /// queued, the worker is stuck.
    pub(crate) fn progress(&self) -> u64 {
        self.current.progress()
    }

    /// The call that runs, if one does.
    pub(crate) fn running(&self) -> Option<Running> {
        self.current.running()
    }

    /// The running call if its deadline has passed.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Running> {
        let running = self.running()?;
        (self.ticker.nanos(now) >= self.current.deadline_nanos()).then_some(running)
    }

    /// This call, which stays the worker's; `None` where it has ended.
    pub(crate) fn peek(&self, running: Running) -> Option<Arc<Call>> {
        self.current.peek(running)
    }

    /// Takes the answer of this call away from the worker, which is abandoned then.
    pub(crate) fn steal(&self, running: Running) -> Option<Arc<Call>> {
        self.current.steal(running).inspect(|_| self.release_slot())
    }

    /// Takes the answer of whichever call runs away from the worker.
    pub(crate) fn steal_running(&self) -> Option<Arc<Call>> {
        self.current.steal_running().inspect(|_| self.release_slot())
    }

    /// Closes the queue to new calls. What is in it is still run.
    pub(crate) fn drain(&self) {
        self.takes_calls.store(false, Ordering::Release);
        self.queue.close();
    }

    #[inline]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.environment.stopping.load(Ordering::Acquire)
    }

    /// Interrupts what runs and everything that will.
    pub(crate) fn interrupt(&self) {
        self.environment.stopping.store(true, Ordering::Release);
    }

    /// Everything in the queue; close it first.
    pub(crate) fn take_queue(&self) -> Vec<Job> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// Whether the limit of a queued call may have passed.
    pub(crate) fn may_expire(&self, now: Instant) -> bool {
        self.ticker.nanos(now) >= self.next_expiry.load(Ordering::Acquire)
    }

    /// Ends queued calls whose limit passed, and frees the slots of those that were answered; the
    /// others keep their order. Returns what found the queue closed.
    pub(crate) fn sweep_queue(&self, now: Instant) -> Vec<Job> {
        // Reset first: a push that is missed below lowers it again, since pushes do so last.
        self.next_expiry.store(u64::MAX, Ordering::Release);
        self.sweep(|job| job.call.is_answered() || job.call.expire(now))
    }

    /// Frees the slots of queued calls that were answered, for a caller that finds the worker full. It looks at every
    /// queued call, so it is tried once a tick while it frees nothing; `displaced` are jobs that found the queue closed.
    pub(crate) fn reclaim(&self, limit: usize, displaced: &mut Vec<Job>) -> bool {
        let tick = self.ticker.coarse_now() + 1;
        if self.fruitless_reclaim.load(Ordering::Relaxed) == tick {
            return false;
        }
        displaced.append(&mut self.sweep(|job| job.call.is_answered()));
        let has_freed = self.in_flight() < limit;
        if !has_freed {
            self.fruitless_reclaim.store(tick, Ordering::Relaxed);
        }
        has_freed
    }

    fn sweep(&self, is_over: impl Fn(&Job) -> bool) -> Vec<Job> {
        let (mut over, mut displaced) = (Vec::new(), Vec::new());
        // No other thread may take the queue for empty while its jobs are outside it.
        let sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<_> = std::iter::from_fn(|| self.queue.pop()).collect();
        for job in taken {
            if is_over(&job) {
                self.release_slot();
                over.push(job);
            } else if let Err(job) = self.push(job) {
                displaced.push(job);
            }
        }
        drop(sweeping);
        // What is dropped with a job may be the embedder's.
        drop(over);
        displaced
    }

    /// Takes out the queued jobs that may go to another worker; those with an affinity stay, in
    /// order. Gives back all of them once the queue is closed.
    pub(crate) fn take_movable(&self) -> Vec<Job> {
        let _sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<_> = std::iter::from_fn(|| self.queue.pop()).collect();
        let (affine, mut movable): (Vec<_>, Vec<_>) =
            taken.into_iter().partition(|job| job.affinity.is_some());
        movable.iter().for_each(|_| self.release_slot());
        for job in affine {
            // It keeps its slot, unless it finds the queue closed.
            movable.extend(self.push(job).err());
        }
        movable
    }

    /// Leaves the idle sandboxes of a worker that is abandoned to others.
    pub(crate) fn orphan_idle_sandboxes(&self) {
        self.idle.orphan();
    }

    /// Makes the worker drop sandboxes of retired definitions.
    pub(crate) fn nudge(&self) {
        self.queue.nudge();
    }

    pub(crate) fn health(&self) -> HealthState {
        let health = *self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if health == HealthState::Ready && self.degraded.load(Ordering::Acquire) > 0 {
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
        self.emit_health(to, reason);
    }

    fn emit_health(&self, health_state: HealthState, reason: Option<&str>) {
        let reason = reason.map(str::to_owned);
        let draft = Draft::by(
            EventSource::Parent,
            EventDetails::WorkerHealthStateChanged { health_state, reason },
        );
        let draft = match health_state {
            HealthState::Degraded | HealthState::Restarting => draft.severity(Severity::Warn),
            _ => draft,
        };
        self.environment.events.emit(draft.worker(self.id));
    }
}
