//! The counters of one function.

use super::Sums;
use super::counters::{ByCode, Counters};
use crate::error::ErrorCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct FunctionMeter {
    by_thread: Mutex<Vec<Arc<Counters>>>,
    /// Calls whose outcome their worker did not decide.
    elsewhere: ByCode,
    sandbox_failures: AtomicU64,
}

impl FunctionMeter {
    /// Returns counters for a thread, which no other thread writes.
    #[cold]
    pub(crate) fn join(&self) -> Arc<Counters> {
        let mut all = self.lock();
        for counters in all.iter_mut() {
            // Counters that only this list holds are not in use any more.
            if Arc::get_mut(counters).is_some() {
                return Arc::clone(counters);
            }
        }
        let counters = Arc::<Counters>::default();
        all.push(Arc::clone(&counters));
        counters
    }

    /// Counts a call that was refused, or whose outcome a thread other than its worker decided.
    #[cold]
    pub(crate) fn count_elsewhere(&self, code: ErrorCode) {
        self.elsewhere.add(code);
    }

    #[cold]
    pub(crate) fn count_sandbox_failure(&self) {
        self.sandbox_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        self.add_to(&mut sums);
        sums
    }

    pub(super) fn add_to(&self, sums: &mut Sums) {
        sums.sandbox_failures += self.sandbox_failures.load(Ordering::Relaxed);
        self.elsewhere.add_to(&mut sums.calls);
        self.lock().iter().for_each(|counters| counters.add_to(sums));
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Arc<Counters>>> {
        self.by_thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
