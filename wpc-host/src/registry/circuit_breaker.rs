//! The circuit breaker of one definition: its failures by worker, so that they do not affect other definitions.
//!
//! The breaker of a healthy definition is closed: it has no entries, which a single atomic load shows. The lock is taken
//! only after a failure. A worker writes its own entry and begins its trials (half-open). Callers and the supervisor read,
//! remove the entries of workers that no longer exist, and reset the breaker.

use crate::error::Error;
use crate::event::EventDetails;
use crate::id::WorkerId;
use crate::registry::restart_policy::{Admission, Decision, RestartPolicy, RestartState};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// The key of failures that made a worker unresponsive. They count on all workers, because the next worker would become
/// unresponsive too.
const EVERYWHERE: WorkerId = WorkerId(u64::MAX);

#[derive(Debug, Default)]
pub(crate) struct CircuitBreaker {
    degraded: AtomicUsize,
    failures: Mutex<BTreeMap<WorkerId, Failures>>,
}

#[derive(Debug)]
struct Failures {
    state: RestartState,
    last: Arc<Error>,
}

impl CircuitBreaker {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, failures: &BTreeMap<WorkerId, Failures>) {
        self.degraded.store(failures.len(), Ordering::Release);
    }

    /// Whether it is closed on all workers: nothing failed since the last success.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.degraded.load(Ordering::Acquire) == 0
    }

    /// Whether `worker` may run the definition now.
    pub(crate) fn admission(&self, worker: WorkerId, now: Instant) -> Admission {
        if self.is_closed() {
            return Admission::Yes;
        }
        admission(&self.lock(), worker, now)
    }

    /// Like [`admission`](Self::admission); also begins the trial if the breaker is half-open.
    pub(crate) fn admit(
        &self,
        worker: WorkerId,
        policy: &RestartPolicy,
        now: Instant,
    ) -> Admission {
        let mut failures = self.lock();
        let admission = admission(&failures, worker, now);
        if admission == Admission::Trial {
            for worker in [worker, EVERYWHERE] {
                if let Some(entry) = failures.get_mut(&worker) {
                    entry.state.begin_trial(policy, now);
                }
            }
        }
        admission
    }

    /// Records a failure on `worker`.
    pub(crate) fn failed(
        &self,
        worker: WorkerId,
        had_succeeded: bool,
        error: &Error,
        policy: &RestartPolicy,
        now: Instant,
        random: &mut impl rand::Rng,
    ) -> Decision {
        let last = Arc::new(error.clone());
        let mut failures = self.lock();
        let entry = failures
            .entry(worker)
            .or_insert_with(|| Failures { state: RestartState::new(now), last: Arc::clone(&last) });
        entry.last = last;
        let decision = entry.state.failed(had_succeeded, policy, now, random);
        self.count(&failures);
        decision
    }

    /// Records a failure that made a worker unresponsive.
    pub(crate) fn made_worker_unresponsive(
        &self,
        error: &Error,
        policy: &RestartPolicy,
        now: Instant,
        random: &mut impl rand::Rng,
    ) -> Decision {
        self.failed(EVERYWHERE, false, error, policy, now, random)
    }

    /// Records a success on `worker`; returns whether there were failures before it.
    pub(crate) fn recovered(&self, worker: WorkerId) -> bool {
        let mut failures = self.lock();
        let was_degraded = [worker, EVERYWHERE].map(|worker| failures.remove(&worker).is_some());
        self.count(&failures);
        was_degraded.contains(&true)
    }

    /// Allows another trial, because the last one ended without a result.
    pub(crate) fn abandon_trial(&self, worker: WorkerId, now: Instant) {
        let mut failures = self.lock();
        for worker in [worker, EVERYWHERE] {
            if let Some(entry) = failures.get_mut(&worker) {
                entry.state.abandon_trial(now);
            }
        }
    }

    /// Resets the breaker; returns the workers that had failures, with `None` for all workers.
    pub(crate) fn revive(&self) -> Vec<Option<WorkerId>> {
        let mut failures = self.lock();
        let named = |worker: &WorkerId| (*worker != EVERYWHERE).then_some(*worker);
        let workers = failures.keys().map(named).collect();
        failures.clear();
        self.count(&failures);
        workers
    }

    /// Removes the failures of workers that no longer exist.
    pub(crate) fn retain(&self, is_present: impl Fn(WorkerId) -> bool) {
        if self.is_closed() {
            return;
        }
        let mut failures = self.lock();
        failures.retain(|worker, _| *worker == EVERYWHERE || is_present(*worker));
        self.count(&failures);
    }

    /// Whether the definition failed on `worker` and has not succeeded since.
    pub(crate) fn has_failed_on(&self, worker: WorkerId) -> bool {
        !self.is_closed() && self.lock().contains_key(&worker)
    }

    /// The last failure on the oldest worker that has one.
    pub(crate) fn last_failure(&self) -> Option<Arc<Error>> {
        if self.is_closed() {
            return None;
        }
        self.lock().values().next().map(|entry| Arc::clone(&entry.last))
    }

    /// Since when the breaker is open, on the worker where it was opened first, and the last failure there.
    pub(crate) fn opened(&self, now: Instant) -> Option<(Instant, Arc<Error>)> {
        let failures = self.lock();
        let opened = failures.values().filter_map(|entry| match entry.state.admission(now) {
            Admission::Open { since } => Some((since, Arc::clone(&entry.last))),
            _ => None,
        });
        opened.min_by_key(|(since, _)| *since)
    }
}

/// The event that reports the consequence of a failure.
pub(crate) fn consequence(decision: Decision, function: &str) -> EventDetails {
    let function_name = function.to_owned();
    match decision {
        Decision::Open { attempts } => {
            EventDetails::CircuitOpened { function_name, restart_attempts: attempts }
        }
        Decision::Restart { attempt, delay } => EventDetails::SandboxRestartScheduled {
            function_name,
            restart_attempt: attempt,
            restart_delay: delay,
        },
    }
}

fn admission(failures: &BTreeMap<WorkerId, Failures>, worker: WorkerId, now: Instant) -> Admission {
    let of =
        |worker| failures.get(&worker).map_or(Admission::Yes, |entry| entry.state.admission(now));
    match (of(worker), of(EVERYWHERE)) {
        (Admission::Yes, other) | (other, Admission::Yes) => other,
        (open @ Admission::Open { .. }, _) | (_, open @ Admission::Open { .. }) => open,
        (Admission::From(one), Admission::From(other)) => Admission::From(one.max(other)),
        (from @ Admission::From(_), _) | (_, from @ Admission::From(_)) => from,
        (Admission::Trial, Admission::Trial) => Admission::Trial,
    }
}
