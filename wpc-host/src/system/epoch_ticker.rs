//! How workers keep the supervisor awake: its alarm bell, and the coarse clock it keeps.
//!
//! The supervisor ticks while anything runs and sleeps otherwise. A worker that goes from idle to
//! busy says so (its own flag) and then rings; the supervisor announces its sleep and then looks at
//! the flags once more. The same two-sided look as in `queue`.

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
    /// A new one with each start of the pool.
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

    /// Wakes the supervisor if it sleeps, whatever was written before.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        self.ring_after_flag();
    }

    /// The same after a flag that was written, and is looked at, sequentially consistent: that is all the
    /// order it takes.
    #[inline]
    pub(crate) fn ring_after_flag(&self) {
        if self.is_asleep.load(Ordering::SeqCst)
            && self.is_asleep.swap(false, Ordering::SeqCst)
            && let Some(supervisor) = &*self.supervisor.load()
        {
            supervisor.unpark();
        }
    }

    /// A moment as a number, which fits an atomic.
    pub(crate) fn nanos(&self, moment: Instant) -> u64 {
        let nanos = moment.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// The moment of the last tick; cheap, and behind by a tick at most while anything is queued.
    pub(crate) fn coarse_now(&self) -> u64 {
        self.now_nanos.load(Ordering::Relaxed)
    }

    /// The same as a moment.
    #[inline]
    pub(crate) fn last_tick(&self) -> Instant {
        self.origin + Duration::from_nanos(self.coarse_now())
    }

    /// Only the supervisor calls this.
    pub(crate) fn tick(&self, now: Instant) {
        self.now_nanos.store(self.nanos(now), Ordering::Relaxed);
    }

    /// Makes this thread the one that is rung for.
    pub(crate) fn adopt(&self) {
        self.supervisor.store(Some(Arc::new(thread::current())));
    }

    /// Only the supervisor calls this: sleeps until it is rung or until `at_most` has passed,
    /// unless `has_work` when it looks a last time.
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
