//! Replacing unresponsive workers.

use super::Thread;
use crate::call::Call;
use crate::error::Error;
use crate::event::{Draft, EventDetails, EventSource, HealthState};
use crate::id::WorkerId;
use crate::information::WorkerHealth;
use crate::registry::circuit_breaker::consequence;
use crate::registry::restart_policy::{Decision, RestartState};
use crate::supervisor::workers::MAX_ABANDONED;
use crate::sync::atomic::Ordering;
use crate::worker::Worker;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

pub(super) struct PendingRestart {
    /// The unresponsive worker.
    pub(super) id: WorkerId,
    pub(super) state: RestartState,
    pub(super) attempt: u32,
    /// Whether calls wait for the replacement. They do not if it is only attempted after a long cool-down.
    pub(super) is_awaited: bool,
}

impl Thread {
    /// Counts an unresponsive worker as a failure of the definition whose call it ran.
    pub(super) fn record_failure(&mut self, call: &Call, error: &Error, now: Instant) {
        let Some(function) = self.pool.registry.function(&call.function) else { return };
        let Ok(definition) = &function.definition else { return };
        if definition.generation != call.generation {
            return;
        }
        let decision = definition.circuit_breaker.lost_a_worker(
            error,
            &self.pool.policy,
            now,
            &mut self.random,
        );
        let details = consequence(decision, &call.function);
        let draft = Draft::by(EventSource::Parent, details).call(call.id).error(error);
        self.pool.events.emit(draft);
    }

    /// Removes a worker from the set, redispatches its queue, and lets the policy decide when it is replaced.
    pub(super) fn remove_worker(
        &mut self,
        worker: &Arc<Worker>,
        call: Option<&Call>,
        reason: &str,
        now: Instant,
    ) {
        let pool = Arc::clone(&self.pool);
        let message = EventDetails::WorkerError { message: reason.to_owned() };
        let draft = Draft::by(EventSource::Parent, message).worker(worker.id);
        pool.events.emit(match call {
            Some(call) => draft.call(call.id),
            None => draft,
        });
        let mut state = self.restarts.remove(&worker.id).unwrap_or_else(|| RestartState::new(now));
        let decision = state.failed(worker.has_served(), &pool.policy, now, &mut self.random);
        let will_return = !matches!(decision, Decision::Hold { .. });
        if will_return {
            pool.returning.fetch_add(1, Ordering::AcqRel);
        }
        worker.set_health(
            if will_return { HealthState::Restarting } else { HealthState::Stopped },
            Some(reason),
        );
        worker.drain();
        pool.change_workers(|workers| workers.retain(|other| other.id != worker.id));
        pool.lost.lock().unwrap_or_else(PoisonError::into_inner).push(WorkerHealth {
            worker_id: worker.id,
            health_state: worker.health(),
            pending_call_count: 0,
            restart_attempt: worker.restart_attempt,
        });
        if !worker.has_exited() {
            pool.abandon(worker);
        }
        self.progress.remove(&worker.id);
        self.overdue.remove(&worker.id);
        self.seen_running.remove(&worker.id);
        pool.registry.forget_worker(worker.id);
        pool.emit(worker, EventDetails::WorkerExited { failure_reason: Some(reason.to_owned()) });
        match decision {
            Decision::RestartNow { attempt } => {
                self.schedule_restart(worker, state, attempt, Duration::ZERO);
            }
            Decision::RestartAfter { attempt, delay } => {
                self.schedule_restart(worker, state, attempt, delay)
            }
            Decision::Hold { attempts } => {
                pool.emit(
                    worker,
                    EventDetails::WorkerRestartExhausted {
                        restart_attempt: attempts,
                        max_restarts_per_worker: pool.options.max_restarts_per_worker,
                    },
                );
                // Attempted once more after the cool-down.
                let attempt = attempts.saturating_add(1);
                if pool.policy.restarts() {
                    self.pending_restarts.push(PendingRestart {
                        id: worker.id,
                        state,
                        attempt,
                        is_awaited: false,
                    });
                }
            }
        }
        for job in worker.take_queue() {
            self.pool.redispatch_or_enqueue(job);
        }
    }

    fn schedule_restart(
        &mut self,
        lost: &Worker,
        state: RestartState,
        attempt: u32,
        delay: Duration,
    ) {
        self.pool.emit(
            lost,
            EventDetails::WorkerRestartScheduled { restart_attempt: attempt, restart_delay: delay },
        );
        self.pending_restarts.push(PendingRestart {
            id: lost.id,
            state,
            attempt,
            is_awaited: true,
        });
    }

    /// Replaces the unresponsive workers whose restart is due.
    pub(super) fn restart_due(&mut self, now: Instant) {
        // Each abandoned worker still has a thread, and their number is bounded.
        if self.pending_restarts.is_empty() || self.pool.abandoned() >= MAX_ABANDONED {
            return;
        }
        let mut at = 0;
        while at < self.pending_restarts.len() {
            if self.pending_restarts[at].state.opens_at() > now {
                at += 1;
                continue;
            }
            let pending = self.pending_restarts.swap_remove(at);
            if !pending.is_awaited {
                self.pool.returning.fetch_add(1, Ordering::AcqRel);
            }
            self.restart(pending, now);
        }
    }

    fn restart(&mut self, mut pending: PendingRestart, now: Instant) {
        let pool = Arc::clone(&self.pool);
        let worker = match pool.spawn_worker(pending.attempt) {
            Ok(worker) => worker,
            Err(error) => {
                let decision = pending.state.failed(false, &pool.policy, now, &mut self.random);
                let exhausted = matches!(decision, Decision::Hold { .. });
                let details = EventDetails::WorkerRestartFailed {
                    restart_attempt: pending.attempt,
                    exhausted,
                };
                pool.events.emit(Draft::by(EventSource::Parent, details).error(&error));
                match decision {
                    Decision::RestartNow { attempt } => {
                        self.pending_restarts.push(PendingRestart {
                            attempt,
                            is_awaited: true,
                            ..pending
                        });
                    }
                    Decision::RestartAfter { attempt, .. } => {
                        self.pending_restarts.push(PendingRestart {
                            attempt,
                            is_awaited: true,
                            ..pending
                        });
                    }
                    Decision::Hold { .. } => {
                        let mut lost = pool.lost.lock().unwrap_or_else(PoisonError::into_inner);
                        lost.iter_mut()
                            .filter(|lost| lost.worker_id == pending.id)
                            .for_each(|lost| lost.health_state = HealthState::Stopped);
                        drop(lost);
                        pool.returning.fetch_sub(1, Ordering::AcqRel);
                        self.pending_restarts.push(PendingRestart { is_awaited: false, ..pending });
                    }
                }
                return;
            }
        };
        let attempt = pending.attempt;
        self.restarts.insert(worker.id, pending.state);
        if !pool.change_workers(|workers| workers.push(Arc::clone(&worker))) {
            // The pool is stopping.
            worker.drain();
            return;
        }
        pool.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|lost| lost.worker_id != pending.id);
        // Calls that find it starting wait for it, so it does not count as returning any more.
        pool.returning.fetch_sub(1, Ordering::AcqRel);
        pool.emit(&worker, EventDetails::WorkerRestartCompleted { restart_attempt: attempt });
    }
}
