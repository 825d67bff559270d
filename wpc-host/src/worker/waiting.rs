//! The jobs of a worker that wait until a sandbox of their definition is free there. They have not begun.
//!
//! All state is under one lock, except for the count of jobs, which other threads read as a hint.

use crate::id::Generation;
use crate::registry::Definition;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::worker::job::Job;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::PoisonError;

/// Jobs by definition, those of each in order of arrival.
type Jobs = FxHashMap<Generation, VecDeque<Job>>;

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
        jobs.entry(job.definition.generation).or_default().push_back(job);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts a job back that was just taken: it is the next one again.
    pub(super) fn put_back(&self, job: Job) {
        self.lock().entry(job.definition.generation).or_default().push_front(job);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a job whose definition `may_begin` a call.
    pub(super) fn take(&self, may_begin: impl Fn(&Definition) -> bool) -> Option<Job> {
        let mut jobs = self.lock();
        let is_next = |job: &Job| may_begin(&job.definition);
        let (generation, of_definition) =
            jobs.iter_mut().find(|(_, jobs)| jobs.front().is_some_and(is_next))?;
        let (generation, job) = (*generation, of_definition.pop_front());
        if of_definition.is_empty() {
            jobs.remove(&generation);
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
