//! Listeners of events, subscriptions to them, and the observer of finished calls.

use crate::error::Error;
use crate::event::observer::FinishedCall;
use crate::event::{EventSubscription, WorkerEvent};
use crate::id::ListenerId;
use crate::pool::WorkerProcedureCall;

impl WorkerProcedureCall {
    /// Adds a listener for all events. Listeners run one after another on a thread of their own. A slow one delays the
    /// others and may cause events to be dropped, but never delays a call. A listener that holds a clone of the pool keeps
    /// it alive.
    ///
    /// # Errors
    ///
    /// [`Error::OsLimit`] or [`Error::StartFailed`] if the listeners' thread could not be created.
    #[doc(alias = "onWorkerEvent")]
    pub fn on_worker_event(
        &self,
        listener: impl Fn(&WorkerEvent) + Send + Sync + 'static,
    ) -> Result<ListenerId, Error> {
        self.0.pool.events.add_listener(Box::new(listener))
    }

    /// Subscribes to all events from now on. At most `capacity` events (at least 1, at most 1,048,576) wait for the
    /// subscriber. More are dropped and counted by [`EventSubscription::lagged`].
    ///
    /// Each slot of the capacity takes about 300 bytes, which are allocated now. A thread takes the events from a
    /// blocking iterator:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use wpc_host::{Options, WorkerProcedureCall};
    ///
    /// let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let events = wpc.subscribe(1_000);
    /// let log = std::thread::spawn(move || {
    ///     // Ends when the pool is dropped.
    ///     events.into_iter().map(|event| event.event_name()).collect::<Vec<_>>()
    /// });
    /// wpc.start_workers(1)?;
    /// drop(wpc);
    /// let names = log.join().map_err(|_| "the thread panicked")?;
    /// assert_eq!(names[..3], ["worker_spawned", "worker_health_state_changed", "worker_ready"]);
    /// # Ok(()) }
    /// ```
    ///
    /// An async task takes them as from any stream:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::StreamExt as _;
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    ///
    /// let mut events = wpc.subscribe(1_000);
    /// wpc.start_workers(1)?;
    /// # futures::executor::block_on(async {
    /// let first = events.next().await.ok_or("the pool was dropped")?;
    /// assert_eq!(first.event_name(), "worker_spawned");
    /// # Ok(()) }) }
    /// ```
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> EventSubscription {
        self.0.pool.events.subscribe(capacity)
    }

    /// Observes every call that has run, successful or not. It replaces an earlier observer.
    ///
    /// `observe` runs on the thread that ran the call, after its caller was answered, so it must return within
    /// microseconds; incrementing a counter is fine. A panic in it is caught. While it does not return, its worker takes no calls and
    /// is reported as [`Degraded`](crate::HealthState::Degraded), but not replaced. Calls that were refused, or ended before
    /// they ran, are not reported here: their callers receive the error.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::sync::Arc;
    /// use wpc_host::{Options, WorkerProcedureCall};
    ///
    /// let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let failed = Arc::new(AtomicU64::new(0));
    /// let counted = Arc::clone(&failed);
    /// wpc.observe_finished_calls(move |call| {
    ///     counted.fetch_add(u64::from(call.error.is_some()), Ordering::Relaxed);
    /// });
    /// # Ok(()) }
    /// ```
    pub fn observe_finished_calls(&self, observe: impl Fn(&FinishedCall) + Send + Sync + 'static) {
        self.0.pool.observer.set(Some(Box::new(observe)));
    }

    /// Removes the observer of finished calls, if there is one.
    pub fn stop_observing_finished_calls(&self) {
        self.0.pool.observer.set(None);
    }

    /// Removes a listener; returns false if it was not registered. It may still be handling one last event.
    #[doc(alias = "offWorkerEvent")]
    pub fn off_worker_event(&self, listener: ListenerId) -> bool {
        self.0.pool.events.remove_listener(listener)
    }
}
