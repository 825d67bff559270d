//! Whether a pool and its functions can serve calls.

use crate::event::HealthState;
use crate::id::FunctionHash;
use crate::information::{BreakerCounts, FunctionMetrics, PoolMetrics, WorkerHealth};
use serde::{Deserialize, Serialize};

/// The workers of a pool and their load at one moment. Reading it takes time in proportion to the number of workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PoolHealth {
    /// The health of each worker.
    pub workers: Vec<WorkerHealth>,
    /// Calls that were dispatched to workers and are not answered.
    pub pending_calls: usize,
    /// The maximum of `pending_calls`; 0 while the pool is stopped.
    pub pending_call_limit: usize,
    /// Accepted calls that no worker can take at the moment.
    pub waiting_calls: usize,
    /// The maximum of `waiting_calls`.
    pub waiting_call_limit: usize,
}

impl PoolHealth {
    /// The number of workers that accept calls.
    ///
    /// ```
    /// use wpc_host::{HealthState, PoolHealth, WorkerHealth, WorkerId};
    ///
    /// let mut health = PoolHealth::default();
    /// health.workers.push(WorkerHealth::new(WorkerId::from(1), HealthState::Degraded));
    /// health.workers.push(WorkerHealth::new(WorkerId::from(2), HealthState::Restarting));
    /// assert_eq!(health.workers_up(), 1);
    /// ```
    #[must_use]
    pub fn workers_up(&self) -> usize {
        let is_up = |worker: &&WorkerHealth| {
            matches!(worker.health_state, HealthState::Ready | HealthState::Degraded)
        };
        self.workers.iter().filter(is_up).count()
    }

    /// The share of the workers' slots that is taken, from 0 to 1; 1 if there are no slots.
    #[must_use]
    pub fn saturation(&self) -> f64 {
        saturation(self.pending_calls, self.pending_call_limit)
    }
}

impl From<&PoolMetrics> for PoolHealth {
    fn from(metrics: &PoolMetrics) -> Self {
        Self {
            workers: metrics.workers.clone(),
            pending_calls: metrics.pending_calls,
            pending_call_limit: metrics.pending_call_limit,
            waiting_calls: metrics.waiting_calls,
            waiting_call_limit: metrics.waiting_call_limit,
        }
    }
}

pub(super) fn saturation(pending: usize, limit: usize) -> f64 {
    if limit == 0 {
        return 1.0;
    }
    (pending as f64 / limit as f64).min(1.0)
}

/// Whether a function can be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionHealth {
    /// The function.
    pub name: String,
    /// The SHA-1 of its module.
    pub function_hash_sha1: FunctionHash,
    /// Its state.
    pub state: FunctionState,
    /// Why it is not ready: its last failure, or what is missing. `None` if it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of workers, by the state of the function's circuit breaker on each.
    pub breakers: BreakerCounts,
}

impl FunctionHealth {
    /// A function in this state. The other fields can be set.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        function_hash_sha1: FunctionHash,
        state: FunctionState,
    ) -> Self {
        let breakers = BreakerCounts::default();
        Self { name: name.into(), function_hash_sha1, state, reason: None, breakers }
    }
}

impl From<FunctionMetrics> for FunctionHealth {
    fn from(metrics: FunctionMetrics) -> Self {
        let state = FunctionState::of(&metrics.breakers);
        let breakers = metrics.breakers;
        Self { breakers, ..Self::new(metrics.name, metrics.function_hash_sha1, state) }
    }
}

/// The state of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FunctionState {
    /// At least one worker can run it, or the pool has no workers and nothing failed.
    Ready,
    /// It failed on every worker and will be tried again.
    BackingOff,
    /// Its circuit breaker is open on every worker.
    CircuitOpen,
    /// A dependency is not defined.
    MissingDependency,
    /// A host function that it imports is not defined.
    MissingHostFunction,
}

impl FunctionState {
    /// Every state.
    pub const ALL: &[Self] = &[
        Self::Ready,
        Self::BackingOff,
        Self::CircuitOpen,
        Self::MissingDependency,
        Self::MissingHostFunction,
    ];

    /// Its stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::BackingOff => "backing_off",
            Self::CircuitOpen => "circuit_open",
            Self::MissingDependency => "missing_dependency",
            Self::MissingHostFunction => "missing_host_function",
        }
    }

    /// The state of a function whose requirements are all defined.
    #[must_use]
    pub fn of(breakers: &BreakerCounts) -> Self {
        let BreakerCounts { closed, backing_off, open, half_open } = breakers;
        if *closed > 0 || backing_off + open + half_open == 0 {
            Self::Ready
        } else if *backing_off + *half_open > 0 {
            Self::BackingOff
        } else {
            Self::CircuitOpen
        }
    }
}
