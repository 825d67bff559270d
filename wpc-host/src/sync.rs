//! Threads, locks, atomics and the structures without locks, for all that keeps a protocol between
//! threads. Here they are the standard library's and those of crates made for it; the model checks in
//! `models/` compile the same files with others in their place, whose every step they order.

pub(crate) use arc_swap::{ArcSwap, ArcSwapOption};
pub(crate) use atomic_waker::AtomicWaker;
pub(crate) use concurrent_queue::ConcurrentQueue;
pub(crate) use crossbeam_utils::Backoff;
pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic, mpsc};
pub(crate) use std::{thread, thread_local};

pub(crate) mod time {
    use std::time::Instant;

    pub(crate) fn now() -> Instant {
        Instant::now()
    }
}
