//! The wake signal of the supervisor, and the coarse clock that it advances.
//!
//! The supervisor ticks while anything runs and parks otherwise. A worker that becomes busy sets its own flag and then
//! notifies. The supervisor announces that it will park and then checks the flags once more. So either the worker sees the
//! announcement or the supervisor sees the flag, as in `worker::queue`.

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::sync::thread::Thread;
use crate::sync::{ArcSwapOption, thread, time};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct EpochTicker {
    origin: Instant,
    now_nanos: AtomicU64,
    is_asleep: AtomicBool,
    /// The supervisor's thread; a new one with each start of the pool.
    supervisor: ArcSwapOption<Thread>,
}

impl EpochTicker {
    pub(crate) fn new() -> Self {
        Self {
            origin: time::now(),
            now_nanos: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
            supervisor: ArcSwapOption::empty(),
        }
    }

    /// Wakes the supervisor if it is parked. Orders all earlier writes before the check.
    pub(crate) fn notify(&self) {
        fence(Ordering::SeqCst);
        self.notify_after_flag();
    }

    /// The same after a flag that is written and read with sequential consistency, which makes the fence unnecessary.
    #[inline]
    pub(crate) fn notify_after_flag(&self) {
        if self.is_asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        if self.is_asleep.swap(false, Ordering::SeqCst)
            && let Some(supervisor) = &*self.supervisor.load()
        {
            supervisor.unpark();
        }
    }

    /// A point in time as a number for an atomic.
    pub(crate) fn nanos(&self, moment: Instant) -> u64 {
        nanos(moment.saturating_duration_since(self.origin))
    }

    /// The time of the last tick. Cheap to read, and at most one tick old while anything is queued.
    pub(crate) fn coarse_now(&self) -> u64 {
        self.now_nanos.load(Ordering::Relaxed)
    }

    /// The same as an [`Instant`].
    #[inline]
    pub(crate) fn last_tick(&self) -> Instant {
        self.origin + Duration::from_nanos(self.coarse_now())
    }

    /// Advances the clock. Only the supervisor calls this.
    pub(crate) fn tick(&self, now: Instant) {
        self.now_nanos.store(self.nanos(now), Ordering::Relaxed);
    }

    /// Makes this thread the one to be notified.
    pub(crate) fn adopt(&self) {
        self.supervisor.store(Some(Arc::new(thread::current())));
    }

    /// Parks until a notification or until `at_most` has passed, unless a last check of `has_work` returns true. Only the
    /// supervisor calls this.
    pub(crate) fn sleep(&self, at_most: Option<Duration>, has_work: impl Fn() -> bool) {
        self.is_asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if !has_work() {
            match at_most {
                Some(at_most) => thread::park_timeout(at_most),
                None => thread::park(),
            }
        }
        self.is_asleep.store(false, Ordering::SeqCst);
    }
}

/// A duration as a number for an atomic. Avoids 128-bit arithmetic, because every call converts durations.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(duration.subsec_nanos()))
}
