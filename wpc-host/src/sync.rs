//! Threads, locks, atomics and the structures without locks, for all that keeps a protocol between
//! threads. Here they are the standard library's and those of crates made for it; the model checks in
//! `tools/models/` compile the same files with others in their place, whose every step they order.

pub(crate) use arc_swap::{ArcSwap, ArcSwapOption, Cache};
pub(crate) use atomic_waker::AtomicWaker;
pub(crate) use concurrent_queue::ConcurrentQueue;
pub(crate) use crossbeam_utils::Backoff;
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic, mpsc};
pub(crate) use std::{thread, thread_local};

/// How long a worker looks again before sleeping: a few microseconds of shorter looks, then some in which others
/// have the core.
pub(crate) struct SpinThenPark {
    looks: Backoff,
    yields: std::cell::Cell<u32>,
}

impl SpinThenPark {
    /// Longer than a wake-up takes as a rule. Its callers sleep sooner, so that answers come in bursts where many are
    /// outstanding; once woken, they find it awake, and not one wake-up follows another for ever.
    const YIELDS: u32 = 50;

    pub(crate) fn new() -> Self {
        Self { looks: Backoff::new(), yields: std::cell::Cell::new(0) }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.yields.get() >= Self::YIELDS
    }

    pub(crate) fn wait(&self) {
        if self.looks.is_completed() {
            self.yields.set(self.yields.get() + 1);
            thread::yield_now();
        } else {
            self.looks.snooze();
        }
    }
}

pub(crate) mod time {
    use std::time::Instant;

    pub(crate) fn now() -> Instant {
        Instant::now()
    }
}
