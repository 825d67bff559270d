//! Threads, locks, atomics and lock-free structures for all protocols between threads. Here they come from the standard
//! library and other crates. The model checks in `tools/models/` compile the same sources with replacements, whose steps
//! their scheduler orders.

pub(crate) use arc_swap::{ArcSwap, ArcSwapOption};
pub(crate) use atomic_waker::AtomicWaker;
pub(crate) use concurrent_queue::ConcurrentQueue;
pub(crate) use crossbeam_utils::Backoff;
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic, mpsc};
pub(crate) use std::{thread, thread_local};

/// The spin-then-park policy of a worker: it spins for a few microseconds, then yields [`YIELDS`](Self::YIELDS) times, and
/// then parks.
pub(crate) struct SpinThenPark {
    looks: Backoff,
    yields: std::cell::Cell<u32>,
}

impl SpinThenPark {
    /// This many yields usually take longer than a wake-up. Callers park sooner. With many outstanding calls, answers therefore
    /// come in bursts, and a woken caller finds the worker still running, so not every call needs two wake-ups.
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
