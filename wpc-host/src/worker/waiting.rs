//! The jobs of a worker that wait until a sandbox of their definition is free there. They have not begun.
//!
//! All state is under one lock, except for the count of jobs, which other threads read as a hint.

use crate::id::Generation;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::worker::job::Job;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::PoisonError;

/// What jobs wait for: a sandbox of a definition, for a call of this depth. Some sandboxes are reserved for nested calls.
type Need = (Generation, usize);

/// The need of a job.
pub(super) fn need(job: &Job) -> Need {
    (job.definition.generation, job.call.depth)
}

/// Jobs by their need, those of each in order of arrival.
type Jobs = FxHashMap<Need, VecDeque<Job>>;

#[derive(Default)]
pub(super) struct WaitingJobs {
    jobs: Mutex<Jobs>,
    count: AtomicUsize,
}

impl WaitingJobs {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, job: Job) {
        let mut jobs = self.lock();
        jobs.entry(need(&job)).or_default().push_back(job);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts a job back that was just taken: it is the next one again.
    pub(super) fn put_back(&self, job: Job) {
        self.lock().entry(need(&job)).or_default().push_front(job);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a job whose call `may_begin`. Nested calls precede others, because their callers wait; among calls of the same
    /// depth, the oldest is taken, so that no definition delays the others for ever.
    pub(super) fn take(&self, may_begin: impl Fn(&Job) -> bool) -> Option<Job> {
        let mut jobs = self.lock();
        let next = jobs.iter_mut().filter(|(_, jobs)| jobs.front().is_some_and(&may_begin));
        let (need, with_need) = next.min_by_key(|((_, depth), jobs)| {
            (Reverse(*depth), jobs.front().map(|job| job.call.id))
        })?;
        let (need, job) = (*need, with_need.pop_front());
        if with_need.is_empty() {
            jobs.remove(&need);
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        job
    }

    pub(super) fn take_all(&self) -> Vec<Job> {
        let mut jobs = self.lock();
        let taken: Vec<_> = std::mem::take(&mut *jobs).into_values().flatten().collect();
        self.count.fetch_sub(taken.len(), Ordering::Relaxed);
        taken
    }
}
