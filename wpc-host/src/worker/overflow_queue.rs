//! The overflow queue: accepted calls that no worker can take at the moment, because all workers are full or the function
//! backs off on all of them. The supervisor serves it in order of arrival.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::worker::job::Job;
use std::collections::VecDeque;
use std::sync::PoisonError;

#[derive(Debug)]
pub(crate) struct OverflowQueue {
    jobs: Mutex<Jobs>,
    /// The length of the queue. Every completed call reads it, so it is read without the lock.
    count: AtomicUsize,
    /// How many of the queued calls have `wait_for_capacity` set.
    for_capacity: AtomicUsize,
    /// How many calls workers have returned, see [`OverflowQueue::returns`].
    returns: AtomicUsize,
    /// Notified when [`OverflowQueue::serve`] ends.
    served: Condvar,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Jobs {
    queue: VecDeque<Job>,
    /// How many jobs are being offered to workers at the moment. They count towards the capacity.
    offered: usize,
    is_closed: bool,
    /// Whether a search for answered calls found none since the last round.
    is_fruitless: bool,
}

impl Jobs {
    fn is_full(&self, capacity: usize) -> bool {
        self.queue.len() + self.offered >= capacity
    }

    /// Removes the calls that have been answered in the meantime. The search is linear, so it runs once per round while
    /// it finds nothing.
    fn take_answered(&mut self) -> Vec<Job> {
        if self.is_fruitless {
            return Vec::new();
        }
        let (answered, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(|job| job.call.is_answered());
        self.queue = left.into();
        self.is_fruitless = answered.is_empty();
        answered
    }
}

impl OverflowQueue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            jobs: Mutex::default(),
            count: AtomicUsize::new(0),
            for_capacity: AtomicUsize::new(0),
            returns: AtomicUsize::new(0),
            served: Condvar::new(),
            capacity,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Whether a call with `wait_for_capacity` is queued.
    pub(crate) fn has_waiters_for_capacity(&self) -> bool {
        self.for_capacity.load(Ordering::SeqCst) > 0
    }

    fn update_counts(&self, jobs: &Jobs) {
        self.count.store(jobs.queue.len(), Ordering::SeqCst);
        let for_capacity = jobs.queue.iter().filter(|job| job.wait_for_capacity).count();
        self.for_capacity.store(for_capacity, Ordering::SeqCst);
    }

    /// Adds a new call; returns it if the queue is full or closed. Calls that have been answered in the meantime take no
    /// capacity.
    pub(crate) fn enter(&self, job: Job) -> Result<(), Job> {
        let mut jobs = self.lock();
        // Calls that are being offered at the moment may leave the queue, so wait for the outcome.
        while !jobs.is_closed && jobs.offered > 0 && jobs.is_full(self.capacity) {
            jobs = self.served.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
        let mut answered = Vec::new();
        if !jobs.is_closed && jobs.is_full(self.capacity) {
            answered = jobs.take_answered();
            if !answered.is_empty() {
                self.update_counts(&jobs);
            }
        }
        let result = if jobs.is_closed || jobs.is_full(self.capacity) {
            Err(job)
        } else {
            self.push(&mut jobs, job);
            Ok(())
        };
        drop(jobs);
        drop(answered);
        result
    }

    /// Adds a call that was accepted and dispatched before. It was counted then, so the capacity is not checked. If the
    /// queue is closed, the call is dropped, which answers it.
    pub(crate) fn return_to(&self, job: Job) {
        let mut jobs = self.lock();
        if !jobs.is_closed {
            self.push(&mut jobs, job);
        }
        drop(jobs);
        self.count_return();
    }

    /// Counts a call that its worker returned, and that now is in this queue or on another worker.
    pub(crate) fn count_return(&self) {
        self.returns.fetch_add(1, Ordering::SeqCst);
    }

    /// How many calls workers have returned. A returned call is first moved to this queue or to another worker, then counted
    /// here, and then its worker releases its slot. So a thread that finds this queue empty, and after that no slot taken,
    /// has missed no call if this number did not change meanwhile.
    pub(crate) fn returns(&self) -> usize {
        self.returns.load(Ordering::SeqCst)
    }

    fn push(&self, jobs: &mut Jobs, job: Job) {
        if let Some(failure) = job.definition.circuit_breaker.last_failure() {
            job.call.note_wait(failure);
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        self.for_capacity.fetch_add(usize::from(job.wait_for_capacity), Ordering::SeqCst);
        jobs.queue.push_back(job);
    }

    /// Offers every call to `serve`, in order; the calls that it returns stay queued in that order.
    ///
    /// The lock is not held meanwhile, because a job that a worker no longer takes may be returned to this queue. Only the
    /// supervisor calls this method. No waker runs on its thread, so a thread that waits in [`Self::enter`] never waits for
    /// itself.
    pub(crate) fn serve(&self, mut serve: impl FnMut(Job) -> Option<Job>) {
        let taken = {
            let mut jobs = self.lock();
            jobs.offered = jobs.queue.len();
            std::mem::take(&mut jobs.queue)
        };
        let mut left: VecDeque<Job> = taken.into_iter().filter_map(&mut serve).collect();
        let mut jobs = self.lock();
        (jobs.offered, jobs.is_fruitless) = (0, false);
        left.append(&mut jobs.queue);
        jobs.queue = left;
        let closed = jobs.is_closed.then(|| std::mem::take(&mut jobs.queue));
        self.update_counts(&jobs);
        drop(jobs);
        self.served.notify_all();
        drop(closed);
    }

    /// Opens the queue when the pool starts.
    pub(crate) fn open(&self) {
        self.lock().is_closed = false;
    }

    /// Closes the queue and drops the calls in it, which answers them.
    pub(crate) fn close(&self) {
        let mut jobs = self.lock();
        jobs.is_closed = true;
        let dropped = std::mem::take(&mut jobs.queue);
        self.update_counts(&jobs);
        drop(jobs);
        drop(dropped);
    }
}
