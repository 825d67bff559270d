//! Stopping the pool, and threads that do not end.

use super::Pool;
use crate::error::Error;
use crate::event::{EventDetails, HealthState};
use crate::sync::atomic::{Ordering, fence};
use crate::sync::time;
use crate::worker::Worker;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

impl Pool {
    /// Takes no more calls, lets the accepted ones end until `spin-then-park policy` is over, interrupts the
    /// rest, and returns when the workers are gone or given up.
    pub(crate) fn stop(&self, spin: Duration) {
        self.is_open.store(false, Ordering::SeqCst);
        // Whoever begins a call on its own thread says so, and then looks whether this is open.
        fence(Ordering::SeqCst);
        let workers = self.workers.load_full();
        for worker in workers.iter() {
            self.emit(worker, EventDetails::WorkerShutdownRequested {});
        }
        // The supervisor goes on meanwhile: it ticks, serves the overflow queue, replaces the lost.
        let deadline = time::now() + spin;
        let left = || deadline.saturating_duration_since(time::now());
        let is_drained = || {
            self.waiting.is_empty()
                && !self.is_locally_busy()
                && self.workers.load().iter().all(|worker| worker.in_flight() == 0)
        };
        self.changes.wait_until(left(), is_drained);
        self.waiting.close();
        *self.is_frozen.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let workers = self.workers.load_full();
        workers.iter().for_each(|worker| worker.drain());
        // Whoever looked before the pool closed may have pushed a call since: it has time too.
        let have_exited =
            || !self.is_locally_busy() && workers.iter().all(|worker| worker.has_exited());
        if !self.changes.wait_until(left(), have_exited) {
            for worker in self.locals().iter().filter(|worker| worker.is_busy()) {
                worker.interrupt();
            }
            for worker in workers.iter() {
                worker.interrupt();
                worker.take_queue().iter().for_each(|job| job.call.stop());
            }
            if !self.changes.wait_until(self.options.lost_worker_grace, have_exited) {
                let stuck = workers.iter().filter(|worker| !worker.has_exited());
                stuck.for_each(|worker| self.stop_unresponsive(worker));
            }
        }
        for worker in workers.iter().filter(|worker| worker.has_exited()) {
            self.emit(worker, EventDetails::WorkerExited { failure_reason: None });
            worker.set_health(HealthState::Stopped, Some("stop_workers requested"));
        }
        self.workers.store(Arc::default());
        self.capacity.drop_orphans();
        for function in self.registry.functions() {
            if let Ok(definition) = &function.definition {
                definition.circuit_breaker.revive();
            }
        }
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.buffers.close();
    }

    fn stop_unresponsive(&self, worker: &Arc<Worker>) {
        let message = "it did not stop in time; its thread is given up".to_owned();
        self.emit(worker, EventDetails::WorkerError { message });
        worker.set_health(HealthState::Stopped, Some("stop_workers requested"));
        if let Some(call) = worker.steal_running() {
            call.answer_with(|ran| {
                Err(Error::Stopped { function: call.function.to_string(), ran })
            });
        }
        self.abandon(worker);
    }

    /// Keeps an eye on a thread that was given up: should it come back from where it hangs, its
    /// guest must be interrupted.
    pub(crate) fn abandon(&self, worker: &Arc<Worker>) {
        worker.interrupt();
        worker.orphan_idle_sandboxes();
        let mut abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        // The supervisor and a stop may both come to it.
        if !abandoned.iter().any(|other| other.id == worker.id) {
            abandoned.push(Arc::clone(worker));
        }
    }

    /// How many threads that were given up are still there.
    pub(crate) fn abandoned(&self) -> usize {
        let mut abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        abandoned.retain(|worker| !worker.has_exited());
        abandoned.len()
    }
}
