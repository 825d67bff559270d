//! The counters of all functions of a pool.

use super::counters::ByCode;
use super::{FunctionMeter, Sums};
use crate::error::ErrorCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct PoolMeter {
    functions: Mutex<Functions>,
    /// Calls to names that are not defined.
    undefined: ByCode,
}

#[derive(Debug, Default)]
struct Functions {
    meters: Vec<Arc<FunctionMeter>>,
    /// The sums of functions that no longer exist.
    ended: Sums,
    /// The length of the list at which it is searched for the meters of such functions.
    full_at: usize,
}

impl Functions {
    /// Moves the counts of functions that no longer exist to their sums.
    fn remove_ended(&mut self) {
        let Self { meters, ended, full_at } = self;
        meters.retain_mut(|meter| match Arc::get_mut(meter) {
            Some(meter) => {
                meter.add_to(ended);
                false
            }
            None => true,
        });
        // Each meter is inspected a constant number of times on average, however many functions are defined.
        *full_at = meters.len().saturating_mul(2).max(16);
    }
}

impl PoolMeter {
    /// The meter of a new function.
    pub(crate) fn new_function(&self) -> Arc<FunctionMeter> {
        let meter = Arc::<FunctionMeter>::default();
        let mut functions = self.lock();
        if functions.meters.len() >= functions.full_at {
            functions.remove_ended();
        }
        functions.meters.push(Arc::clone(&meter));
        meter
    }

    /// Counts a refused call to a name that is not defined.
    pub(crate) fn count_undefined(&self, code: ErrorCode) {
        self.undefined.add(code);
    }

    pub(crate) fn sums(&self) -> Sums {
        let mut functions = self.lock();
        functions.remove_ended();
        let mut sums = functions.ended.clone();
        functions.meters.iter().for_each(|meter| meter.add_to(&mut sums));
        self.undefined.add_to(&mut sums.calls);
        sums
    }

    /// How many functions have counters in the list.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().meters.len()
    }

    fn lock(&self) -> MutexGuard<'_, Functions> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
