//! Checks the threads, running calls and queues of the workers at each tick.

use super::watch::Watch;
use super::{LATE, SWEEP_TICKS, Thread, up, worker_failure};
use crate::call::{Call, Interrupt};
use crate::supervisor::workers::Pool;
use crate::sync::atomic::Ordering;
use crate::worker::{Running, Worker};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Thread {
    pub(super) fn check_workers(&mut self, now: Instant) {
        let pool = Arc::clone(&self.pool);
        for at in 0..self.slots.len() {
            let Some((worker, watch)) = self.slots[at].occupant() else { continue };
            let worker = Arc::clone(worker);
            if worker.has_exited() {
                // While the pool stops, it is replaced only if accepted calls still need a worker.
                let has_calls = worker.in_flight() > 0 || !pool.overflow_queue.is_empty();
                if pool.is_open.load(Ordering::Acquire) || has_calls {
                    self.remove_worker(at, &worker, None, "its thread ended by a panic", now);
                }
                continue;
            }
            if self.pool.ticker.nanos(now) >= worker.suspended_expiry() {
                pool.end_suspended(worker.take_ended(now), |call, ran| {
                    let interrupt = call.interrupted(now).unwrap_or(Interrupt::Deadline);
                    call.error_of(interrupt, ran)
                });
            }
            if let Some(running) = worker.running() {
                watch.running_since(running, now);
            }
            if let Some(call) = steal_if_unresponsive(&pool, &worker, watch, now) {
                let reason = "the call did not return after its time limit";
                let error = worker_failure(&worker, &call, reason);
                self.record_failure(&call, &error, now);
                self.remove_worker(at, &worker, Some(&call), reason, now);
                continue;
            }
            note_blocked(&worker, watch, pool.options.unresponsive_worker_grace, now);
            let progress = worker.progress();
            let is_stuck = watch.is_unchanged(progress);
            watch.note_progress(progress);
            self.check_queue(&worker, is_stuck, now);
        }
    }

    /// Moves calls that are queued behind a long one to less loaded workers, and ends those whose limit passes in the
    /// queue.
    fn check_queue(&self, worker: &Worker, is_stuck: bool, now: Instant) {
        if is_stuck {
            worker.note_stuck();
        }
        let has_waiting = worker.waiting_count() > 0;
        if !(is_stuck && (worker.has_queued() || has_waiting) || worker.may_expire(now)) {
            return;
        }
        if worker.may_expire(now) || self.ticks.is_multiple_of(SWEEP_TICKS) {
            worker.sweep_queue(now, |job| self.pool.redispatch_or_enqueue(job));
        }
        if !is_stuck {
            return;
        }
        // A worker that is stuck between two calls counts as if it ran one more job.
        let load = worker.runnable() + usize::from(worker.running().is_none());
        let is_better = |other: &Arc<Worker>| other.takes_calls() && other.runnable() + 1 < load;
        if up(&self.slots).any(is_better) {
            // Some may be dispatched to this worker again, at the end of its queue.
            for job in worker.take_movable() {
                self.pool.move_job(job, worker);
            }
        }
    }
}

/// Reports a worker as degraded if it has not returned from the embedder's code (a waker, an observer of finished calls or a
/// `tracing` subscriber) for the grace period. It runs no call that could be answered, so it is not abandoned.
fn note_blocked(worker: &Worker, watch: &mut Watch, grace: Duration, now: Instant) {
    let progress = worker.progress();
    let is_between = worker.is_busy() && worker.running().is_none();
    let is_blocked = is_between && now >= watch.between_since(progress, now) + grace;
    if !is_between {
        watch.not_between();
    }
    worker.set_blocked(is_blocked);
}

/// Checks whether the running call should have ended.
///
/// * After [`LATE`] the call is answered: its worker runs a host function, which cannot be interrupted.
/// * After the grace the call is stolen and returned, because its worker is unresponsive. This does not apply to calls
///   that a stop ends, nor before the function's own limit has passed.
fn steal_if_unresponsive(
    pool: &Pool,
    worker: &Worker,
    watch: &mut Watch,
    now: Instant,
) -> Option<Arc<Call>> {
    let Some((running, interrupt)) = should_have_ended(worker, watch, now) else {
        watch.not_overdue();
        return None;
    };
    let began = watch.running_since(running, now);
    let unresponsive_for = now.duration_since(watch.overdue_since(running, now));
    let is_unresponsive = interrupt != Interrupt::Stopped
        && unresponsive_for >= pool.options.unresponsive_worker_grace
        && worker.peek(running).is_some_and(|call| is_past_own_limit(&call, began, now));
    if is_unresponsive {
        let call = worker.steal(running)?;
        call.answer_with(|ran| Err(call.error_of(interrupt, ran)));
        pool.count_stolen(&call);
        return Some(call);
    }
    if unresponsive_for >= LATE
        && let Some(call) = worker.peek(running)
    {
        call.answer_with(|ran| Err(call.error_of(interrupt, ran)));
    }
    None
}

/// Whether the call has run for as long as its definition allows. Until then the worker does not count as unresponsive, even if
/// the caller chose a shorter limit or cancelled: otherwise callers with short limits could make the pool replace workers, and
/// open the circuit breaker of a healthy function.
///
/// `began` is when the supervisor first saw the call run: the time in the queue does not count.
fn is_past_own_limit(call: &Call, began: Instant, now: Instant) -> bool {
    now >= began + call.own_limit
}

/// The running call and why it should have ended by now. A cancel is only checked for a call that has run since before the
/// last tick.
fn should_have_ended(worker: &Worker, watch: &Watch, now: Instant) -> Option<(Running, Interrupt)> {
    if let Some(running) = worker.overdue(now) {
        return Some((running, Interrupt::Deadline));
    }
    let running = worker.running()?;
    if !watch.is_unchanged(worker.progress()) {
        return None;
    }
    let interrupt = worker.peek(running)?.interrupted(now)?;
    Some((running, interrupt))
}
