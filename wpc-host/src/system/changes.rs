//! Lets threads wait for a condition that other threads make true.

use crate::sync::{Condvar, Mutex};
use std::sync::PoisonError;
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Changes {
    lock: Mutex<()>,
    changed: Condvar,
}

impl Changes {
    /// Makes the waiting threads check their conditions again. It takes the lock, so that no thread misses the signal between
    /// its check and its wait.
    pub(crate) fn notify_all(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `holds` returns true; returns false after the timeout.
    pub(crate) fn wait_until(&self, timeout: Duration, holds: impl Fn() -> bool) -> bool {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(lock, timeout, |()| !holds());
        drop(waited);
        holds()
    }
}
