//! Lets threads wait until something holds that other threads bring about.

use crate::sync::{Condvar, Mutex};
use std::sync::PoisonError;
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Changes {
    lock: Mutex<()>,
    changed: Condvar,
}

impl Changes {
    /// Lets the threads that wait look again. Taking the lock closes the gap between such a look and the wait after it.
    pub(crate) fn tell(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `holds`; false where it did not in time.
    pub(crate) fn wait_until(&self, timeout: Duration, holds: impl Fn() -> bool) -> bool {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(lock, timeout, |()| !holds());
        drop(waited);
        holds()
    }
}
