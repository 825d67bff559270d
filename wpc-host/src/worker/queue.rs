//! A worker's queue: many threads push, its worker takes, and parks when the queue is empty.
//!
//! # Protocol
//!
//! * Once the queue is closed, a push fails and returns the item to the pushing thread. The items in the queue stay, and
//!   any thread can take them. A thread that abandons a worker closes its queue and then takes everything out, so no item
//!   remains.
//! * The worker sets `is_asleep` and then checks the queue again. A pushing thread pushes and then checks `is_asleep`. A
//!   full fence separates the two steps on both sides, so at least one side observes the other. Only the push that finds
//!   the worker asleep pays for the wake-up: of many pushes at once, the first.

use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::thread::Thread;
use crate::sync::{ConcurrentQueue, SpinThenPark, thread};
use crate::worker::suspended::TaskId;
use concurrent_queue::PopError;
use std::sync::OnceLock;

pub(crate) struct Queue<T> {
    /// Bounded by the slots of its worker, which are reserved before a push.
    items: ConcurrentQueue<T>,
    /// Suspended calls to resume, each at most a few times.
    woken: ConcurrentQueue<TaskId>,
    sleeper: OnceLock<Thread>,
    is_asleep: AtomicBool,
    /// Whether the worker should drop what it no longer needs, even if the queue is empty.
    needs_cleanup: AtomicBool,
}

/// Whether a worker with suspended calls takes those that were woken before new items. It alternates, so that neither waits
/// for all of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrefersWoken(pub(crate) bool);

/// What [`Queue::take`] returns.
pub(crate) enum Taken<T> {
    Item(T),
    /// A suspended call to resume.
    Woken(TaskId),
    /// The worker was asked to clean up, see [`Queue::request_cleanup`].
    CleanupRequest,
    /// The queue is empty and closed.
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "in-flight reservations bound it")]
        let (items, woken) = (ConcurrentQueue::unbounded(), ConcurrentQueue::unbounded());
        Self {
            items,
            woken,
            sleeper: OnceLock::new(),
            is_asleep: AtomicBool::new(false),
            needs_cleanup: AtomicBool::new(false),
        }
    }

    /// Adds an item; returns it if the queue is closed.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        self.items.push(item).map_err(concurrent_queue::PushError::into_inner)?;
        self.wake();
        Ok(())
    }

    /// Makes the worker resume a suspended call.
    pub(crate) fn wake_task(&self, task: TaskId) {
        // It is never closed.
        let _ = self.woken.push(task);
        self.wake();
    }

    /// Takes an item. Any thread may call this.
    pub(crate) fn pop(&self) -> Option<T> {
        self.items.pop().ok()
    }

    /// Whether the worker is parked or about to park. A worker that was just woken is not. The result may be outdated.
    pub(crate) fn is_asleep(&self) -> bool {
        self.is_asleep.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn close(&self) {
        self.items.close();
        self.wake();
    }

    /// Makes the worker drop what it no longer needs.
    pub(crate) fn request_cleanup(&self) {
        self.needs_cleanup.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether the worker was asked to clean up, for one without a thread, which never calls [`Self::take`].
    pub(crate) fn take_cleanup_request(&self) -> bool {
        self.needs_cleanup.load(Ordering::Relaxed)
            && self.needs_cleanup.swap(false, Ordering::SeqCst)
    }

    /// Takes an item, or parks until there is one. Only the queue's worker calls this. `before_sleep` runs before each
    /// park, `after_sleep` after each. A worker with suspended calls also takes those that were woken, before the next item if
    /// it `prefers_woken`; for it the queue never counts as closed.
    pub(crate) fn take(
        &self,
        suspended: Option<PrefersWoken>,
        before_sleep: impl Fn(),
        after_sleep: impl Fn(),
    ) -> Taken<T> {
        let _ = self.sleeper.get_or_init(thread::current);
        // Spins for about 20 microseconds, which costs less than parking and waking up when calls follow each other
        // quickly. It yields the core meanwhile.
        let mut spin = SpinThenPark::new();
        let has_suspended = suspended.is_some();
        loop {
            // Checked first, because the queue may never be empty under load.
            if self.take_cleanup_request() {
                return Taken::CleanupRequest;
            }
            if suspended == Some(PrefersWoken(true))
                && let Ok(task) = self.woken.pop()
            {
                return Taken::Woken(task);
            }
            match self.items.pop() {
                Ok(item) => return Taken::Item(item),
                Err(PopError::Closed) if !has_suspended => return Taken::Closed,
                Err(PopError::Closed | PopError::Empty) => {}
            }
            // Without suspended calls only before it parks: a waker may be used after its call has ended.
            if (has_suspended || spin.is_over())
                && let Ok(task) = self.woken.pop()
            {
                return Taken::Woken(task);
            }
            if !spin.is_over() {
                spin.wait();
                continue;
            }
            before_sleep();
            self.is_asleep.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if self.items.is_empty()
                && (has_suspended || !self.items.is_closed())
                && self.woken.is_empty()
                && !self.needs_cleanup.load(Ordering::SeqCst)
            {
                thread::park();
            }
            self.is_asleep.store(false, Ordering::SeqCst);
            after_sleep();
            spin = SpinThenPark::new();
        }
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed)
            && self.is_asleep.swap(false, Ordering::SeqCst)
            && let Some(sleeper) = self.sleeper.get()
        {
            sleeper.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_closed_queue_rejects_pushes_and_keeps_its_items() {
        let queue = Queue::new();
        assert!(queue.push(1).is_ok());
        queue.close();
        assert_eq!(queue.push(2), Err(2));
        assert!(matches!(queue.take(None, || {}, || {}), Taken::Item(1)));
        assert!(matches!(queue.take(None, || {}, || {}), Taken::Closed));
    }

    #[test]
    fn a_wake_up_of_a_call_that_has_ended_does_not_stay() {
        let queue = Queue::<()>::new();
        queue.wake_task(TaskId(1));
        assert!(matches!(queue.take(None, || {}, || {}), Taken::Woken(TaskId(1))));
        queue.close();
        assert!(matches!(queue.take(None, || {}, || {}), Taken::Closed));
    }

    #[test]
    fn every_push_reaches_the_worker_or_returns_its_item() {
        const EACH: usize = 2_000;
        let queue = Arc::new(Queue::new());
        let taken = {
            let queue = Arc::clone(&queue);
            #[expect(clippy::disallowed_methods, reason = "a test of racing threads")]
            std::thread::spawn(move || {
                let mut taken = 0;
                loop {
                    match queue.take(None, || {}, || {}) {
                        Taken::Item(()) => taken += 1,
                        Taken::CleanupRequest | Taken::Woken(_) => {}
                        Taken::Closed => return taken,
                    }
                }
            })
        };
        #[expect(clippy::disallowed_methods, reason = "a test of racing threads")]
        let pushers = [(); 3].map(|()| {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                (0..EACH)
                    .filter(|_| {
                        queue.request_cleanup();
                        queue.push(()).is_ok()
                    })
                    .count()
            })
        });
        let pushed: usize = pushers.into_iter().map(|pusher| pusher.join().unwrap()).sum();
        queue.close();
        assert_eq!(taken.join().unwrap(), pushed);
        assert_eq!(pushed, 3 * EACH);
    }
}
