//! The workers of a pool as callers read them: an immutable snapshot, read without a lock.

use crate::event::HealthState;
use crate::id::WorkerId;
use crate::information::WorkerHealth;
use crate::sync::{ArcSwap, Mutex};
use crate::worker::Worker;
use std::ops::Deref;
use std::sync::{Arc, PoisonError};

/// The slots of a pool at one moment. It dereferences to the workers of the slots that are up, which take calls.
#[derive(Debug, Default)]
pub(crate) struct WorkerSet {
    workers: Vec<Arc<Worker>>,
    slots: Vec<SlotView>,
}

/// A slot at one moment.
#[derive(Debug)]
pub(crate) struct SlotView {
    /// How many workers have occupied it after the first.
    pub(crate) restarts: u32,
    pub(crate) occupant: Occupant,
}

#[derive(Debug)]
pub(crate) enum Occupant {
    Up(Arc<Worker>),
    /// The slot has no worker, because its last one has failed.
    Absent {
        last: WorkerId,
        /// The `restart_attempt` of the last worker.
        restart_attempt: u32,
        /// Whether calls wait for the next worker. They do not wait for one that starts only after the cool-down.
        is_restarting: bool,
    },
}

impl Occupant {
    pub(in crate::supervisor) fn health(&self) -> HealthState {
        match self {
            Self::Up(worker) => worker.health(),
            Self::Absent { is_restarting: true, .. } => HealthState::Restarting,
            Self::Absent { is_restarting: false, .. } => HealthState::Stopped,
        }
    }
}

impl Deref for WorkerSet {
    type Target = [Arc<Worker>];

    #[inline]
    fn deref(&self) -> &[Arc<Worker>] {
        &self.workers
    }
}

impl WorkerSet {
    pub(crate) fn new(slots: Vec<SlotView>) -> Self {
        let worker = |slot: &SlotView| match &slot.occupant {
            Occupant::Up(worker) => Some(Arc::clone(worker)),
            Occupant::Absent { .. } => None,
        };
        Self { workers: slots.iter().filter_map(worker).collect(), slots }
    }

    /// Whether a worker is about to be replaced, so calls wait for it.
    pub(crate) fn is_restarting(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| matches!(slot.occupant, Occupant::Absent { is_restarting: true, .. }))
    }

    /// The health of every slot, sorted by the number of its worker.
    pub(crate) fn health(&self) -> Vec<WorkerHealth> {
        let slots = self.slots.iter().enumerate();
        let mut states: Vec<_> = slots.map(|(at, slot)| slot.worker_health(at)).collect();
        states.sort_by_key(|state| state.worker_id);
        states
    }
}

impl SlotView {
    fn worker_health(&self, slot: usize) -> WorkerHealth {
        let (restarts, health_state) = (self.restarts, self.occupant.health());
        match &self.occupant {
            Occupant::Up(worker) => WorkerHealth {
                worker_id: worker.id,
                slot,
                health_state,
                pending_call_count: worker.in_flight(),
                suspended_call_count: worker.suspended(),
                running_function: running_function(worker),
                restart_attempt: worker.restart_attempt,
                restarts,
            },
            Occupant::Absent { last, restart_attempt, .. } => WorkerHealth {
                worker_id: *last,
                slot,
                health_state,
                pending_call_count: 0,
                suspended_call_count: 0,
                running_function: None,
                restart_attempt: *restart_attempt,
                restarts,
            },
        }
    }
}

/// The function of the call that the worker runs, unless another thread is inspecting the call.
fn running_function(worker: &Worker) -> Option<String> {
    let call = worker.running().and_then(|running| worker.peek(running))?;
    Some(call.function.to_string())
}

/// The published set. While the pool is stopped, only the thread that starts it may replace the set; afterwards the supervisor
/// may, until a stop freezes the set.
#[derive(Debug)]
pub(crate) struct Published {
    set: ArcSwap<WorkerSet>,
    /// Held while the set is replaced; true after a stop has taken it over.
    is_frozen: Mutex<bool>,
}

impl Published {
    /// An empty set that only a start may replace.
    pub(super) fn new() -> Self {
        Self { set: ArcSwap::default(), is_frozen: Mutex::new(true) }
    }

    #[inline]
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<WorkerSet>> {
        self.set.load()
    }

    pub(crate) fn load_full(&self) -> Arc<WorkerSet> {
        self.set.load_full()
    }

    /// A start publishes its workers, and lets the supervisor replace the set.
    pub(super) fn open(&self, workers: &[Arc<Worker>]) {
        let up = |worker: &Arc<Worker>| Occupant::Up(Arc::clone(worker));
        let slot = |worker| SlotView { restarts: 0, occupant: up(worker) };
        let set = WorkerSet::new(workers.iter().map(slot).collect());
        let mut is_frozen = self.is_frozen.lock().unwrap_or_else(PoisonError::into_inner);
        self.set.store(Arc::new(set));
        *is_frozen = false;
    }

    /// The supervisor publishes its slots; returns false if a stop has taken over the set.
    #[must_use]
    pub(crate) fn publish(&self, set: WorkerSet) -> bool {
        let is_frozen = self.is_frozen.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_frozen {
            self.set.store(Arc::new(set));
        }
        !*is_frozen
    }

    /// A stop takes over the set, which changes no more until the stop clears it.
    pub(super) fn freeze(&self) -> Arc<WorkerSet> {
        *self.is_frozen.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.set.load_full()
    }

    /// The stop has ended all workers.
    pub(super) fn clear(&self) {
        self.set.store(Arc::default());
    }
}
