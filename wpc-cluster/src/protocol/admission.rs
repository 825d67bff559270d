//! Which calls a node accepts.

use crate::wire::Refusal;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which calls a node accepts: as many as its workers can run soon. A queue that is longer than that would hold calls until their
/// callers no longer wait. Calls that can suspend are counted separately, because they need a worker only from time to time.
///
/// The counts are changed by the threads that submit calls and by those on which calls end; each change stands alone.
#[derive(Debug)]
pub(crate) struct Admission {
    computing: Count,
    suspending: Count,
}

#[derive(Debug)]
struct Count {
    limit: usize,
    now: AtomicUsize,
}

/// A slot among the calls of a node, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: std::sync::Arc<Admission>,
    can_suspend: bool,
}

/// How many calls a worker has at once: one that it runs, and two that follow it.
const CALLS_PER_WORKER: usize = 3;
/// How many calls that can suspend a worker has at once.
const SUSPENDING_PER_WORKER: usize = 512;

impl Admission {
    /// For a pool with this many workers. `limit` is the maximum number of calls that cannot suspend; `None` stands for three for each worker.
    pub(crate) fn new(workers: usize, limit: Option<usize>) -> Self {
        let count = |limit: usize| Count { limit: limit.max(1), now: AtomicUsize::new(0) };
        Self {
            computing: count(limit.unwrap_or(workers.saturating_mul(CALLS_PER_WORKER))),
            suspending: count(workers.saturating_mul(SUSPENDING_PER_WORKER)),
        }
    }

    fn count(&self, can_suspend: bool) -> &Count {
        if can_suspend { &self.suspending } else { &self.computing }
    }

    /// Takes a slot for a call.
    pub(crate) fn admit(
        self: &std::sync::Arc<Self>,
        can_suspend: bool,
    ) -> Result<Admitted, Refusal> {
        let Count { limit, now } = self.count(can_suspend);
        let add = |calls: usize| (calls < *limit).then_some(calls + 1);
        match now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => Ok(Admitted { admission: std::sync::Arc::clone(self), can_suspend }),
            Err(_) => Err(Refusal::Busy),
        }
    }

    /// The maximum number of calls that cannot suspend.
    pub(crate) fn limit(&self) -> usize {
        self.computing.limit
    }

    /// The calls that have a slot.
    pub(crate) fn in_flight(&self) -> usize {
        let now = |count: &Count| count.now.load(Ordering::Relaxed);
        now(&self.computing) + now(&self.suspending)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.count(self.can_suspend).now.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_node_accepts_few_calls_that_compute_and_many_that_wait() {
        let admission = Arc::new(Admission::new(2, None));
        let computing: Vec<_> = (0..6).map(|_| admission.admit(false).unwrap()).collect();
        assert_eq!(admission.admit(false).unwrap_err(), Refusal::Busy);
        let waiting: Vec<_> = (0..1024).map(|_| admission.admit(true).unwrap()).collect();
        assert_eq!(admission.admit(true).unwrap_err(), Refusal::Busy);
        assert_eq!(admission.in_flight(), 1030);
        drop(computing);
        admission.admit(false).unwrap();
        drop(waiting);
        assert_eq!(admission.in_flight(), 0);
    }
}
