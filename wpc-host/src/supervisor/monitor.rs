//! Checks the threads, running calls and queues of the workers at each tick.

use super::{LATE, SWEEP_TICKS, Thread, worker_lost};
use crate::call::{Call, Interrupt};
use crate::id::WorkerId;
use crate::sync::atomic::Ordering;
use crate::worker::{Running, Worker};
use std::collections::HashMap;
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
            if let Some(running) = worker.running() {
                first_seen(&mut self.seen_running, worker.id, running, now);
            }
            if let Some(call) = self.steal_if_unresponsive(worker, now) {
                let reason = "it did not return after the call's time limit";
                let error = worker_lost(worker, &call, reason);
                self.record_failure(&call, &error, now);
                self.remove_worker(worker, Some(&call), reason, now);
                continue;
            }
            self.check_queue(worker, &workers, now);
        }
    }

    /// Checks whether the running call should have ended.
    ///
    /// * After [`LATE`] the call is answered: its worker runs a host function, which cannot be interrupted.
    /// * After the grace the call is stolen and returned, because its worker is unresponsive. This does not apply to calls
    ///   that a stop ends, nor before the function's own limit has passed.
    ///
    /// Both times count from when the supervisor first saw that the call should have ended. After the whole process was
    /// suspended for a while, every guest therefore gets a chance to check the clock.
    fn steal_if_unresponsive(&mut self, worker: &Worker, now: Instant) -> Option<Arc<Call>> {
        let Some((running, interrupt)) = self.should_have_ended(worker, now) else {
            self.overdue.remove(&worker.id);
            return None;
        };
        let began = first_seen(&mut self.seen_running, worker.id, running, now);
        let overdue_since = first_seen(&mut self.overdue, worker.id, running, now);
        let unresponsive_for = now.duration_since(overdue_since);
        let is_lost = interrupt != Interrupt::Stopped
            && unresponsive_for >= self.pool.options.lost_worker_grace
            && worker.peek(running).is_some_and(|call| self.is_past_own_limit(&call, began, now));
        if is_lost {
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

    /// Whether the call has run for as long as its definition allows. Until then the worker is not lost, even if the caller
    /// chose a shorter limit or cancelled: otherwise callers could cost workers, and have a healthy function suspended, by
    /// passing on short limits of their own.
    ///
    /// `began` is when the supervisor first saw the call run: the time in the queue does not count.
    fn is_past_own_limit(&self, call: &Call, began: Instant, now: Instant) -> bool {
        let function = self.pool.registry.function(&call.function);
        let own = match function.as_ref().map(|function| &function.definition) {
            Some(Ok(definition)) if definition.generation == call.generation => {
                definition.limits.timeout.unwrap_or(self.pool.options.call_timeout)
            }
            // The definition was replaced. Its limit is gone, and its failures are not counted any more.
            _ => call.time_limit,
        };
        now >= began + own
    }

    /// The running call and why it should have ended by now. A cancel is only checked for a call that has run since before
    /// the last tick.
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

    /// Moves calls that are queued behind a long one to less loaded workers, and ends those whose limit passes in the
    /// queue.
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
        // A worker that is stuck between two calls runs none of its jobs, so one more is ahead of the queue.
        let load = worker.in_flight() + usize::from(worker.running().is_none());
        let is_better = |other: &Arc<Worker>| other.takes_calls() && other.in_flight() + 1 < load;
        if workers.iter().any(is_better) {
            // Some may be dispatched to this worker again, at the end of its queue.
            for job in worker.take_movable() {
                self.pool.redispatch_or_enqueue(job);
            }
        }
    }
}

/// Returns when this map first saw the worker run this call, which is now if it last saw another one.
fn first_seen(
    seen: &mut HashMap<WorkerId, (Running, Instant)>,
    worker: WorkerId,
    running: Running,
    now: Instant,
) -> Instant {
    let entry = seen.entry(worker).or_insert((running, now));
    if entry.0 != running {
        *entry = (running, now);
    }
    entry.1
}
