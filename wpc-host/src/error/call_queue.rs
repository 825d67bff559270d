//! The queues that calls wait in.

/// Which queue was full, see [`Error::Saturated`](crate::Error::Saturated).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallQueue {
    /// Those of all workers, see
    /// [`Options::max_pending_calls_per_worker`](crate::Options::max_pending_calls_per_worker).
    Workers,
    /// The overflow queue, see [`Options::max_waiting_calls`](crate::Options::max_waiting_calls).
    Overflow,
}
