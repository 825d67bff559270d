//! The overflow queue: accepted calls that no worker can take at the moment, because all workers are full or the function
//! backs off on all of them. The supervisor serves it in order of arrival.

use crate::id::Generation;
use crate::registry::Definition;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::worker::job::Job;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError};

#[derive(Debug)]
pub(crate) struct OverflowQueue {
    jobs: Mutex<Jobs>,
    /// The length of the queue. Every completed call reads it, so it is read without the lock.
    count: AtomicUsize,
    /// How many of the queued calls have `wait_for_capacity` set, so that callers usually need no lock to see that none has.
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
    /// The queued calls with `wait_for_capacity`, by definition. Those that are being offered are included.
    for_capacity: FxHashMap<Generation, WaitsForCapacity>,
    /// How many jobs are being offered to workers at the moment. They count towards the capacity.
    offered: usize,
    is_closed: bool,
    /// Whether a search for answered calls found none since the last round.
    is_fruitless: bool,
}

/// The calls of a definition that wait for capacity.
#[derive(Debug)]
struct WaitsForCapacity {
    definition: Arc<Definition>,
    calls: usize,
}

impl Jobs {
    /// Counts a call that joins the queue.
    fn joins(&mut self, job: &Job) {
        if job.wait_for_capacity {
            let definition = &job.definition;
            let waits = self.for_capacity.entry(definition.generation);
            waits
                .or_insert_with(|| WaitsForCapacity {
                    definition: Arc::clone(definition),
                    calls: 0,
                })
                .calls += 1;
        }
    }

    /// Counts a call that leaves the queue, by the definition whose capacity it waited for. Returns the definition if no other
    /// of its calls waits: the caller drops it outside of the lock.
    fn leaves(&mut self, waited_for: Option<Generation>) -> Option<Arc<Definition>> {
        let Entry::Occupied(mut waits) = self.for_capacity.entry(waited_for?) else { return None };
        waits.get_mut().calls -= 1;
        (waits.get().calls == 0).then(|| waits.remove().definition)
    }

    fn is_full(&self, capacity: usize) -> bool {
        self.queue.len() + self.offered >= capacity
    }

    /// Takes everything out of a queue that is closed.
    fn clear(&mut self) -> VecDeque<Job> {
        self.for_capacity.clear();
        std::mem::take(&mut self.queue)
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
        // The jobs keep their definitions.
        answered.iter().for_each(|job| drop(self.leaves(waits_for(job))));
        self.is_fruitless = answered.is_empty();
        answered
    }
}

/// The definition for whose capacity a job waits.
fn waits_for(job: &Job) -> Option<Generation> {
    job.wait_for_capacity.then_some(job.definition.generation)
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

    /// Whether a call with `wait_for_capacity` is queued that this one must not overtake: one of its definition, or of another
    /// definition that does not back off.
    pub(crate) fn is_ahead_of(&self, job: &Job) -> bool {
        if self.for_capacity.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let jobs = self.lock();
        jobs.for_capacity.contains_key(&job.definition.generation)
            || jobs.for_capacity.values().any(|waits| waits.definition.circuit_breaker.is_closed())
    }

    fn update_counts(&self, jobs: &Jobs) {
        self.count.store(jobs.queue.len(), Ordering::SeqCst);
        self.for_capacity.store(jobs.for_capacity.len(), Ordering::SeqCst);
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
        jobs.joins(&job);
        jobs.queue.push_back(job);
        self.count.fetch_add(1, Ordering::SeqCst);
        self.for_capacity.store(jobs.for_capacity.len(), Ordering::SeqCst);
    }

    /// Offers every call to `serve`, in order; the calls that it returns stay queued in that order. If it panics, the call that
    /// it was offered is dropped, and the others stay.
    ///
    /// The lock is not held meanwhile, because a job that a worker no longer takes may be returned to this queue. Only the
    /// supervisor calls this method. No waker runs on its thread, so a thread that waits in [`Self::enter`] never waits for
    /// itself.
    pub(crate) fn serve(&self, mut serve: impl FnMut(Job) -> Option<Job>) {
        let mut round = Round::begin(self);
        while let Some(job) = round.offered.pop_front() {
            round.taken.push(waits_for(&job));
            if let Some(job) = serve(job) {
                round.taken.pop();
                round.left.push_back(job);
            }
        }
    }

    /// Opens the queue when the pool starts.
    pub(crate) fn open(&self) {
        self.lock().is_closed = false;
    }

    /// Closes the queue and drops the calls in it, which answers them.
    pub(crate) fn close(&self) {
        let mut jobs = self.lock();
        jobs.is_closed = true;
        let dropped = jobs.clear();
        self.update_counts(&jobs);
        drop(jobs);
        drop(dropped);
    }
}

/// A round in which the queued calls are offered. Its end puts back those that were not taken, even after a panic.
struct Round<'a> {
    queue: &'a OverflowQueue,
    offered: VecDeque<Job>,
    left: VecDeque<Job>,
    /// The definitions for whose capacity the calls waited that were taken.
    taken: Vec<Option<Generation>>,
}

impl<'a> Round<'a> {
    fn begin(queue: &'a OverflowQueue) -> Self {
        let mut jobs = queue.lock();
        jobs.offered = jobs.queue.len();
        let offered = std::mem::take(&mut jobs.queue);
        Self { queue, offered, left: VecDeque::new(), taken: Vec::new() }
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        let mut jobs = self.queue.lock();
        (jobs.offered, jobs.is_fruitless) = (0, false);
        let taken = self.taken.drain(..);
        let definitions: Vec<_> = taken.filter_map(|waited_for| jobs.leaves(waited_for)).collect();
        self.left.append(&mut self.offered);
        self.left.append(&mut jobs.queue);
        jobs.queue = std::mem::take(&mut self.left);
        let closed = jobs.is_closed.then(|| jobs.clear());
        self.queue.update_counts(&jobs);
        drop(jobs);
        self.queue.served.notify_all();
        drop((closed, definitions));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::call::Call;
    use crate::definition::WasmModule;
    use crate::error::Error;
    use crate::id::{CallId, WorkerId};
    use crate::module::engine::Engines;
    use crate::options::Options;
    use crate::registry::restart_policy::RestartPolicy;
    use crate::registry::{Change, OnRefusal, Registry};
    use crate::system::background::Interest;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::{Duration, Instant};

    pub(in crate::worker) fn registry(functions: &[&str]) -> Registry {
        let options = Options::default().max_live_instances(1);
        let engines = Engines::new(&options, None).unwrap();
        let registry = Registry::new(Arc::new(engines), &options);
        let module = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
        let change = |name: &&str| Change::Function {
            name: (*name).to_owned(),
            source: WasmModule::new(module.clone()).export("f"),
        };
        let changes = functions.iter().map(change).collect();
        registry.apply(changes, OnRefusal::RefuseAll, &Interest::default()).unwrap();
        registry
    }

    /// A call that waits for capacity.
    pub(in crate::worker) fn job(registry: &Registry, function: &str) -> Job {
        let function = registry.function(function).unwrap();
        let definition = Arc::clone(function.definition.as_ref().unwrap());
        let (name, limit) = (Arc::clone(&function.name), Duration::from_secs(60));
        let call = Call::new(CallId(1), name, definition.generation, Instant::now(), limit);
        let mut job = Job::new(Arc::new(call), function, definition, Vec::new());
        job.wait_for_capacity = true;
        job
    }

    #[test]
    fn a_panic_loses_only_the_call_that_was_offered() {
        let registry = registry(&["f"]);
        let queue = OverflowQueue::new(2);
        let jobs = [job(&registry, "f"), job(&registry, "f")];
        let calls = jobs.each_ref().map(|job| Arc::clone(&job.call));
        jobs.into_iter().for_each(|job| queue.enter(job).unwrap());
        let served = catch_unwind(AssertUnwindSafe(|| queue.serve(|_| panic!("a bug"))));
        assert!(served.is_err());
        assert_eq!(calls.map(|call| call.is_answered()), [true, false]);
        assert_eq!(queue.len(), 1);
        // A full queue waits for the outcome while calls are being offered.
        queue.enter(job(&registry, "f")).unwrap();
        assert!(queue.enter(job(&registry, "f")).is_err(), "it is full");
        queue.serve(|_| None);
        assert!(queue.is_empty() && !queue.is_ahead_of(&job(&registry, "f")));
    }

    #[test]
    fn calls_of_a_function_that_backs_off_are_ahead_only_of_its_own() {
        let registry = registry(&["f", "g"]);
        let queue = OverflowQueue::new(10);
        queue.enter(job(&registry, "f")).unwrap();
        let is_ahead_of = || ["f", "g"].map(|name| queue.is_ahead_of(&job(&registry, name)));
        assert_eq!(is_ahead_of(), [true, true], "it waits for capacity");
        let failed = job(&registry, "f");
        let policy = RestartPolicy::new(&Options::default());
        let circuit_breaker = &failed.definition.circuit_breaker;
        let random = &mut rand::rng();
        let _ = circuit_breaker.failed(
            WorkerId(1),
            false,
            &Error::NotRunning,
            &policy,
            Instant::now(),
            random,
        );
        assert_eq!(is_ahead_of(), [true, false], "it backs off");
        queue.serve(|_| None);
        assert_eq!(is_ahead_of(), [false, false]);
    }
}
