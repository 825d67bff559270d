//! Replaces the host's `sync`. Each operation has a point at which the scheduler may switch to another thread.
//!
//! The clock is simulated. A wait of less than a second advances it by that time and returns. A longer wait never times
//! out, so that a lost wake-up is found as a deadlock.

use shuttle::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LockResult};
use std::time::Duration;

pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic, mpsc};
pub(crate) use shuttle::thread_local;

const FOR_EVER: Duration = Duration::from_secs(1);

/// Threads whose `park` returns only after `unpark`. Shuttle's own may wake up spuriously, which would hide a lost wake-up.
pub(crate) mod thread {
    use shuttle::sync::{Condvar, Mutex};
    use shuttle::thread::{self, ThreadId};
    use std::cell::OnceCell;
    use std::sync::{Arc, PoisonError};
    use std::time::Duration;

    pub(crate) use shuttle::thread::yield_now;

    #[derive(Debug, Default)]
    struct Sleep {
        is_over: Mutex<bool>,
        woken: Condvar,
    }

    shuttle::thread_local! {
        static SLEEP: OnceCell<Arc<Sleep>> = OnceCell::new();
    }

    #[derive(Debug, Clone)]
    pub(crate) struct Thread {
        id: ThreadId,
        sleep: Arc<Sleep>,
    }

    impl Thread {
        pub(crate) fn id(&self) -> ThreadId {
            self.id
        }

        pub(crate) fn unpark(&self) {
            *self.sleep.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.sleep.woken.notify_one();
        }
    }

    /// Fewer than the workers of some pools in the checks.
    pub(crate) fn available_parallelism() -> std::io::Result<std::num::NonZero<usize>> {
        Ok(std::num::NonZero::<usize>::MIN)
    }

    pub(crate) fn current() -> Thread {
        let sleep = SLEEP.with(|sleep| Arc::clone(sleep.get_or_init(Arc::default)));
        Thread { id: thread::current().id(), sleep }
    }

    pub(crate) fn park() {
        let sleep = current().sleep;
        let is_over = sleep.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = sleep.woken.wait_while(is_over, |is_over| !*is_over);
        *woken.unwrap_or_else(PoisonError::into_inner) = false;
    }

    pub(crate) fn park_timeout(limit: Duration) {
        if limit >= super::FOR_EVER {
            return park();
        }
        super::time::pass(limit);
        yield_now();
    }

    pub(crate) struct JoinHandle<T> {
        inner: thread::JoinHandle<T>,
        thread: Thread,
    }

    impl<T> JoinHandle<T> {
        pub(crate) fn thread(&self) -> &Thread {
            &self.thread
        }

        pub(crate) fn join(self) -> std::thread::Result<T> {
            self.inner.join()
        }
    }

    #[derive(Default)]
    pub(crate) struct Builder(thread::Builder);

    impl Builder {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn name(self, name: String) -> Self {
            Self(self.0.name(name))
        }

        pub(crate) fn stack_size(self, _: usize) -> Self {
            self
        }

        pub(crate) fn spawn<T: Send + 'static>(
            self,
            run: impl FnOnce() -> T + Send + 'static,
        ) -> std::io::Result<JoinHandle<T>> {
            let sleep = Arc::new(Sleep::default());
            let its_own = Arc::clone(&sleep);
            let inner = self.0.spawn(move || {
                SLEEP.with(|sleep| drop(sleep.set(its_own)));
                run()
            })?;
            let thread = Thread { id: inner.thread().id(), sleep };
            Ok(JoinHandle { inner, thread })
        }
    }
}

pub(crate) mod time {
    use std::cell::Cell;
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};

    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

    std::thread_local! {
        // All threads of a check run on one OS thread, so they share this.
        static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    pub(crate) fn now() -> Instant {
        *BEGUN + PASSED.get()
    }

    pub(super) fn pass(duration: Duration) {
        PASSED.set(PASSED.get() + duration);
    }
}

/// A point at which the scheduler may switch to another thread.
#[derive(Debug, Default)]
struct Point(AtomicUsize);

impl Point {
    fn pass(&self) {
        self.0.load(Ordering::SeqCst);
    }
}

#[derive(Debug, Default)]
pub(crate) struct AtomicWaker(atomic_waker::AtomicWaker, Point);

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.1.pass();
        self.0.register(waker);
    }

    pub(crate) fn take(&self) -> Option<std::task::Waker> {
        self.1.pass();
        self.0.take()
    }

    pub(crate) fn wake(&self) {
        self.1.pass();
        self.0.wake();
    }
}

/// Spins once.
pub(crate) struct SpinThenPark(std::cell::Cell<bool>);

/// The same for callers.
pub(crate) struct Backoff(SpinThenPark);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(SpinThenPark::new())
    }

    pub(crate) fn is_completed(&self) -> bool {
        self.0.is_over()
    }

    pub(crate) fn snooze(&self) {
        self.0.wait();
    }
}

impl SpinThenPark {
    pub(crate) fn new() -> Self {
        Self(std::cell::Cell::new(false))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.get()
    }

    pub(crate) fn wait(&self) {
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

    /// A wait that may time out checks its condition each millisecond.
    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
        mut waits: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        let mut guard = guard;
        if limit >= FOR_EVER {
            // Unlike the standard library, the scheduler poisons a lock that is taken and released during a panic.
            while waits(&mut guard) {
                guard = self.0.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            return Ok(guard);
        }
        // The guard stays locked, because the waiting conditions do not depend on data under it.
        for _ in 0..limit.as_millis() {
            if !waits(&mut guard) {
                break;
            }
            time::pass(Duration::from_millis(1));
            thread::yield_now();
        }
        Ok(guard)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
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

    pub(crate) fn is_full(&self) -> bool {
        self.1.pass();
        self.0.is_full()
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
