//! Whether new calls are accepted. An operator can stop that and resume it while the server runs.

use crate::problem::{Problem, ServerCode};
use std::sync::atomic::{AtomicBool, Ordering};

/// The seconds after which a refused client may try again: long enough for a load balancer to choose another server.
const RETRY_AFTER: u64 = 5;

/// Whether new calls are accepted. Each call reads it with one atomic load.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    is_draining: AtomicBool,
}

impl Intake {
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    pub(crate) fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Release);
    }

    /// Refuses a new call while the server is draining.
    pub(crate) fn admit(&self) -> Result<(), Problem> {
        if !self.is_draining() {
            return Ok(());
        }
        let detail = "the server is draining: it accepts no new calls";
        Err(Problem::new(ServerCode::Draining, detail).with_retry_after(RETRY_AFTER))
    }
}
