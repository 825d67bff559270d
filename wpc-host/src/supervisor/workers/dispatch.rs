//! Dispatches calls to workers.

use super::{MAX_ABANDONED, Pool, WorkerSet};
use crate::error::{CallQueue, Error};
use crate::registry::restart_policy::Admission;
use crate::supervisor::scheduler::{self, Candidate};
use crate::sync::atomic::Ordering;
use crate::sync::time;
use crate::worker::Worker;
use crate::worker::job::Job;
use crate::worker::slots::Slots;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// Why no worker takes a job at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All workers that could take it are full.
    Saturated,
    /// Its function backs off, a worker is being replaced, or a job is being moved. A worker will take it later.
    Later,
    /// The circuit breaker of its function is open on every worker.
    CircuitOpen,
    /// There are no workers, and none will be started.
    NoWorkers,
}

impl Pool {
    /// Dispatches a new job, or adds it to the overflow queue. A refused call is counted, but not answered.
    pub(crate) fn dispatch_or_enqueue(&self, job: Job) -> Result<(), Error> {
        // A call with `wait_for_capacity` must not overtake those that wait for the same.
        let job = if job.wait_for_capacity && self.overflow_queue.is_ahead_of(&job) {
            match self.enqueue(job) {
                Ok(()) => return Ok(()),
                Err(job) => job,
            }
        } else {
            job
        };
        let (job, refusal) = match self.dispatch(job) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let function = job.function.name.to_string();
        match refusal {
            Refusal::Saturated if !job.wait_for_capacity => {
                let limit = self.options.max_pending_calls_per_worker;
                let queue = CallQueue::Workers;
                Err(job.refused(Error::Saturated { function, queue, limit }))
            }
            Refusal::Saturated | Refusal::Later => self.enqueue(job).map_err(|job| {
                if !self.is_open.load(Ordering::Acquire) {
                    return job.refused(Error::NotRunning);
                }
                let limit = self.options.max_waiting_calls;
                let queue = CallQueue::Overflow;
                job.refused(Error::Saturated { function, queue, limit })
            }),
            Refusal::CircuitOpen | Refusal::NoWorkers => {
                let error = self.no_eligible_worker(&job, refusal);
                Err(job.refused(error))
            }
        }
    }

    fn enqueue(&self, job: Job) -> Result<(), Job> {
        self.overflow_queue.enter(job)?;
        self.ticker.notify();
        Ok(())
    }

    /// Pushes the job to the best worker, or returns it with the reason if no worker takes it.
    pub(crate) fn dispatch(&self, mut job: Job) -> Result<(), (Job, Refusal)> {
        loop {
            let workers = self.workers.load();
            // Most definitions have a closed circuit breaker, for which the clock is not read.
            let circuit_breaker = &job.definition.circuit_breaker;
            let degraded_at = (!circuit_breaker.is_closed()).then(time::now);
            let admits = |worker: &Worker| {
                degraded_at.is_none_or(|now| {
                    let admission = circuit_breaker.admission(worker.id, now);
                    matches!(admission, Admission::Yes | Admission::Trial)
                })
            };
            let limit = self.pending_limit(&job);
            let some_are_full = Cell::new(false);
            let candidate = |at: usize| {
                let worker: &Worker = &workers[at];
                if !worker.takes_calls() || !admits(worker) {
                    return Candidate::Ineligible;
                }
                let in_flight = worker.in_flight();
                // A key stays with its worker even if that is full.
                if in_flight >= limit && job.affinity.is_none() {
                    some_are_full.set(true);
                    return Candidate::Ineligible;
                }
                let runnable = in_flight.saturating_sub(worker.suspended());
                Candidate::Ready { in_flight: runnable, wait: worker.wait_behind(runnable) }
            };
            let picked = match job.affinity {
                Some(key) => {
                    scheduler::by_affinity(key, workers.iter().map(|worker| worker.id.0), candidate)
                }
                None => {
                    let last = self.last_pick.load(Ordering::Relaxed);
                    scheduler::soonest(workers.len(), last, self.cores, candidate)
                }
            };
            let Some(at) = picked else {
                if !some_are_full.get() {
                    let refusal = self.refusal_without_worker(&workers, &job);
                    return Err((job, refusal));
                }
                if !self.reclaim(workers.iter())
                    && let Some(refusal) = self.refusal_of_full(&workers, admits)
                {
                    return Err((job, refusal));
                }
                continue;
            };
            let worker = &workers[at];
            if !worker.reserve(limit) {
                if job.affinity.is_some() && !self.reclaim(std::iter::once(worker)) {
                    return Err((job, Refusal::Saturated));
                }
                // Another thread took the slot, so retry.
                continue;
            }
            self.last_pick.store(at, Ordering::Relaxed);
            match worker.push(job) {
                Ok(()) => return Ok(()),
                // The worker's queue was closed in the meantime, and it takes no more calls: retry.
                Err(returned) => job = returned,
            }
        }
    }

    /// The number of calls up to which a worker takes the job. Nested calls have no limit: if suspended callers filled all
    /// workers, their nested calls could never be queued. A guest makes one nested call at a time. An async host function may
    /// make several, and their number is up to the embedder.
    #[inline]
    fn pending_limit(&self, job: &Job) -> usize {
        match job.call.depth {
            0 => self.options.max_pending_calls_per_worker,
            _ => usize::MAX,
        }
    }

    /// Why no worker takes a job, if all that could take it were full at the same moment; otherwise `None`. A single pass cannot
    /// establish this: while it runs, an already visited worker may release a slot, and another caller may take the slot that the
    /// pass would have found next.
    #[cold]
    fn refusal_of_full(
        &self,
        workers: &WorkerSet,
        admits: impl Fn(&Worker) -> bool,
    ) -> Option<Refusal> {
        let limit = self.options.max_pending_calls_per_worker;
        let slots = || workers.iter().map(|worker| worker.slots());
        let moving = self.moving.read();
        let seen: Vec<_> = slots().collect();
        let takes = |worker: &Worker| worker.takes_calls() && admits(worker);
        let is_full =
            |(worker, seen): (&Arc<Worker>, &Slots)| seen.taken() >= limit || !takes(worker);
        // No slot was released between the two readings, so all were taken when the second began.
        if !workers.iter().zip(&seen).all(is_full) || !slots().eq(seen.iter().copied()) {
            return None;
        }
        // A job that was being moved held two of the slots.
        let none_moved = moving.taken() == 0 && self.moving.read() == moving;
        Some(if none_moved { Refusal::Saturated } else { Refusal::Later })
    }

    /// Releases the slots of answered calls in the queues of full workers; returns false if no slot became free.
    #[cold]
    fn reclaim<'a>(&self, workers: impl Iterator<Item = &'a Arc<Worker>>) -> bool {
        let limit = self.options.max_pending_calls_per_worker;
        let mut has_freed = false;
        for worker in workers.filter(|worker| worker.in_flight() >= limit) {
            has_freed |= worker.reclaim(limit, |job| self.redispatch_or_enqueue(job));
        }
        has_freed
    }

    fn refusal_without_worker(&self, workers: &WorkerSet, job: &Job) -> Refusal {
        let now = time::now();
        let up = workers.iter().filter(|worker| worker.takes_calls());
        let mut admissions =
            up.map(|worker| job.definition.circuit_breaker.admission(worker.id, now));
        // A worker that takes no calls is starting, or has exited and the supervisor has not noticed yet.
        let is_changing = workers.iter().any(|worker| !worker.takes_calls());
        let returns = || workers.is_restarting() && self.abandoned() < MAX_ABANDONED;
        if is_changing || returns() {
            return Refusal::Later;
        }
        let Some(first) = admissions.next() else { return Refusal::NoWorkers };
        let all_open = std::iter::once(first)
            .chain(admissions)
            .all(|admission| matches!(admission, Admission::Open { .. }));
        if all_open { Refusal::CircuitOpen } else { Refusal::Later }
    }

    fn no_eligible_worker(&self, job: &Job, refusal: Refusal) -> Error {
        let function = job.function.name.to_string();
        let opened = job.definition.circuit_breaker.opened(time::now());
        match (refusal, opened) {
            (Refusal::CircuitOpen, Some((since, last))) => {
                Error::CircuitOpen { function, open_for: since.elapsed(), last_failure: Some(last) }
            }
            // The circuit breaker was reset or its cool-down ended between the two checks, so the caller may try again.
            (Refusal::CircuitOpen, None) => {
                Error::CircuitOpen { function, open_for: Duration::ZERO, last_failure: None }
            }
            _ if !self.is_open.load(Ordering::Acquire) => Error::NotRunning,
            _ => Error::NoReadyWorkers { function },
        }
    }

    /// Dispatches a job of an unresponsive worker or of the overflow queue. Returns it if no worker takes it at the moment,
    /// and answers its call if no worker ever will.
    pub(crate) fn redispatch(&self, job: Job) -> Option<Job> {
        let now = time::now();
        if let Some(interrupt) = job.call.interrupted(now) {
            job.call.answer_unstarted(|| job.call.error_of(interrupt, false));
        }
        if job.call.is_answered() {
            return None;
        }
        match self.dispatch(job) {
            Ok(()) => None,
            Err((job, Refusal::Saturated | Refusal::Later)) => Some(job),
            Err((job, refusal)) => {
                job.call.answer_unstarted(|| self.no_eligible_worker(&job, refusal));
                None
            }
        }
    }

    /// Dispatches a job that was taken from its worker and still holds a slot there, or adds it to the overflow queue.
    pub(crate) fn move_job(&self, job: Job, from: &Worker) {
        self.moving.take();
        self.redispatch_or_enqueue(job);
        from.release_slot();
        self.moving.release();
    }

    /// Dispatches a job that was taken from its worker, or adds it to the overflow queue.
    pub(crate) fn redispatch_or_enqueue(&self, job: Job) {
        match self.redispatch(job) {
            Some(job) => self.overflow_queue.return_to(job),
            None => self.overflow_queue.count_return(),
        }
    }
}
