//! A slot: a position in the pool that one worker after another occupies. The slot remains when its worker has failed,
//! and counts the failures of its workers. The supervisor owns the slots; no other thread reads or writes them. Other threads read a
//! [`WorkerSet`](super::workers::WorkerSet), which the supervisor publishes after each transition.
//!
//! # Protocol
//!
//! | state | health of the slot | left by | to |
//! |---|---|---|---|
//! | up | that of its worker | [`worker_failed`](Slot::worker_failed): its thread ended or is unresponsive | restarting or open |
//! | restarting at a time | `restarting`; calls wait for the worker | [`occupy`](Slot::occupy) | up |
//! | | | [`start_failed`](Slot::start_failed): its thread could not be created | restarting or open |
//! | open: the restarts are exhausted | `stopped`; no call waits for it | [`retry`](Slot::retry), after the cool-down | restarting, at once |
//!
//! | data | written by | read by | ordering |
//! |---|---|---|---|
//! | the slot, and what the ticks saw of its worker | the supervisor | the supervisor | one thread |
//! | the published [`WorkerSet`](super::workers::WorkerSet) | start, the supervisor, stop, in this order; `Published` ensures it | callers, a stop | release when it is stored, acquire when it is loaded |
//! | the worker's stage | start and stop, the supervisor, the worker's thread; it only advances, see `worker::stage` | all threads | acquire and release |

use super::watch::Watch;
use super::workers::{Occupant, SlotView};
use crate::event::HealthState;
use crate::id::WorkerId;
use crate::registry::restart_policy::{Decision, RestartPolicy, RestartState};
use crate::worker::Worker;
use std::sync::Arc;
use std::time::Instant;

pub(super) struct Slot {
    /// The failures of its workers since one of them last served a call.
    failures: RestartState,
    /// How many workers have occupied it after the first.
    restarts: u32,
    state: State,
}

enum State {
    Up {
        worker: Arc<Worker>,
        watch: Watch,
    },
    Restarting {
        at: Instant,
        attempt: u32,
        last: Last,
    },
    /// `retry_at` is `None` if the pool does not restart workers.
    Open {
        retry_at: Option<Instant>,
        attempt: u32,
        last: Last,
    },
}

/// The worker that occupied a slot until it failed.
#[derive(Clone, Copy)]
struct Last {
    id: WorkerId,
    restart_attempt: u32,
}

impl Slot {
    /// A slot with its first worker.
    pub(super) fn new(worker: Arc<Worker>, now: Instant) -> Self {
        let state = State::Up { worker, watch: Watch::default() };
        Self { failures: RestartState::new(now), restarts: 0, state }
    }

    /// Its worker, with what the ticks saw of it.
    pub(super) fn occupant(&mut self) -> Option<(&Arc<Worker>, &mut Watch)> {
        match &mut self.state {
            State::Up { worker, watch } => Some((worker, watch)),
            State::Restarting { .. } | State::Open { .. } => None,
        }
    }

    pub(super) fn worker(&self) -> Option<&Arc<Worker>> {
        match &self.state {
            State::Up { worker, .. } => Some(worker),
            State::Restarting { .. } | State::Open { .. } => None,
        }
    }

    /// Its worker has failed; the policy decides when it is replaced.
    pub(super) fn worker_failed(
        &mut self,
        policy: &RestartPolicy,
        now: Instant,
        random: &mut impl rand::Rng,
    ) -> Option<Decision> {
        let State::Up { worker, .. } = &self.state else { return None };
        let last = Last { id: worker.id, restart_attempt: worker.restart_attempt };
        let decision = self.failures.failed(worker.has_served(), policy, now, random);
        self.state = State::after(decision, last, policy, now);
        Some(decision)
    }

    /// No worker could be started in it; the policy decides when that is tried again.
    pub(super) fn start_failed(
        &mut self,
        policy: &RestartPolicy,
        now: Instant,
        random: &mut impl rand::Rng,
    ) -> Option<Decision> {
        let State::Restarting { last, .. } = self.state else { return None };
        let decision = self.failures.failed(false, policy, now, random);
        self.state = State::after(decision, last, policy, now);
        Some(decision)
    }

    /// Begins another attempt after the cool-down, if the slot is open.
    pub(super) fn retry(&mut self, now: Instant) {
        if let State::Open { attempt, last, .. } = self.state {
            self.state = State::Restarting { at: now, attempt, last };
        }
    }

    /// A worker was started in it.
    pub(super) fn occupy(&mut self, worker: Arc<Worker>) {
        self.restarts = self.restarts.saturating_add(1);
        self.state = State::Up { worker, watch: Watch::default() };
    }

    /// When a worker is to be started in it.
    pub(super) fn due_at(&self) -> Option<Instant> {
        match self.state {
            State::Up { .. } => None,
            State::Restarting { at, .. } => Some(at),
            State::Open { retry_at, .. } => retry_at,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due_at().is_some_and(|at| at <= now)
    }

    /// The number of consecutive failures before the next worker, while the slot is not up.
    pub(super) fn attempt(&self) -> u32 {
        match &self.state {
            State::Up { worker, .. } => worker.restart_attempt,
            State::Restarting { attempt, .. } | State::Open { attempt, .. } => *attempt,
        }
    }

    pub(super) fn health(&self) -> HealthState {
        self.view().occupant.health()
    }

    /// The slot as other threads see it.
    pub(super) fn view(&self) -> SlotView {
        let absent = |last: Last, is_restarting| Occupant::Absent {
            last: last.id,
            restart_attempt: last.restart_attempt,
            is_restarting,
        };
        let occupant = match &self.state {
            State::Up { worker, .. } => Occupant::Up(Arc::clone(worker)),
            State::Restarting { last, .. } => absent(*last, true),
            State::Open { last, .. } => absent(*last, false),
        };
        SlotView { restarts: self.restarts, occupant }
    }
}

impl State {
    fn after(decision: Decision, last: Last, policy: &RestartPolicy, now: Instant) -> Self {
        match decision {
            Decision::Restart { attempt, delay } => {
                Self::Restarting { at: now + delay, attempt, last }
            }
            Decision::Open { attempts } => {
                let retry_at = policy.cool_down().map(|cool_down| now + cool_down);
                Self::Open { retry_at, attempt: attempts.saturating_add(1), last }
            }
        }
    }
}
