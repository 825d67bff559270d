//! What the host's `sync` has, with a point in each step at which another thread may go on.
//!
//! Time is not modelled. A wait of a second or more is taken to last for ever, so that a wake-up that
//! never comes is found as a deadlock; a shorter one may end at once, as if it had timed out.

use shuttle::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LockResult};
use std::time::Duration;

pub(crate) use shuttle::hint::spin_loop;
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic, mpsc};
pub(crate) use shuttle::thread_local;

const FOR_EVER: Duration = Duration::from_secs(1);

pub(crate) mod thread {
    use std::time::Duration;

    pub(crate) use shuttle::thread::{Builder, JoinHandle, Thread, current, park, yield_now};

    pub(crate) fn park_timeout(limit: Duration) {
        if limit >= super::FOR_EVER { park() } else { yield_now() }
    }
}

/// A point at which another thread may go on.
#[derive(Debug, Default)]
struct Point(AtomicUsize);

impl Point {
    fn pass(&self) {
        self.0.load(Ordering::SeqCst);
    }
}

/// Looks once.
pub(crate) struct Backoff(std::cell::Cell<bool>);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(std::cell::Cell::new(false))
    }

    pub(crate) fn is_completed(&self) -> bool {
        self.0.get()
    }

    pub(crate) fn snooze(&self) {
        self.0.set(true);
        thread::yield_now();
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    /// Where the wait may time out it does so the sooner, the less long it is: at once, or after a
    /// while in which others go on.
    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
        mut waits: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        if limit >= FOR_EVER {
            return self.0.wait_while(guard, waits);
        }
        // The guard stays held: who waits here holds nothing that others change under it.
        let mut guard = guard;
        for _ in 0..limit.as_millis() {
            if !waits(&mut guard) {
                break;
            }
            thread::yield_now();
        }
        Ok(guard)
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[derive(Debug)]
pub(crate) struct ConcurrentQueue<T>(concurrent_queue::ConcurrentQueue<T>, Point);

impl<T> ConcurrentQueue<T> {
    pub(crate) fn unbounded() -> Self {
        Self(concurrent_queue::ConcurrentQueue::unbounded(), Point::default())
    }

    pub(crate) fn bounded(most: usize) -> Self {
        Self(concurrent_queue::ConcurrentQueue::bounded(most), Point::default())
    }

    pub(crate) fn push(&self, item: T) -> Result<(), concurrent_queue::PushError<T>> {
        self.1.pass();
        self.0.push(item)
    }

    pub(crate) fn pop(&self) -> Result<T, concurrent_queue::PopError> {
        self.1.pass();
        self.0.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.1.pass();
        self.0.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.1.pass();
        self.0.is_closed()
    }

    pub(crate) fn close(&self) -> bool {
        self.1.pass();
        self.0.close()
    }
}

macro_rules! swap {
    ($name:ident, $value:ty) => {
        #[derive(Debug)]
        pub(crate) struct $name<T>(arc_swap::ArcSwapAny<$value>, Point);

        impl<T> $name<T> {
            pub(crate) fn load(&self) -> arc_swap::Guard<$value> {
                self.1.pass();
                self.0.load()
            }

            pub(crate) fn load_full(&self) -> $value {
                self.1.pass();
                self.0.load_full()
            }

            pub(crate) fn store(&self, value: $value) {
                self.1.pass();
                self.0.store(value);
            }

            pub(crate) fn swap(&self, value: $value) -> $value {
                self.1.pass();
                self.0.swap(value)
            }
        }

        impl<T> Default for $name<T>
        where
            $value: Default,
        {
            fn default() -> Self {
                Self(arc_swap::ArcSwapAny::new(<$value>::default()), Point::default())
            }
        }
    };
}

swap!(ArcSwap, Arc<T>);
swap!(ArcSwapOption, Option<Arc<T>>);

impl<T> ArcSwap<T> {
    pub(crate) fn rcu<R: Into<Arc<T>>>(&self, change: impl FnMut(&Arc<T>) -> R) -> Arc<T> {
        self.1.pass();
        self.0.rcu(change)
    }
}

impl<T> ArcSwapOption<T> {
    pub(crate) fn empty() -> Self {
        Self::default()
    }
}
