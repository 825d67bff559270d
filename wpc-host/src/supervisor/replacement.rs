//! Replaces workers that are unresponsive, or whose threads ended by a panic.

use super::slot::Slot;
use super::{Thread, worker_failure};
use crate::call::Call;
use crate::error::Error;
use crate::event::{Draft, EventDetails, EventSource};
use crate::registry::circuit_breaker::consequence;
use crate::registry::restart_policy::Decision;
use crate::supervisor::workers::{MAX_ABANDONED, WorkerSet};
use crate::sync::atomic::Ordering;
use crate::worker::Worker;
use std::sync::Arc;
use std::time::Instant;

impl Thread {
    /// Counts an unresponsive worker as a failure of the definition whose call it ran.
    pub(super) fn record_failure(&mut self, call: &Call, error: &Error, now: Instant) {
        let Some(function) = self.pool.registry.function(&call.function) else { return };
        let Ok(definition) = &function.definition else { return };
        if definition.generation != call.generation {
            return;
        }
        let decision = definition.circuit_breaker.made_worker_unresponsive(
            error,
            &self.pool.policy,
            now,
            &mut self.random,
        );
        let details = consequence(decision, &call.function);
        let draft = Draft::by(EventSource::Parent, details).call(call.id).error(error);
        self.pool.events.emit(draft);
    }

    /// Publishes the slots; returns false if a stop has taken over the set of workers.
    fn publish(&self) -> bool {
        let slots = self.slots.iter().map(Slot::view).collect();
        self.pool.workers.publish(WorkerSet::new(slots))
    }

    /// Removes the worker from its slot, redispatches its queue, and lets the policy decide when it is replaced.
    pub(super) fn remove_worker(
        &mut self,
        at: usize,
        worker: &Arc<Worker>,
        call: Option<&Call>,
        reason: &str,
        now: Instant,
    ) {
        let pool = Arc::clone(&self.pool);
        let Some(decision) = self.slots[at].worker_failed(&pool.policy, now, &mut self.random)
        else {
            return;
        };
        let message = EventDetails::WorkerError { message: reason.to_owned() };
        let draft = Draft::by(EventSource::Parent, message).worker(worker.id);
        pool.events.emit(match call {
            Some(call) => draft.call(call.id),
            None => draft,
        });
        worker.drain();
        // The overflow queue is served later in this round. The calls are moved there before the worker leaves the set, so
        // that a stop which waits for accepted calls misses none.
        worker.empty_queue(|job| pool.overflow_queue.return_to(job));
        pool.end_suspended(worker.take_suspended(), |call, _| worker_failure(worker, call, reason));
        // A stop that has taken over the set reports and abandons the worker itself.
        if self.publish() {
            worker.emit_health(self.slots[at].health(), Some(reason));
            if !worker.has_exited() {
                pool.abandon(worker);
            }
            pool.registry.forget_worker(worker.id);
            let failure_reason = Some(reason.to_owned());
            pool.emit(worker, EventDetails::WorkerExited { failure_reason });
            pool.emit(
                worker,
                match decision {
                    Decision::Restart { attempt, delay } => EventDetails::WorkerRestartScheduled {
                        restart_attempt: attempt,
                        restart_delay: delay,
                    },
                    Decision::Open { attempts } => EventDetails::WorkerRestartExhausted {
                        restart_attempt: attempts,
                        max_restarts_per_worker: pool.options.max_restarts_per_worker,
                    },
                },
            );
        }
    }

    /// Starts a worker in each slot whose restart is due.
    pub(super) fn restart_due(&mut self, now: Instant) {
        // Each abandoned worker still has a thread, and their number is bounded.
        if !self.slots.iter().any(|slot| slot.is_due(now)) || self.pool.abandoned() >= MAX_ABANDONED
        {
            return;
        }
        for at in 0..self.slots.len() {
            if self.slots[at].is_due(now) {
                self.restart(at, now);
            }
        }
    }

    fn restart(&mut self, at: usize, now: Instant) {
        let pool = Arc::clone(&self.pool);
        self.slots[at].retry(now);
        // While it starts, calls wait for it. No thread is started after a stop has taken over the set of workers.
        if !self.publish() {
            return;
        }
        let restart_attempt = self.slots[at].attempt();
        match pool.spawn_worker(restart_attempt) {
            Ok(worker) => {
                self.slots[at].occupy(Arc::clone(&worker));
                if self.publish() {
                    pool.restarts.fetch_add(1, Ordering::Relaxed);
                    pool.emit(&worker, EventDetails::WorkerRestartCompleted { restart_attempt });
                } else {
                    // The pool is stopping.
                    worker.drain();
                }
            }
            Err(error) => {
                let decision = self.slots[at].start_failed(&pool.policy, now, &mut self.random);
                let exhausted = matches!(decision, Some(Decision::Open { .. }));
                let details = EventDetails::WorkerRestartFailed { restart_attempt, exhausted };
                pool.events.emit(Draft::by(EventSource::Parent, details).error(&error));
                let _ = self.publish();
            }
        }
    }
}
