//! Creates workers and starts the pool.

use super::Pool;
use crate::call::nested::no_pool;
use crate::error::Error;
use crate::event::EventDetails;
use crate::id::WorkerId;
use crate::sandbox::Environment;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::worker::{self, Local, Worker, WorkerContext};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use std::sync::Arc;

impl Pool {
    /// How many instances a worker may keep while others need some.
    fn instances_per_worker(&self) -> usize {
        self.capacity.total() / self.size.load(Ordering::Acquire).max(1)
    }

    /// Creates a worker and starts its thread. It is not in the set of workers yet.
    pub(crate) fn spawn_worker(&self, restart_attempt: u32) -> Result<Arc<Worker>, Error> {
        let (worker, context) = self.create_worker(restart_attempt);
        // The thread is not joined: `has_exited` reports its end, and the thread of an unresponsive worker may never end.
        drop(worker::spawn(&worker, context)?);
        Ok(worker)
    }

    /// Creates a worker that runs calls on its callers' threads.
    pub(crate) fn local(&self) -> Local {
        let (worker, context) = self.create_worker(0);
        self.locals().push(Arc::clone(&worker));
        let local = Local::new(worker, context);
        self.emit(local.worker(), EventDetails::WorkerReady {});
        local
    }

    pub(crate) fn forget_local(&self, worker: &Arc<Worker>) {
        self.locals().retain(|other| other.id != worker.id);
        self.registry.forget_worker(worker.id);
        self.emit(worker, EventDetails::WorkerExited { failure_reason: None });
    }

    fn create_worker(&self, restart_attempt: u32) -> (Arc<Worker>, WorkerContext) {
        let id = WorkerId(self.worker_ids.next());
        let environment = Arc::new(Environment {
            worker: id,
            events: self.events.clone(),
            bindings: self.registry.current_bindings(),
            host_runtime: Arc::clone(&self.host_runtime),
            nested_calls: self.nested_calls.get().cloned().unwrap_or_else(no_pool),
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
        let context = WorkerContext {
            policy: self.policy.clone(),
            call_timeout: self.options.call_timeout,
            failure_severities: self.options.failure_severities,
            random,
            overflow_queue: Arc::clone(&self.overflow_queue),
            capacity: Arc::clone(&self.capacity),
            buffers: Arc::clone(&self.buffers),
            on_change: Arc::new(move || changes.notify_all()),
        };
        self.emit(&worker, EventDetails::WorkerSpawned { restart_attempt });
        (worker, context)
    }

    /// Starts `count` workers, or none. They take calls once the pool is [open](Self::open).
    pub(crate) fn start(&self, count: usize) -> Result<Vec<Arc<Worker>>, Error> {
        self.size.store(count, Ordering::Release);
        self.overflow_queue.open();
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
                    format!("{} panicked during its start", worker.id)
                } else {
                    format!("{} was not ready within {} ms", worker.id, timeout.as_millis())
                },
            });
        }
        if let Some(error) = failure {
            self.cancel_start(&workers);
            return Err(error);
        }
        Ok(workers)
    }

    /// Ends workers that were started, because the pool is not opened.
    pub(crate) fn cancel_start(&self, workers: &[Arc<Worker>]) {
        workers.iter().for_each(|worker| worker.drain());
        self.overflow_queue.close();
        self.buffers.close();
    }

    /// Publishes the workers that were started, and accepts calls.
    pub(crate) fn open(&self, workers: &[Arc<Worker>]) {
        self.workers.open(workers);
        self.is_open.store(true, Ordering::Release);
    }
}
