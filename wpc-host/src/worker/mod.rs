//! A worker: a thread, its queue, and its sandboxes. `local` is a worker without a thread.
//!
//! # Protocol
//!
//! * *In flight* counts the jobs that were pushed to a worker and not released. A slot of the queue is reserved before a job
//!   is pushed, and released before the job is answered, so that a caller that saw the answer also sees the slot free.
//! * From when the worker takes a job until it has finished it, the job's call is its *current* one. The thread that takes
//!   the call from there owns its answer, see `current`. A worker whose call was stolen is abandoned, and ends.
//!
//! All threads share [`Worker`]:
//!
//! | field | written by | ordering |
//! |---|---|---|
//! | `queue`, `current`, `stage`, `suspended`, `waiting`, `idle` | see `queue`, `current`, `stage`, `suspended`, `waiting`, `capacity` | stated there |
//! | `slots` | the thread that reserves or releases a slot | acquire and release |
//! | `next_expiry` | pushing threads lower it, the supervisor resets it | acquire and release |
//! | `is_busy` | the worker's thread; for a local worker, its caller | sequentially consistent with the supervisor's check before it parks |
//! | `degraded` | the worker's thread | release; readers acquire |
//! | `is_blocked` | the supervisor | release; readers acquire |
//! | `served` | the worker's thread | relaxed: the supervisor reads it after the worker has failed, and may miss the last call |
//! | `service_time`, `fruitless_reclaim`, `environment.is_occupied` | the worker's thread and the supervisor, or any caller | relaxed: hints, for which a lost update does no harm |
//! | `environment.stopping` | the thread that interrupts the worker | release; readers acquire |
//!
//! The state in `thread` belongs to the worker's thread, and that of a local worker to its caller.

pub(crate) mod capacity;
pub(crate) mod job;
pub(crate) mod overflow_queue;
pub(crate) mod queue;
pub(crate) mod slots;

mod current;
mod local;
mod sandbox_cache;
mod service_time;
mod stage;
mod suspended;
mod thread;
mod waiting;

use current::Current;
pub(crate) use current::Running;
pub(crate) use local::Local;
use service_time::ServiceTime;
use stage::{AtomicStage, Stage};
use suspended::Suspended;
pub(crate) use suspended::SuspendedCall;
pub(crate) use thread::{WorkerContext, spawn};
use waiting::WaitingJobs;

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
use crate::worker::slots::{AtomicSlots, Slots};
use crossbeam_utils::CachePadded;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// The part of a worker that other threads use.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    /// How many consecutive restarts led to this worker.
    pub(crate) restart_attempt: u32,
    queue: Queue<Job>,
    slots: CachePadded<AtomicSlots>,
    /// A lower bound on the deadlines in the queue.
    next_expiry: AtomicU64,
    /// The tick, plus one, at which a reclaim last freed no slot; a hint.
    fruitless_reclaim: AtomicU64,
    /// Jobs that wait until a sandbox of their definition is free here.
    waiting: WaitingJobs,
    suspended: Suspended,
    /// Held while jobs are taken out of the queue for inspection.
    sweeping: Mutex<()>,
    current: CachePadded<Current>,
    is_busy: AtomicBool,
    stage: AtomicStage,
    /// How many definitions back off or have an open circuit breaker on this worker.
    degraded: AtomicUsize,
    /// Whether its thread does not return from the embedder's code between two calls.
    is_blocked: AtomicBool,
    served: AtomicU64,
    service_time: ServiceTime,
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
            slots: CachePadded::new(AtomicSlots::new()),
            next_expiry: AtomicU64::new(u64::MAX),
            fruitless_reclaim: AtomicU64::new(0),
            waiting: WaitingJobs::default(),
            suspended: Suspended::new(),
            sweeping: Mutex::default(),
            current: CachePadded::new(Current::new()),
            is_busy: AtomicBool::new(true),
            stage: AtomicStage::new(),
            degraded: AtomicUsize::new(0),
            is_blocked: AtomicBool::new(false),
            served: AtomicU64::new(0),
            service_time: ServiceTime::new(),
            environment,
            ticker,
            idle,
        }
    }

    // Used by callers.

    pub(crate) fn takes_calls(&self) -> bool {
        self.stage.is(Stage::Ready)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slots().taken()
    }

    /// How many calls are not suspended. Those that wait for a sandbox count, because another worker may have one.
    pub(crate) fn runnable(&self) -> usize {
        self.in_flight().saturating_sub(self.suspended.count())
    }

    /// How many jobs wait for a sandbox.
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.count()
    }

    pub(crate) fn slots(&self) -> Slots {
        self.slots.read()
    }

    /// How long a call is likely to wait behind `calls` others, in nanoseconds; `None` if the worker is parked or otherwise
    /// occupied. If the estimate is wrong, the supervisor moves the call at the tick after the next, unless no other worker is
    /// less loaded or a key ties the call to this worker.
    pub(crate) fn wait_behind(&self, calls: usize) -> Option<u64> {
        let is_there =
            !self.queue.is_asleep() && !self.environment.is_occupied.load(Ordering::Relaxed);
        is_there.then(|| self.service_time.of(calls))
    }

    /// Reserves a slot; returns false if `limit` slots are taken.
    #[must_use]
    pub(crate) fn reserve(&self, limit: usize) -> bool {
        self.slots.reserve(limit)
    }

    /// Takes a slot, even if all are taken: for work of the worker itself.
    fn take_slot(&self) {
        self.slots.take();
    }

    pub(crate) fn release_slot(&self) {
        self.slots.release();
    }

    /// Pushes a job for which a slot was reserved. If the queue is closed, releases the slot and returns the job.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        self.put(job).inspect_err(|_| self.release_slot())
    }

    /// The same, but keeps the slot if the queue is closed.
    #[inline]
    fn put(&self, mut job: Job) -> Result<(), Job> {
        let deadline = self.ticker.nanos(job.call.deadline());
        job.deadline = deadline;
        self.queue.push(job)?;
        if deadline < self.next_expiry.load(Ordering::Relaxed) {
            self.next_expiry.fetch_min(deadline, Ordering::AcqRel);
        }
        Ok(())
    }

    // Used by the supervisor.

    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::SeqCst)
    }

    pub(crate) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed) > 0
    }

    /// Marks the worker as stuck, so that dispatch does not count on it. It is stuck in a call, or between two calls in a
    /// waker that does not return.
    pub(crate) fn note_stuck(&self) {
        if self.running().is_some() {
            self.service_time.note_stuck();
        } else if self.has_queued() {
            self.environment.is_occupied.store(true, Ordering::Relaxed);
        }
    }

    /// Records and reports whether its thread does not return from the embedder's code between two calls.
    pub(crate) fn set_blocked(&self, is_blocked: bool) {
        // Only the supervisor writes it.
        if self.is_blocked.load(Ordering::Relaxed) == is_blocked {
            return;
        }
        self.is_blocked.store(is_blocked, Ordering::Release);
        let reason = if is_blocked {
            "its thread does not return from a waker, an observer or a `tracing` subscriber"
        } else {
            "its thread returned"
        };
        self.emit_health(self.health(), Some(reason));
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.stage.is(Stage::Exited)
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// A number that changes when a call begins and when it ends. While it stays the same and jobs are queued, the worker is
    /// stuck.
    pub(crate) fn progress(&self) -> u64 {
        self.current.progress()
    }

    /// The running call, if there is one.
    pub(crate) fn running(&self) -> Option<Running> {
        self.current.running()
    }

    /// The running call, if its deadline has passed.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Running> {
        let running = self.running()?;
        (self.ticker.nanos(now) >= self.current.deadline_nanos()).then_some(running)
    }

    /// Returns this call, whose answer the worker still owns; `None` if it has ended.
    pub(crate) fn peek(&self, running: Running) -> Option<Arc<Call>> {
        self.current.peek(running)
    }

    /// Takes the answer of this call away from the worker, which must then be abandoned.
    pub(crate) fn steal(&self, running: Running) -> Option<Arc<Call>> {
        self.current.steal(running).inspect(|_| self.release_slot())
    }

    /// Takes the answer of the running call away from the worker, which must then be abandoned.
    pub(crate) fn steal_running(&self) -> Option<Arc<Call>> {
        self.current.steal_running().inspect(|_| self.release_slot())
    }

    /// Closes the queue to new calls. The worker still runs the queued ones.
    pub(crate) fn drain(&self) {
        self.stage.enter(Stage::Draining);
        self.queue.close();
    }

    #[inline]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.environment.stopping.load(Ordering::Acquire)
    }

    /// Interrupts the running call and all later ones.
    pub(crate) fn interrupt(&self) {
        self.environment.stopping.store(true, Ordering::Release);
    }

    /// Takes each job out of the queue, which must be closed before, and releases its slot after `take` has returned. A stop
    /// that finds no slot taken therefore finds the job where `take` has put it.
    pub(crate) fn empty_queue(&self, mut take: impl FnMut(Job)) {
        for job in self.take_queued() {
            take(job);
            self.release_slot();
        }
    }

    /// Takes all jobs out that have not begun.
    fn take_queued(&self) -> Vec<Job> {
        let mut taken = self.waiting.take_all();
        taken.extend(std::iter::from_fn(|| self.queue.pop()));
        taken
    }

    /// Whether the limit of a queued call may have passed.
    pub(crate) fn may_expire(&self, now: Instant) -> bool {
        self.ticker.nanos(now) >= self.next_expiry.load(Ordering::Acquire)
    }

    /// Ends queued calls whose limit passed, and releases the slots of answered calls; the other jobs keep their order.
    /// `displace` takes the jobs that cannot be put back because the queue was closed.
    pub(crate) fn sweep_queue(&self, now: Instant, displace: impl FnMut(Job)) {
        // Reset first: a push that the sweep misses lowers it again afterwards, because that is the last step of a push.
        self.next_expiry.store(u64::MAX, Ordering::Release);
        self.sweep(|job| job.call.is_answered() || job.call.expire(now), displace);
    }

    /// Releases the slots of queued calls that were answered, for a caller that finds the worker full. It inspects every
    /// queued call, so it is tried once per tick while it frees nothing. `displace` takes the jobs that cannot be put back
    /// because the queue was closed.
    pub(crate) fn reclaim(&self, limit: usize, displace: impl FnMut(Job)) -> bool {
        let tick = self.ticker.coarse_now() + 1;
        if self.fruitless_reclaim.load(Ordering::Relaxed) == tick {
            return false;
        }
        self.sweep(|job| job.call.is_answered(), displace);
        let has_freed = self.in_flight() < limit;
        if !has_freed {
            self.fruitless_reclaim.store(tick, Ordering::Relaxed);
        }
        has_freed
    }

    fn sweep(&self, is_over: impl Fn(&Job) -> bool, mut displace: impl FnMut(Job)) {
        let (mut over, mut displaced) = (Vec::new(), Vec::new());
        // No other sweep, and no move of jobs, may see the queue as empty while its jobs are taken out.
        let sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        for job in self.take_queued() {
            if is_over(&job) {
                self.release_slot();
                over.push(job);
            } else if let Err(job) = self.put(job) {
                displaced.push(job);
            }
        }
        drop(sweeping);
        // Dropped after the lock, because dropping a job may run code of the embedder.
        drop(over);
        for job in displaced {
            displace(job);
            // Afterwards, as in `empty_queue`.
            self.release_slot();
        }
    }

    /// Takes out the queued jobs that may go to another worker. Jobs with an affinity keep their position and order, unless
    /// the queue is closed; then all jobs are returned. Each job keeps its slot until the caller has passed it on and
    /// [releases](Self::release_slot) it.
    pub(crate) fn take_movable(&self) -> Vec<Job> {
        let _sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let (affine, mut movable): (Vec<_>, Vec<_>) =
            self.take_queued().into_iter().partition(|job| job.affinity.is_some());
        for job in affine {
            movable.extend(self.put(job).err());
        }
        movable
    }

    // Calls on fibers.

    /// Keeps a job that waits for a sandbox.
    fn keep_waiting(&self, job: Job) {
        let deadline = job.deadline;
        self.waiting.add(job);
        // A sweep may have run while the job was neither in the queue nor in `waiting`.
        self.next_expiry.fetch_min(deadline, Ordering::AcqRel);
    }

    /// When a suspended call may have to end, in nanoseconds of the epoch ticker's clock.
    pub(crate) fn suspended_expiry(&self) -> u64 {
        self.suspended.next_expiry()
    }

    /// Takes the suspended calls that must end, and releases their slots. The caller answers and [releases](
    /// SuspendedCall::release) them.
    pub(crate) fn take_ended(&self, now: Instant) -> Vec<SuspendedCall> {
        let must_end = |call: &Call| call.interrupted(now).is_some();
        let deadline = |call: &Call| self.ticker.nanos(call.deadline());
        let ended = self.suspended.take_ended(must_end, deadline);
        ended.iter().for_each(|_| self.release_slot());
        ended
    }

    /// Takes all suspended calls, and releases their slots, because the worker is stopped or abandoned. No call is suspended
    /// any more.
    pub(crate) fn take_suspended(&self) -> Vec<SuspendedCall> {
        let suspended = self.suspended.close();
        suspended.iter().for_each(|_| self.release_slot());
        suspended
    }

    /// How many calls are suspended.
    pub(crate) fn suspended(&self) -> usize {
        self.suspended.count()
    }

    /// Makes the idle sandboxes of an abandoned worker the first to be dropped.
    pub(crate) fn orphan_idle_sandboxes(&self) {
        self.idle.orphan();
    }

    /// Makes the worker drop sandboxes of retired definitions.
    pub(crate) fn request_cleanup(&self) {
        self.queue.request_cleanup();
    }

    /// Its health while it occupies a slot.
    pub(crate) fn health(&self) -> HealthState {
        if self.stage.is(Stage::Starting) {
            HealthState::Starting
        } else if self.degraded.load(Ordering::Acquire) > 0
            || self.is_blocked.load(Ordering::Acquire)
        {
            HealthState::Degraded
        } else {
            HealthState::Ready
        }
    }

    pub(crate) fn emit_health(&self, health_state: HealthState, reason: Option<&str>) {
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

#[cfg(test)]
mod tests {
    use super::overflow_queue::tests::{job, registry};
    use super::*;
    use crate::call::nested::no_pool;
    use crate::event::Events;
    use crate::host_function::HostRuntime;
    use crate::options::Options;
    use crate::worker::capacity::Capacity;

    #[test]
    fn a_displaced_job_keeps_its_slot_until_it_has_been_passed_on() {
        let registry = registry(&["f"]);
        let ticker = Arc::new(EpochTicker::new());
        let environment = Environment {
            worker: WorkerId(1),
            events: Events::new(1),
            bindings: registry.current_bindings(),
            host_runtime: Arc::new(HostRuntime::new(&Options::default())),
            nested_calls: no_pool(),
            stopping: Arc::default(),
            is_occupied: AtomicBool::new(false),
            ticker: Arc::clone(&ticker),
            observer: Arc::default(),
            started: Instant::now(),
            max_wasm_stack: 1 << 20,
            max_instances: 1,
        };
        let idle = Capacity::new(1, 1).add_cache(1);
        let worker = Worker::new(WorkerId(1), 0, Arc::new(environment), ticker, idle);
        assert!(worker.reserve(1) && worker.push(job(&registry, "f")).is_ok());
        // The queue is closed while the job is taken out.
        let is_over = |_: &Job| {
            worker.drain();
            false
        };
        let mut seen = None;
        worker.sweep(is_over, |_| seen = Some(worker.in_flight()));
        assert_eq!((seen, worker.in_flight()), (Some(1), 0));
    }
}
