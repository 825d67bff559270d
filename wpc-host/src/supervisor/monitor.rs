//! What the supervisor checks at each tick: running calls, queues and threads of workers.

use super::{LATE, SWEEP_TICKS, Thread, worker_lost};
use crate::call::{Call, Interrupt};
use crate::sync::atomic::Ordering;
use crate::worker::{Running, Worker};
use std::sync::Arc;
use std::time::Instant;

impl Thread {
    pub(super) fn check_workers(&mut self, now: Instant) {
        let workers = self.pool.workers.load_full();
        for worker in workers.iter() {
            if worker.has_exited() && self.pool.worker_is_up(worker.id) {
                if self.pool.is_open.load(Ordering::Acquire) || worker.in_flight() > 0 {
                    self.remove_worker(worker, None, "its thread ended by a panic", now);
                }
                continue;
            }
            if let Some(call) = self.steal_if_unresponsive(worker, now) {
                let reason = "it did not come back after the call's time limit";
                let error = worker_lost(worker, &call, reason);
                self.record_failure(&call, &error, now);
                self.remove_worker(worker, Some(&call), reason, now);
                continue;
            }
            self.check_queue(worker, &workers, now);
        }
    }

    /// Looks whether the running call should have ended, and answers it when its worker is busy with
    /// something that cannot be interrupted: a host function. Takes the answer away from the worker
    /// once it has been silent past the call's deadline, or its cancel, for as long as the grace.
    ///
    /// Both are counted from when it was first seen: after the whole process was stopped for a
    /// while, every guest gets its chance to look at the clock.
    fn steal_if_unresponsive(&mut self, worker: &Worker, now: Instant) -> Option<Arc<Call>> {
        let Some((running, interrupt)) = self.should_have_ended(worker, now) else {
            self.overdue.remove(&worker.id);
            return None;
        };
        let seen = self.overdue.entry(worker.id).or_insert((running, now));
        if seen.0 != running {
            *seen = (running, now);
        }
        let unresponsive_for = now.duration_since(seen.1);
        if interrupt != Interrupt::Stopped
            && unresponsive_for >= self.pool.options.lost_worker_grace
        {
            let call = worker.steal(running)?;
            call.answer_with(|ran| Err(call.error_of(interrupt, ran)));
            return Some(call);
        }
        if unresponsive_for >= LATE
            && let Some(call) = worker.peek(running)
        {
            call.answer_with(|ran| Err(call.error_of(interrupt, ran)));
        }
        None
    }

    /// The running call's number and why it should have ended by now. Whether it was cancelled is
    /// only looked at when it has run since the last tick.
    fn should_have_ended(&self, worker: &Worker, now: Instant) -> Option<(Running, Interrupt)> {
        if let Some(running) = worker.overdue(now) {
            return Some((running, Interrupt::Deadline));
        }
        let running = worker.running()?;
        if self.progress.get(&worker.id) != Some(&worker.progress()) {
            return None;
        }
        let interrupt = worker.peek(running)?.interrupted(now)?;
        Some((running, interrupt))
    }

    /// Moves calls from behind one that runs on and on to less loaded workers, and ends those whose limit
    /// passes there.
    fn check_queue(&mut self, worker: &Worker, workers: &[Arc<Worker>], now: Instant) {
        let progress = worker.progress();
        let is_stuck = self.progress.insert(worker.id, progress) == Some(progress);
        if is_stuck {
            worker.note_stuck();
        }
        if !worker.has_queued() || !(is_stuck || worker.may_expire(now)) {
            return;
        }
        if worker.may_expire(now) || self.ticks.is_multiple_of(SWEEP_TICKS) {
            for job in worker.sweep_queue(now) {
                self.pool.redispatch_or_enqueue(job);
            }
        }
        if !is_stuck {
            return;
        }
        // One that is stuck between two calls runs none of those it has.
        let load = worker.in_flight() + usize::from(worker.running().is_none());
        let is_better = |other: &Arc<Worker>| other.takes_calls() && other.in_flight() + 1 < load;
        if workers.iter().any(is_better) {
            // Some may come back to this one, at the end of its queue.
            for job in worker.take_movable() {
                self.pool.redispatch_or_enqueue(job);
            }
        }
    }
}
