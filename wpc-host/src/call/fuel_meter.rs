//! The fuel that a submitted call has used, even after its caller dropped it.

use crate::call::Call;
use std::sync::{Arc, OnceLock};

/// Reads the fuel that a call has used. Unlike the metadata of a reply, it also has the fuel of calls that failed or were
/// cancelled, once their guest has stopped. Cheap to clone; it keeps a small part of the call in memory. The default reads
/// nothing.
#[derive(Debug, Clone, Default)]
pub struct FuelMeter(Source);

/// Where the fuel is read.
#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    Nothing,
    Call(Arc<Call>),
    /// The call runs in another process, which reports it.
    Reported(Arc<OnceLock<u64>>),
}

/// Keeps the fuel of a call that runs in another process, when that process reports it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct FuelReport(Arc<OnceLock<u64>>);

impl FuelReport {
    /// A report that has not been set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the fuel that the call has used, if it was not set before.
    pub fn set(&self, used: u64) {
        let _ = self.0.set(used);
    }

    /// Returns a meter that reads the fuel once it is set.
    #[must_use]
    pub fn meter(&self) -> FuelMeter {
        FuelMeter(Source::Reported(Arc::clone(&self.0)))
    }
}

impl FuelMeter {
    pub(crate) fn of(call: &Arc<Call>) -> Self {
        Self(Source::Call(Arc::clone(call)))
    }

    /// The fuel that the call has used; `None` while its guest runs, if it never ran, and if its definition does not meter fuel.
    /// It is as exact as [`PendingCall::wait_metered`](crate::PendingCall::wait_metered) states.
    #[must_use]
    pub fn fuel_used(&self) -> Option<u64> {
        match &self.0 {
            Source::Nothing => None,
            Source::Call(call) => call.fuel_used(),
            Source::Reported(fuel) => fuel.get().copied(),
        }
    }

    /// Whether it never reads anything, like the default.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.0, Source::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuel_of_another_process_is_known_once_it_is_reported() {
        let report = FuelReport::new();
        let meter = report.meter();
        assert_eq!((meter.fuel_used(), meter.is_unknown()), (None, false));
        report.set(7);
        report.set(8);
        assert_eq!(meter.fuel_used(), Some(7));
        assert!(FuelMeter::default().is_unknown());
    }
}
