//! The set of workers: its state here, dispatch, start and stop in the files beside it.
//!
//! The set is an immutable snapshot that callers read without a lock. The supervisor replaces it when a worker has failed or
//! was replaced; start and stop replace it as a whole.

mod creation;
mod dispatch;
mod set;
mod shutdown;

pub(crate) use set::{Occupant, SlotView, WorkerSet};

use crate::call::Call;
use crate::call::nested::NestedCalls;
use crate::error::Error;
use crate::event::observer::Observer;
use crate::event::{Draft, EventDetails, EventSource, Events};
use crate::host_function::HostRuntime;
use crate::id::Counter;
use crate::module::engine::Engines;
use crate::options::Options;
use crate::registry::Registry;
use crate::registry::restart_policy::RestartPolicy;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use crate::sync::{Mutex, MutexGuard, thread, time};
use crate::system::buffers::Buffers;
use crate::system::changes::Changes;
use crate::system::epoch_ticker::EpochTicker;
use crate::worker::Worker;
use crate::worker::capacity::Capacity;
use crate::worker::overflow_queue::OverflowQueue;
use crate::worker::slots::AtomicSlots;
use set::Published;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
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
    pub(crate) host_runtime: Arc<HostRuntime>,
    /// The pool itself, as its guests call it. Set before the first worker is created.
    pub(crate) nested_calls: OnceLock<Weak<dyn NestedCalls>>,
    pub(crate) observer: Arc<Observer>,
    /// How many workers were replaced.
    pub(crate) restarts: AtomicU64,
    pub(crate) overflow_queue: Arc<OverflowQueue>,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) workers: Published,
    /// The workers without a thread, which run on their callers' threads.
    locals: Mutex<Vec<Arc<Worker>>>,
    /// Workers whose threads were abandoned and may still return, to be interrupted then.
    pub(crate) abandoned: Mutex<Vec<Arc<Worker>>>,
    /// Whether calls are accepted.
    pub(crate) is_open: AtomicBool,
    last_pick: AtomicUsize,
    /// Jobs that are being moved from one worker to another, which may hold a slot of both.
    moving: AtomicSlots,
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
            registry: Registry::new(Arc::clone(&engines), &options),
            capacity: Arc::new(Capacity::new(max_live_instances, options.suspended_instances())),
            engines,
            buffers: Arc::new(Buffers::new(Arc::clone(&ticker))),
            ticker,
            host_runtime: Arc::new(HostRuntime::new(&options)),
            nested_calls: OnceLock::new(),
            observer: Arc::default(),
            restarts: AtomicU64::new(0),
            overflow_queue: Arc::new(OverflowQueue::new(options.max_waiting_calls)),
            workers: Published::new(),
            locals: Mutex::default(),
            abandoned: Mutex::default(),
            is_open: AtomicBool::new(false),
            last_pick: AtomicUsize::new(0),
            moving: AtomicSlots::new(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            worker_ids: Counter::default(),
            call_ids: Counter::default(),
            size: AtomicUsize::new(0),
            changes: Arc::default(),
            started: time::now(),
            options,
        })
    }

    /// Makes every worker drop the sandboxes of retired definitions.
    pub(crate) fn request_cleanup_of_workers(&self) {
        for worker in self.workers.load().iter().chain(self.locals().iter()) {
            worker.request_cleanup();
        }
    }

    /// Counts a call whose answer was taken away from its worker.
    pub(crate) fn count_stolen(&self, call: &Call) {
        if let Some(Err(error)) = call.outcome() {
            self.registry.count_elsewhere(&call.function, error);
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
        self.changes.notify_all();
    }

    pub(crate) fn emit(&self, worker: &Worker, details: EventDetails) {
        self.events.emit(Draft::by(EventSource::Parent, details).worker(worker.id));
    }
}
