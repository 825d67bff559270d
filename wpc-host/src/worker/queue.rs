//! A worker's queue: many push, its worker takes and sleeps when there is nothing.
//!
//! # Protocol
//!
//! * Once the queue is closed no push succeeds, and the item comes back to who pushed it; what is
//!   in it stays and can be taken by anybody. So whoever gives a worker up closes its queue, takes
//!   everything out, and can be sure that nothing is left behind.
//! * The worker announces its sleep and then looks once more; whoever pushes does so and then looks
//!   for a sleeper. With a full fence between the two steps on either side, one of them sees the
//!   other. A wake-up is paid only by the push that finds the worker asleep: of many pushes at once
//!   only the first.

use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::thread::Thread;
use crate::sync::{ConcurrentQueue, SpinThenPark, thread};
use concurrent_queue::PopError;
use std::sync::OnceLock;

pub(crate) struct Queue<T> {
    /// Bounded by what its worker may have in flight, which is reserved before a push.
    items: ConcurrentQueue<T>,
    sleeper: OnceLock<Thread>,
    is_asleep: AtomicBool,
    /// Somebody wants the worker to look around although there may be nothing to take.
    is_nudged: AtomicBool,
}

/// What a worker finds.
pub(crate) enum Taken<T> {
    Item(T),
    /// Somebody wants it to look around.
    Nudge,
    /// Nothing, and nothing will come.
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "in-flight reservations bound it")]
        let items = ConcurrentQueue::unbounded();
        Self {
            items,
            sleeper: OnceLock::new(),
            is_asleep: AtomicBool::new(false),
            is_nudged: AtomicBool::new(false),
        }
    }

    /// Adds an item; gives it back when the queue is closed.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        self.items.push(item).map_err(concurrent_queue::PushError::into_inner)?;
        self.wake();
        Ok(())
    }

    /// Takes an item, whoever asks.
    pub(crate) fn pop(&self) -> Option<T> {
        self.items.pop().ok()
    }

    /// Whether the worker sleeps, or is about to; one just woken does no more. It may have changed meanwhile.
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

    /// Makes the worker look around.
    pub(crate) fn nudge(&self) {
        self.is_nudged.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether somebody wants the worker to look around, for one that never sleeps here.
    pub(crate) fn take_nudge(&self) -> bool {
        self.is_nudged.load(Ordering::Relaxed) && self.is_nudged.swap(false, Ordering::SeqCst)
    }

    /// Only the queue's worker calls this. `before_sleep` runs each time before it sleeps,
    /// `after_sleep` each time after.
    pub(crate) fn take(&self, before_sleep: impl Fn(), after_sleep: impl Fn()) -> Taken<T> {
        let _ = self.sleeper.get_or_init(thread::current);
        // Some twenty microseconds of looking again, which in quick succession of calls cost less than a
        // sleep and a wake-up; it yields the core meanwhile, and ends.
        let mut spin = SpinThenPark::new();
        loop {
            // Looked at first: under load the queue may never be empty.
            if self.take_nudge() {
                return Taken::Nudge;
            }
            match self.items.pop() {
                Ok(item) => return Taken::Item(item),
                Err(PopError::Closed) => return Taken::Closed,
                Err(PopError::Empty) => {}
            }
            if !spin.is_over() {
                spin.wait();
                continue;
            }
            before_sleep();
            self.is_asleep.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if self.items.is_empty()
                && !self.items.is_closed()
                && !self.is_nudged.load(Ordering::SeqCst)
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
    fn a_closed_queue_gives_pushes_back_and_keeps_what_it_has() {
        let queue = Queue::new();
        assert!(queue.push(1).is_ok());
        queue.close();
        assert_eq!(queue.push(2), Err(2));
        assert!(matches!(queue.take(|| {}, || {}), Taken::Item(1)));
        assert!(matches!(queue.take(|| {}, || {}), Taken::Closed));
    }

    #[test]
    fn every_item_reaches_the_sleeping_worker_or_comes_back() {
        const EACH: usize = 2_000;
        let queue = Arc::new(Queue::new());
        let taken = {
            let queue = Arc::clone(&queue);
            #[expect(clippy::disallowed_methods, reason = "a test of racing threads")]
            std::thread::spawn(move || {
                let mut taken = 0;
                loop {
                    match queue.take(|| {}, || {}) {
                        Taken::Item(()) => taken += 1,
                        Taken::Nudge => {}
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
                        queue.nudge();
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
