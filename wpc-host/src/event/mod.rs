//! Events: what happened, reported to listeners, subscriptions and `tracing`. The runtime neither waits for an event nor
//! depends on one.
//!
//! The thread that emits an event pushes it into a bounded queue. One thread takes events out and calls the listeners in
//! the order in which they were added. A slow listener fills the queue; events that do not fit are dropped and counted. A
//! panicking listener is reported and stays registered. Each subscription has a queue of its own, see `subscription`.

mod details;
mod draft;
mod error;
mod listeners;
pub(crate) mod observer;
mod severity;
mod subscription;

pub use details::EventDetails;
pub(crate) use draft::Draft;
pub use error::EventError;
pub(crate) use listeners::Events;
pub use severity::{FailureSeverities, Severity};
pub use subscription::{EventIterator, EventSubscription};

use crate::id::{CallId, WorkerId};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// A report of something that happened in a pool.
///
/// Serialized, `details` is the field `event`: its name and its data.
///
/// ```
/// use std::time::SystemTime;
/// use wpc_host::{EventDetails, EventSource, WorkerEvent};
///
/// let details = EventDetails::WorkerSpawned { restart_attempt: 0 };
/// let event = WorkerEvent::new(1, SystemTime::UNIX_EPOCH, EventSource::Parent, details);
/// let json = serde_json::to_value(&event)?;
/// assert_eq!(json["event"]["name"], "worker_spawned");
/// assert_eq!(json["event"]["details"]["restart_attempt"], 0);
/// assert_eq!(serde_json::from_value::<WorkerEvent>(json)?, event);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerEvent {
    /// The event's number within its pool: counts up from 1, in the order of emission.
    pub event_id: u64,
    /// The worker that it concerns, if any.
    pub worker_id: Option<WorkerId>,
    /// Which thread reported it.
    pub source: EventSource,
    /// How much it matters.
    pub severity: Severity,
    /// When it was emitted.
    pub timestamp: SystemTime,
    /// The call that it belongs to, if any.
    pub correlation_id: Option<CallId>,
    /// The failure that it reports, if any.
    pub error: Option<EventError>,
    /// What happened, with its data.
    #[serde(rename = "event")]
    pub details: EventDetails,
}

impl WorkerEvent {
    /// An event with its usual severity, without a worker, call or error. The other fields can be set.
    #[must_use]
    pub fn new(
        event_id: u64,
        timestamp: SystemTime,
        source: EventSource,
        details: EventDetails,
    ) -> Self {
        Self {
            event_id,
            worker_id: None,
            source,
            severity: details.usual_severity(),
            timestamp,
            correlation_id: None,
            error: None,
            details,
        }
    }

    /// The event's stable name, such as `worker_ready`.
    #[must_use]
    pub fn event_name(&self) -> &'static str {
        self.details.event_name()
    }
}

/// Which thread reported an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventSource {
    /// A worker's thread.
    Worker,
    /// The supervisor, or a thread that used the pool's handle.
    Parent,
}

/// What a worker can do at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Its thread is starting.
    Starting,
    /// It accepts calls to every function.
    Ready,
    /// At least one function failed on it and has not answered since: it backs off, its circuit breaker is open, or a
    /// trial call is due. The worker accepts calls to other functions. Or its thread has not returned from a waker, an observer
    /// of finished calls or a `tracing` subscriber for
    /// [`unresponsive_worker_grace`](crate::Options::unresponsive_worker_grace); then its calls wait, or move to other workers.
    Degraded,
    /// Its thread was abandoned or panicked, and is being replaced.
    Restarting,
    /// It accepts no more calls.
    Stopped,
}
