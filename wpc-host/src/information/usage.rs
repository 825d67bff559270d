//! Workers and the resources that they use.

use crate::event::HealthState;
use crate::id::WorkerId;
use serde::{Deserialize, Serialize};

/// A worker's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerHealth {
    /// The worker.
    pub worker_id: WorkerId,
    /// The number of its slot, from 0. A slot is a position in the pool; when its worker is replaced, the new worker takes over
    /// the slot.
    pub slot: usize,
    /// Its state.
    pub health_state: HealthState,
    /// The number of unanswered calls that were dispatched to it.
    pub pending_call_count: usize,
    /// How many of these are suspended.
    #[serde(default)]
    pub suspended_call_count: usize,
    /// The function that it runs at the moment; `None` if it runs none, or between two calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_function: Option<String>,
    /// The number of consecutive replacements that led to this worker; 0 for a worker of `start_workers`.
    pub restart_attempt: u32,
    /// How many times the worker of the slot was replaced since `start_workers`.
    pub restarts: u32,
}

impl WorkerHealth {
    /// A worker of `start_workers` without calls, in the first slot. The other fields can be set.
    #[must_use]
    pub fn new(worker_id: WorkerId, health_state: HealthState) -> Self {
        Self {
            worker_id,
            slot: 0,
            health_state,
            pending_call_count: 0,
            suspended_call_count: 0,
            running_function: None,
            restart_attempt: 0,
            restarts: 0,
        }
    }
}

/// The resources that the sandboxes of all workers of a pool hold at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SandboxUsage {
    /// The number of module instances, bounded by
    /// [`Options::max_live_instances`](crate::Options::max_live_instances).
    pub live_instances: u64,
    /// The number of their linear memories.
    pub live_memories: u64,
    /// The number of bytes of memory that the allocator keeps for new sandboxes.
    pub idle_bytes: u64,
}
