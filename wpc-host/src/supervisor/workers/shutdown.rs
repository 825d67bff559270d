//! Stops the pool, and keeps track of abandoned threads.

use super::Pool;
use crate::call::{Call, Interrupt};
use crate::error::Error;
use crate::event::{EventDetails, HealthState};
use crate::sync::atomic::{Ordering, fence};
use crate::sync::time;
use crate::worker::{SuspendedCall, Worker};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

impl Pool {
    /// Stops the pool:
    ///
    /// 1. New calls are refused.
    /// 2. Accepted calls may run for up to `timeout`.
    /// 3. The rest is interrupted and may take up to the grace to return.
    /// 4. Workers that have not ended are abandoned.
    pub(crate) fn stop(&self, timeout: Duration) {
        self.is_open.store(false, Ordering::SeqCst);
        // A local worker sets its busy flag and then checks `is_open`; this side does the reverse.
        fence(Ordering::SeqCst);
        let workers = self.workers.load_full();
        for worker in workers.iter() {
            self.emit(worker, EventDetails::WorkerShutdownRequested {});
        }
        // Meanwhile the supervisor ticks, serves the overflow queue and replaces unresponsive workers.
        let deadline = time::now() + timeout;
        let left = || deadline.saturating_duration_since(time::now());
        let is_drained = || {
            let returns = self.overflow_queue.returns();
            self.overflow_queue.is_empty()
                && !self.is_locally_busy()
                && self.workers.load().iter().all(|worker| worker.in_flight() == 0)
                && self.overflow_queue.returns() == returns
        };
        self.changes.wait_until(left(), is_drained);
        self.overflow_queue.close();
        let workers = self.workers.freeze();
        workers.iter().for_each(|worker| worker.drain());
        // A caller that saw the pool open may have pushed a call since; it may also run until the deadline.
        let have_exited =
            || !self.is_locally_busy() && workers.iter().all(|worker| worker.has_exited());
        if !self.changes.wait_until(left(), have_exited) {
            for worker in self.locals().iter().filter(|worker| worker.is_busy()) {
                worker.interrupt();
            }
            for worker in workers.iter() {
                worker.interrupt();
                worker.empty_queue(|job| job.call.stop());
                self.end_suspended(worker.take_suspended(), |call, ran| {
                    call.error_of(Interrupt::Stopped, ran)
                });
            }
            if !self.changes.wait_until(self.options.unresponsive_worker_grace, have_exited) {
                let stuck = workers.iter().filter(|worker| !worker.has_exited());
                stuck.for_each(|worker| self.stop_unresponsive(worker));
            }
        }
        for worker in workers.iter().filter(|worker| worker.has_exited()) {
            self.emit(worker, EventDetails::WorkerExited { failure_reason: None });
            worker.emit_health(HealthState::Stopped, Some("stop_workers requested"));
        }
        for worker in workers.iter() {
            // Only a thread that ended by a panic leaves any.
            self.end_suspended(worker.take_suspended(), |call, ran| {
                call.error_of(Interrupt::Stopped, ran)
            });
        }
        self.workers.clear();
        self.capacity.drop_orphans();
        for function in self.registry.functions() {
            if let Ok(definition) = &function.definition {
                definition.circuit_breaker.revive();
            }
        }
        self.buffers.close();
    }

    /// Answers suspended calls that were taken from their worker, and makes the worker drop their guests.
    pub(crate) fn end_suspended(
        &self,
        suspended: Vec<SuspendedCall>,
        error: impl Fn(&Call, bool) -> Error,
    ) {
        for suspended in suspended {
            let call = &suspended.call;
            call.answer_with(|ran| Err(error(call, ran)));
            if !suspended.is_warm_up {
                self.count_stolen(call);
            }
            suspended.release();
        }
    }

    fn stop_unresponsive(&self, worker: &Arc<Worker>) {
        let message = "it did not stop in time; its thread is abandoned".to_owned();
        self.emit(worker, EventDetails::WorkerError { message });
        worker.emit_health(HealthState::Stopped, Some("stop_workers requested"));
        if let Some(call) = worker.steal_running() {
            call.answer_with(|ran| {
                Err(Error::Stopped { function: call.function.to_string(), ran })
            });
            self.count_stolen(&call);
        }
        self.abandon(worker);
    }

    /// Abandons a worker's thread. If the thread returns from where it hangs, its guest is interrupted.
    pub(crate) fn abandon(&self, worker: &Arc<Worker>) {
        worker.interrupt();
        worker.orphan_idle_sandboxes();
        let mut abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        // The supervisor and a stop may both abandon the same worker.
        if !abandoned.iter().any(|other| other.id == worker.id) {
            abandoned.push(Arc::clone(worker));
        }
    }

    /// How many abandoned threads have not ended.
    pub(crate) fn abandoned(&self) -> usize {
        let mut abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        abandoned.retain(|worker| !worker.has_exited());
        abandoned.len()
    }
}
