//! The current state of the server: samples of the metrics while clients watch, and the last calls and events.
//!
//! # Protocol
//!
//! One task takes a sample each second and publishes it to all watchers. It is started by the first watcher and ends when no
//! watcher has taken a sample for a while, so that a server without watchers samples nothing. Another task collects events in
//! batches from the first request on; without events it does not wake. The lock of `Recent` is held only while entries are
//! copied. The lock of the sampler is held while metrics are read, on a thread for blocking work.

mod latency;
mod nodes;
mod recent;
mod sample;
mod samples;
mod watchers;

pub(crate) use nodes::ClusterSample;
pub(crate) use recent::{Failure, Recent, millis};
pub(crate) use sample::{Activity, FunctionSample, Sample, Totals};
pub(crate) use watchers::Watcher;

use futures::StreamExt as _;
use sample::Sampler;
use samples::Samples;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use wpc_host::{Backend, EventSubscription};

/// The time between two samples.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// How many events may wait to be collected. Further ones in one collection period are counted as lost.
const EVENT_QUEUE: usize = 256;

/// The time between two collections of events while they arrive without a pause. It bounds the processor time that a flood
/// of events takes.
const COLLECTION: Duration = Duration::from_millis(100);

/// The current state of the server.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    sampler: Arc<Mutex<Sampler>>,
    /// Held while a sample is taken, so that concurrent requests share one.
    sampling: tokio::sync::Mutex<()>,
    samples: watch::Sender<Option<Arc<Sample>>>,
    watchers: Mutex<watchers::Watchers>,
    recent: Arc<Mutex<Recent>>,
    samples_of_calls: Arc<Samples>,
    collects: AtomicBool,
    /// Asks the collection of events to note all of them. The collection ends when this is dropped.
    flush: mpsc::Sender<Flush>,
    /// Taken by the collection.
    flushes: Mutex<Option<mpsc::Receiver<Flush>>>,
}

/// Completed when the events that have been emitted are noted.
type Flush = oneshot::Sender<()>;

impl Live {
    pub(crate) fn new() -> Self {
        let (flush, flushes) = mpsc::channel(1);
        Self {
            flush,
            flushes: Mutex::new(Some(flushes)),
            started: Instant::now(),
            started_at: SystemTime::now(),
            sampler: Arc::default(),
            sampling: tokio::sync::Mutex::default(),
            samples: watch::Sender::new(None),
            watchers: Mutex::default(),
            recent: Arc::default(),
            samples_of_calls: Arc::default(),
            collects: AtomicBool::new(false),
        }
    }

    /// Starts to collect events, if that has not begun. Runs in a tokio runtime.
    pub(crate) fn collect(&self, backend: &dyn Backend) {
        if self.collects.swap(true, Ordering::Relaxed) {
            return;
        }
        let flushes = self.flushes.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(flushes) = flushes {
            let (events, recent) = (backend.subscribe(EVENT_QUEUE), Arc::downgrade(&self.recent));
            tokio::spawn(collect(events, recent, Arc::clone(&self.samples_of_calls), flushes));
        }
    }

    /// Completes when all events that have been emitted are among the last ones. Without a flush, an event appears up to one collection
    /// period late.
    pub(crate) async fn flush(&self) {
        let (noted, waiting) = oneshot::channel();
        // If the collection has ended, nothing more is noted.
        if self.flush.send(noted).await.is_ok() {
            let _ = waiting.await;
        }
    }

    /// The last calls and events.
    pub(crate) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sample that is at most one period old.
    pub(crate) async fn sample(&self, backend: &Arc<dyn Backend>) -> Option<Arc<Sample>> {
        let _one_at_a_time = self.sampling.lock().await;
        let current = self.samples.borrow().clone();
        match current {
            Some(sample) if sample.taken.elapsed() < PERIOD => Some(sample),
            _ => self.take(backend).await,
        }
    }

    /// Takes a sample and publishes it; `None` if the runtime is shutting down.
    async fn take(&self, backend: &Arc<dyn Backend>) -> Option<Arc<Sample>> {
        let (backend, sampler) = (Arc::clone(backend), Arc::clone(&self.sampler));
        // With 10,000 functions this takes milliseconds.
        let taken = tokio::task::spawn_blocking(move || {
            let (metrics, cluster) = (backend.metrics(), backend.cluster());
            let mut sampler = sampler.lock().unwrap_or_else(PoisonError::into_inner);
            sampler.sample(metrics, cluster, Instant::now())
        });
        let sample = Arc::new(taken.await.ok()?);
        self.samples.send_replace(Some(Arc::clone(&sample)));
        Some(sample)
    }

    fn watchers(&self) -> MutexGuard<'_, watchers::Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes samples until no client has watched for a while.
async fn sample_periodically(live: Weak<Live>, backend: Arc<dyn Backend>) {
    if let Some(live) = live.upgrade() {
        let samples = Arc::clone(&live.samples_of_calls);
        backend.sample_finished_calls(Some(Box::new(move |call| samples.offer(call))));
    }
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + PERIOD, PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let live = live.upgrade();
        // The sampler is removed under the lock, so that the next task sets its own after that.
        let may_continue = live.as_ref().is_some_and(|live| {
            let mut watchers = live.watchers();
            let may_continue = watchers.may_continue(Instant::now());
            if !may_continue {
                backend.sample_finished_calls(None);
            }
            may_continue
        });
        let Some(live) = live.filter(|_| may_continue) else { return };
        live.recent().note_succeeded(live.samples_of_calls.take_succeeded());
        let _one_at_a_time = live.sampling.lock().await;
        live.take(&backend).await;
    }
}

/// Collects events until the pool or the server ends.
async fn collect(
    mut events: EventSubscription,
    recent: Weak<Mutex<Recent>>,
    samples: Arc<Samples>,
    mut flushes: mpsc::Receiver<Flush>,
) {
    let mut lost = 0;
    loop {
        let (first, flush) = tokio::select! {
            first = events.next() => {
                let Some(first) = first else { return };
                // The pause also lets the worker report how long a failed call ran.
                let flush = tokio::select! {
                    () = tokio::time::sleep(COLLECTION) => None,
                    Some(flush) = flushes.recv() => Some(flush),
                };
                (Some(first), flush)
            }
            flush = flushes.recv() => {
                let Some(flush) = flush else { return };
                (None, Some(flush))
            }
        };
        let Some(recent) = recent.upgrade() else { return };
        let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = first {
            recent.note(&event, &samples);
        }
        while let Some(event) = events.try_next() {
            recent.note(&event, &samples);
        }
        let lagged = events.lagged();
        if lagged > lost {
            recent.note_lost(lagged - lost);
            lost = lagged;
        }
        if let Some(flush) = flush {
            // The client may be gone.
            let _ = flush.send(());
        }
    }
}
