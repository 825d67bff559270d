//! The workers as a set: which of them a call goes to, how they come up and how they go down.
//!
//! The set is an immutable snapshot that callers read without a lock. The supervisor replaces it
//! when a worker is lost; start and stop replace it as a whole.

mod creation;
mod dispatch;
mod shutdown;

use crate::error::Error;
use crate::event::observer::Observer;
use crate::event::{Draft, EventDetails, EventSource, Events};
use crate::id::{Counter, WorkerId};
use crate::information::WorkerHealth;
use crate::module::engine::Engines;
use crate::options::Options;
use crate::registry::Registry;
use crate::registry::restart_policy::RestartPolicy;
use crate::sync::atomic::{AtomicBool, AtomicUsize};
use crate::sync::{ArcSwap, Mutex, MutexGuard, thread, time};
use crate::system::buffers::Buffers;
use crate::system::changes::Changes;
use crate::system::epoch_ticker::EpochTicker;
use crate::worker::Worker;
use crate::worker::capacity::Capacity;
use crate::worker::overflow_queue::OverflowQueue;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

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

    fn locals(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        self.locals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a call runs on its caller's thread.
    pub(crate) fn is_locally_busy(&self) -> bool {
        self.locals().iter().any(|worker| worker.is_busy())
    }

    /// Lets a waiting stop look whether the pool is drained.
    pub(crate) fn notify_change(&self) {
        self.changes.tell();
    }

    pub(crate) fn emit(&self, worker: &Worker, details: EventDetails) {
        self.events.emit(Draft::by(EventSource::Parent, details).worker(worker.id));
    }
}
