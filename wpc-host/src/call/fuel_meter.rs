//! The fuel that a submitted call has used, also after its caller dropped it.

use crate::call::Call;
use std::sync::Arc;

/// Reads the fuel that a call has used. Unlike the metadata of a reply, it also has the fuel of calls that failed or were
/// cancelled, once their guest has stopped. Cheap to clone; it keeps a small part of the call in memory. The default reads
/// nothing.
#[derive(Debug, Clone, Default)]
pub struct FuelMeter(Option<Arc<Call>>);

impl FuelMeter {
    pub(crate) fn of(call: &Arc<Call>) -> Self {
        Self(Some(Arc::clone(call)))
    }

    /// The fuel that the call has used; `None` while its guest runs, if it never ran, and if its definition does not meter fuel.
    /// It is as exact as [`PendingCall::wait_metered`](crate::PendingCall::wait_metered) states.
    #[must_use]
    pub fn fuel_used(&self) -> Option<u64> {
        self.0.as_ref()?.fuel_used()
    }

    /// Whether it never reads anything, like the default.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.is_none()
    }
}
