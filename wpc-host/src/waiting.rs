//! The waiting room: accepted calls that no worker can take at the moment, because all are full or
//! because their function backs off everywhere. The supervisor serves it in order of arrival.

use crate::job::Job;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct WaitingRoom {
    jobs: Mutex<Jobs>,
    /// Read without the lock, on every completion.
    count: AtomicUsize,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Jobs {
    queue: VecDeque<Job>,
    is_closed: bool,
}

impl WaitingRoom {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { jobs: Mutex::default(), count: AtomicUsize::new(0), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Lets a new call wait; gives it back when the room is full or closed.
    pub(crate) fn enter(&self, job: Job) -> Result<(), Job> {
        let mut jobs = self.lock();
        if jobs.is_closed || jobs.queue.len() >= self.capacity {
            return Err(job);
        }
        jobs.queue.push_back(job);
        self.count.store(jobs.queue.len(), Ordering::SeqCst);
        Ok(())
    }

    /// Lets a call wait that was accepted and dispatched before, whatever the capacity: it was
    /// counted then. In a closed room it is dropped, which answers it.
    pub(crate) fn return_to(&self, job: Job) {
        let mut jobs = self.lock();
        if !jobs.is_closed {
            jobs.queue.push_back(job);
            self.count.store(jobs.queue.len(), Ordering::SeqCst);
        }
    }

    /// Offers every call to `serve`, in order; those it gives back keep their order and wait on.
    ///
    /// The lock is not held meanwhile: answering a call may run its waker, which may call again.
    pub(crate) fn serve(&self, mut serve: impl FnMut(Job) -> Option<Job>) {
        let taken = std::mem::take(&mut self.lock().queue);
        let mut left: VecDeque<Job> = taken.into_iter().filter_map(&mut serve).collect();
        let mut jobs = self.lock();
        left.append(&mut jobs.queue);
        jobs.queue = left;
        let closed = jobs.is_closed.then(|| std::mem::take(&mut jobs.queue));
        self.count.store(jobs.queue.len(), Ordering::SeqCst);
        drop(jobs);
        drop(closed);
    }

    /// Opens the room for a new run of the pool.
    pub(crate) fn open(&self) {
        self.lock().is_closed = false;
    }

    /// Lets nobody wait any more, and drops those who do, which answers them.
    pub(crate) fn close(&self) {
        let mut jobs = self.lock();
        jobs.is_closed = true;
        let dropped = std::mem::take(&mut jobs.queue);
        self.count.store(0, Ordering::SeqCst);
        drop(jobs);
        drop(dropped);
    }
}
