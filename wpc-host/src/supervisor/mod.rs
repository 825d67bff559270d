//! The supervisor: the only timer thread. While anything runs, it ticks once a millisecond, and each tick makes guests
//! check their deadlines. It also handles tasks that no worker can do:
//!
//! * `monitor` finds unresponsive workers and calls that are stuck in a queue;
//! * `replacement` replaces unresponsive workers, and those whose threads ended by a panic;
//! * this file serves the overflow queue.
//!
//! It owns the [slots](slot) of the workers.
//!
//! The supervisor never waits for a worker, never runs a guest or the embedder's code, and never holds a lock while it
//! answers a call. Wakers, `tracing` subscribers and destructors of what a definition held run on the threads of
//! `offload`. An idle pool does not wake the supervisor.

pub(crate) mod scheduler;
pub(crate) mod workers;

mod monitor;
mod replacement;
mod slot;
mod watch;

use crate::call::Call;
use crate::error::Error;
use crate::options::Options;
use crate::supervisor::slot::Slot;
use crate::supervisor::workers::{MAX_ABANDONED, Pool};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::JoinHandle;
use crate::sync::{thread, time};
use crate::system::contain::contain;
use crate::system::offload::{Offload, observe};
use crate::system::os_limits;
use crate::worker::Worker;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often guests check their deadlines. A limit is enforced within one tick. Each tick costs a busy pool a few
/// microseconds.
const TICK: Duration = Duration::from_millis(1);

/// How many ticks the supervisor stays awake after the last work. Waking it costs the next caller a few microseconds,
/// which calls in quick succession should not pay each time.
const LINGER_TICKS: u32 = 64;

/// How long after its limit a call is answered although its worker has not returned from it. A guest returns within one or
/// two ticks.
const LATE: Duration = Duration::from_millis(4);

/// How often the epoch is advanced for abandoned threads. Their calls have been answered; the guest of a thread that
/// returns from its host function only has to be interrupted.
const ABANDONED_TICK: Duration = Duration::from_millis(100);

/// After how many ticks the queue of a stuck worker is swept for cancelled calls, which keep their slots until then.
const SWEEP_TICKS: u32 = 64;

pub(crate) struct Supervisor {
    thread: JoinHandle<()>,
    ends: Arc<AtomicBool>,
    pool: Arc<Pool>,
}

impl Supervisor {
    /// Starts the supervisor of these workers, a slot each.
    pub(crate) fn start(pool: &Arc<Pool>, workers: &[Arc<Worker>]) -> Result<Self, Error> {
        let now = time::now();
        let ends = Arc::new(AtomicBool::new(false));
        let thread = Thread {
            pool: Arc::clone(pool),
            ends: Arc::clone(&ends),
            offload: Offload::default(),
            random: random(&pool.options),
            slots: workers.iter().map(|worker| Slot::new(Arc::clone(worker), now)).collect(),
            idle_ticks: 0,
            ticks: 0,
            last_tick: now,
        };
        let what = "the supervisor's thread";
        let thread = os_limits::start_thread(what, os_limits::USUAL_STACK, || {
            #[expect(clippy::disallowed_methods, reason = "the one timer thread")]
            thread::Builder::new().name("wpc-supervisor".to_owned()).spawn(|| thread.run())
        })?;
        Ok(Self { thread, ends, pool: Arc::clone(pool) })
    }

    pub(crate) fn end(self) {
        self.ends.store(true, Ordering::SeqCst);
        self.pool.ticker.notify();
        self.thread.thread().unpark();
        // While abandoned threads exist, the supervisor keeps running until the last of them has ended.
        let is_other = self.thread.thread().id() != thread::current().id();
        if is_other && self.pool.abandoned() == 0 {
            // The thread does not panic: panics in a round are caught.
            let _ = self.thread.join();
        }
    }
}

fn random(options: &Options) -> SmallRng {
    options.restart_jitter_seed.map_or_else(rand::make_rng, SmallRng::seed_from_u64)
}

struct Thread {
    pool: Arc<Pool>,
    ends: Arc<AtomicBool>,
    offload: Offload,
    random: SmallRng,
    slots: Vec<Slot>,
    idle_ticks: u32,
    ticks: u32,
    last_tick: Instant,
}

/// The workers of the slots that are up.
fn up(slots: &[Slot]) -> impl Iterator<Item = &Arc<Worker>> {
    slots.iter().filter_map(Slot::worker)
}

fn worker_failure(worker: &Worker, call: &Call, reason: &str) -> Error {
    let (function, reason) = (call.function.to_string(), reason.to_owned());
    Error::WorkerLost { function, worker: worker.id, reason, ran: true }
}

impl Thread {
    fn run(mut self) {
        self.pool.ticker.adopt();
        self.offload.adopt();
        while !self.ends.load(Ordering::SeqCst) {
            self.sleep();
            if self.ends.load(Ordering::SeqCst) {
                break;
            }
            // A panic in one round must not prevent the next tick.
            if contain(|| self.round()).is_err() {
                observe(
                    || tracing::error!(target: "wpc", "the supervisor panicked; this is a bug of wpc"),
                );
            }
        }
        self.offload.finish();
        while self.pool.abandoned() > 0 {
            thread::park_timeout(ABANDONED_TICK);
            self.pool.engines.tick();
        }
    }

    fn round(&mut self) {
        let now = time::now();
        if now.duration_since(self.last_tick) < TICK {
            // A worker notified the supervisor between two ticks, because a slot is free for a queued call.
            self.serve_overflow_queue(now);
            return;
        }
        self.last_tick = now;
        self.ticks = self.ticks.wrapping_add(1);
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        self.pool.ticker.tick(now);
        self.pool.engines.tick();
        self.offload.start_thread_if_blocked();
        if self.pool.capacity.is_wanted() {
            self.pool.request_cleanup_of_workers();
        }
        self.check_workers(now);
        self.restart_due(now);
        self.serve_overflow_queue(now);
        self.pool.buffers.age(now);
        if !self.pool.is_open.load(Ordering::Acquire) {
            self.pool.notify_change();
        }
    }

    /// Redispatches every call of the overflow queue. After one call of a definition was refused, its other calls are not
    /// tried in the same round.
    fn serve_overflow_queue(&self, now: Instant) {
        if self.pool.overflow_queue.is_empty() {
            return;
        }
        let mut refused = HashSet::new();
        self.pool.overflow_queue.serve(|job| {
            let generation = job.definition.generation;
            if job.affinity.is_none()
                && refused.contains(&generation)
                && job.call.interrupted(now).is_none()
            {
                return Some(job);
            }
            let is_affine = job.affinity.is_some();
            let left = self.pool.redispatch(job);
            if left.is_some() && !is_affine {
                refused.insert(generation);
            }
            left
        });
    }

    /// Sleeps for a tick, or until there is work.
    fn sleep(&mut self) {
        let pool = &self.pool;
        let has_work = || {
            self.ends.load(Ordering::SeqCst)
                || !pool.overflow_queue.is_empty()
                || pool.is_locally_busy()
                || self.offload.is_behind()
                || up(&self.slots).any(|worker| {
                    worker.is_busy() || worker.has_exited() || worker.waiting_count() > 0
                })
        };
        if has_work() {
            self.idle_ticks = 0;
        }
        if !pool.overflow_queue.is_empty() {
            // A worker that has a free slot notifies the supervisor, so queued calls do not wait for the tick.
            pool.ticker.sleep(Some(TICK), || self.ends.load(Ordering::SeqCst));
            return;
        }
        if self.idle_ticks <= LINGER_TICKS {
            thread::park_timeout(TICK);
            return;
        }
        let now = time::now();
        let is_full = pool.abandoned() >= MAX_ABANDONED;
        let slots = self.slots.iter().filter(|_| !is_full);
        let dues = slots.filter_map(Slot::due_at).map(|at| at.saturating_duration_since(now));
        // Calls that are suspended after this are checked below, before the sleep.
        let expiry = || up(&self.slots).map(|worker| worker.suspended_expiry()).min();
        let planned = expiry().unwrap_or(u64::MAX);
        let until_expiry = planned.saturating_sub(pool.ticker.nanos(now));
        let suspended = (planned != u64::MAX).then(|| Duration::from_nanos(until_expiry));
        let abandoned = (pool.abandoned() > 0).then_some(ABANDONED_TICK);
        let buffers = pool.buffers.due(now);
        // A buffer that was added since is not part of the sleep time below.
        let is_due = || buffers.is_none() && !pool.buffers.is_empty();
        let at_most = dues.chain(abandoned).chain(buffers).chain(suspended).min();
        let is_earlier = || expiry().is_some_and(|expiry| expiry < planned);
        pool.ticker.sleep(at_most, || has_work() || is_due() || is_earlier());
    }
}
