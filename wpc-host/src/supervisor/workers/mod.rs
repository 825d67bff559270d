//! The set of workers: its state here, dispatch, start and stop in the files beside it.
//!
//! The set is an immutable snapshot that callers read without a lock. The supervisor replaces the snapshot when a worker is
//! unresponsive or was replaced; start and stop replace it as a whole.

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

/// The maximum number of abandoned threads. Each hangs in a host function. At the maximum no worker is replaced, and calls
/// that no other worker takes are refused.
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
    /// The workers without a thread, which run on their callers' threads.
    locals: Mutex<Vec<Arc<Worker>>>,
    /// Unresponsive workers until they are replaced, for `get_worker_health_states`.
    pub(crate) lost: Mutex<Vec<WorkerHealth>>,
    /// Workers whose threads were abandoned and may still return, to be interrupted then.
    pub(crate) abandoned: Mutex<Vec<Arc<Worker>>>,
    /// Held while the set is replaced; true after a stop has taken it over.
    is_frozen: Mutex<bool>,
    /// Whether calls are accepted.
    pub(crate) is_open: AtomicBool,
    /// How many workers are about to be replaced, so that calls wait for them.
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

    /// Replaces the set of workers. Does nothing and returns false if a stop has taken it over.
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

    /// Makes every worker drop the sandboxes of retired definitions.
    pub(crate) fn nudge_workers(&self) {
        for worker in self.workers.load().iter().chain(self.locals().iter()) {
            worker.nudge();
        }
    }

    fn locals(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        self.locals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a call runs on a local worker.
    pub(crate) fn is_locally_busy(&self) -> bool {
        self.locals().iter().any(|worker| worker.is_busy())
    }

    /// Makes a waiting stop check whether the pool is drained.
    pub(crate) fn notify_change(&self) {
        self.changes.tell();
    }

    pub(crate) fn emit(&self, worker: &Worker, details: EventDetails) {
        self.events.emit(Draft::by(EventSource::Parent, details).worker(worker.id));
    }
}
