//! Where one definition's failures are kept, worker by worker, so that they touch no other.
//!
//! A healthy definition has no entry here and one load tells so; the lock is taken only after
//! something failed. A worker writes its own entry and begins its trials; callers and the supervisor
//! read, forget workers that are gone, and revive.

use crate::error::Error;
use crate::event::EventDetails;
use crate::id::WorkerId;
use crate::registry::restart_policy::{Admission, Decision, RestartPolicy, RestartState};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Stands for all workers, where a failure cost the worker itself: whichever comes next would be lost
/// in the same way.
const EVERYWHERE: WorkerId = WorkerId(u64::MAX);

#[derive(Debug, Default)]
pub(crate) struct CircuitBreaker {
    degraded: AtomicUsize,
    troubles: Mutex<BTreeMap<WorkerId, Trouble>>,
}

#[derive(Debug)]
struct Trouble {
    state: RestartState,
    last: Error,
}

impl CircuitBreaker {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, troubles: &BTreeMap<WorkerId, Trouble>) {
        self.degraded.store(troubles.len(), Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.degraded.load(Ordering::Acquire) == 0
    }

    /// Whether `worker` may try the definition now.
    pub(crate) fn admission(&self, worker: WorkerId, now: Instant) -> Admission {
        if self.is_whole() {
            return Admission::Yes;
        }
        admission(&self.lock(), worker, now)
    }

    /// The same, and the one trial of what is held begins with it.
    pub(crate) fn admit(
        &self,
        worker: WorkerId,
        policy: &RestartPolicy,
        now: Instant,
    ) -> Admission {
        let mut troubles = self.lock();
        let admission = admission(&troubles, worker, now);
        if admission == Admission::Trial {
            for worker in [worker, EVERYWHERE] {
                if let Some(trouble) = troubles.get_mut(&worker) {
                    trouble.state.begin_trial(policy, now);
                }
            }
        }
        admission
    }

    /// Takes note of a failure on `worker`.
    pub(crate) fn failed(
        &self,
        worker: WorkerId,
        had_succeeded: bool,
        error: &Error,
        policy: &RestartPolicy,
        now: Instant,
        random: &mut impl rand::Rng,
    ) -> Decision {
        let mut troubles = self.lock();
        let trouble = troubles
            .entry(worker)
            .or_insert_with(|| Trouble { state: RestartState::new(now), last: error.clone() });
        trouble.last = error.clone();
        let decision = trouble.state.failed(had_succeeded, policy, now, random);
        self.count(&troubles);
        decision
    }

    /// Takes note of a failure that cost a worker.
    pub(crate) fn lost_a_worker(
        &self,
        error: &Error,
        policy: &RestartPolicy,
        now: Instant,
        random: &mut impl rand::Rng,
    ) -> Decision {
        self.failed(EVERYWHERE, false, error, policy, now, random)
    }

    /// Takes note of an answer on `worker`; tells whether there was trouble.
    pub(crate) fn recovered(&self, worker: WorkerId) -> bool {
        let mut troubles = self.lock();
        let was_degraded = [worker, EVERYWHERE].map(|worker| troubles.remove(&worker).is_some());
        self.count(&troubles);
        was_degraded.contains(&true)
    }

    /// Lets the trial of a held entry be made again.
    pub(crate) fn abandon_trial(&self, worker: WorkerId, now: Instant) {
        let mut troubles = self.lock();
        for worker in [worker, EVERYWHERE] {
            if let Some(trouble) = troubles.get_mut(&worker) {
                trouble.state.abandon_trial(now);
            }
        }
    }

    /// Forgets all trouble; tells on which workers there was some, `None` standing for all.
    pub(crate) fn revive(&self) -> Vec<Option<WorkerId>> {
        let mut troubles = self.lock();
        let named = |worker: &WorkerId| (*worker != EVERYWHERE).then_some(*worker);
        let workers = troubles.keys().map(named).collect();
        troubles.clear();
        self.count(&troubles);
        workers
    }

    /// Forgets workers that are gone.
    pub(crate) fn retain(&self, is_there: impl Fn(WorkerId) -> bool) {
        if self.is_whole() {
            return;
        }
        let mut troubles = self.lock();
        troubles.retain(|worker, _| *worker == EVERYWHERE || is_there(*worker));
        self.count(&troubles);
    }

    /// Whether something failed on `worker` and has not been answered since.
    pub(crate) fn troubles(&self, worker: WorkerId) -> bool {
        !self.is_whole() && self.lock().contains_key(&worker)
    }

    /// The failure of the worker that failed first, if one did.
    pub(crate) fn last_failure(&self) -> Option<Error> {
        if self.is_whole() {
            return None;
        }
        self.lock().values().next().map(|trouble| trouble.last.clone())
    }

    /// The last failure, and since when the definition is held on the worker that holds it longest.
    pub(crate) fn held(&self, now: Instant) -> Option<(Instant, Error)> {
        let troubles = self.lock();
        let held = troubles.values().filter_map(|trouble| match trouble.state.admission(now) {
            Admission::Held { since } => Some((since, trouble.last.clone())),
            _ => None,
        });
        held.min_by_key(|(since, _)| *since)
    }
}

/// How listeners hear of what follows from a failure.
pub(crate) fn consequence(decision: Decision, function: &str) -> EventDetails {
    let function_name = function.to_owned();
    match decision {
        Decision::Hold { attempts } => {
            EventDetails::SandboxHeld { function_name, restart_attempts: attempts }
        }
        Decision::RestartNow { attempt } => EventDetails::SandboxRestartScheduled {
            function_name,
            restart_attempt: attempt,
            restart_delay: Duration::ZERO,
        },
        Decision::RestartAfter { attempt, delay } => EventDetails::SandboxRestartScheduled {
            function_name,
            restart_attempt: attempt,
            restart_delay: delay,
        },
    }
}

fn admission(troubles: &BTreeMap<WorkerId, Trouble>, worker: WorkerId, now: Instant) -> Admission {
    let of = |worker| {
        troubles.get(&worker).map_or(Admission::Yes, |trouble| trouble.state.admission(now))
    };
    match (of(worker), of(EVERYWHERE)) {
        (Admission::Yes, other) | (other, Admission::Yes) => other,
        (held @ Admission::Held { .. }, _) | (_, held @ Admission::Held { .. }) => held,
        (Admission::From(one), Admission::From(other)) => Admission::From(one.max(other)),
        (from @ Admission::From(_), _) | (_, from @ Admission::From(_)) => from,
        (Admission::Trial, Admission::Trial) => Admission::Trial,
    }
}
