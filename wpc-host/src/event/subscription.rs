//! Subscriptions: events that a thread or an async task takes one after another.
//!
//! # Protocol
//!
//! The thread that emits an event pushes a copy into the bounded queue of each subscription, and then takes and wakes the
//! waker. It never waits: if the queue is full, the event is dropped and counted. A subscriber that found the queue empty
//! registers its waker and then looks into the queue again, so it misses no event. When the pool is dropped, the queues are
//! closed in the same way. Events that are still in a queue can be taken afterwards.

use crate::event::{Events, WorkerEvent};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{AtomicWaker, ConcurrentQueue, thread, time};
use crate::system::offload::foreign;
use crate::system::thread_waker::with_thread_waker;
use concurrent_queue::{PopError, PushError};
use futures_core::Stream;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The maximum capacity. The slots are allocated at once; this many take about 300 MB.
const MAX_CAPACITY: usize = 1 << 20;

/// The part of a subscription that the threads which emit events use.
pub(super) struct Subscriber {
    queue: ConcurrentQueue<WorkerEvent>,
    waiter: AtomicWaker,
    lagged: AtomicU64,
}

impl Subscriber {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            queue: ConcurrentQueue::bounded(capacity.clamp(1, MAX_CAPACITY)),
            waiter: AtomicWaker::new(),
            lagged: AtomicU64::new(0),
        }
    }

    /// Queues a copy of the event, or counts it as dropped.
    pub(super) fn offer(&self, event: &WorkerEvent) {
        // The queue of a lagging subscriber is usually full, so nothing is copied for it.
        let is_dropped = self.queue.is_full()
            || matches!(self.queue.push(event.clone()), Err(PushError::Full(_)));
        if is_dropped {
            self.lagged.fetch_add(1, Ordering::Relaxed);
        } else {
            self.wake();
        }
    }

    pub(super) fn close(&self) {
        self.queue.close();
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waiter.take() {
            foreign(move || waker.wake());
        }
    }
}

/// A pool's events from the call of [`subscribe`](crate::WorkerProcedureCall::subscribe) on.
///
/// It is a [`Stream`] for async tasks. A thread waits for events with [`next_blocking`](Self::next_blocking), or iterates over
/// the subscription. The subscription does not keep the pool alive, and ends when the pool is dropped. Stopping the workers
/// does not end it.
///
/// The events that are not taken yet wait in a queue of bounded capacity. While it is full, new events are dropped and
/// counted by [`lagged`](Self::lagged): a slow subscriber delays neither calls nor other subscribers.
pub struct EventSubscription {
    subscriber: Arc<Subscriber>,
    events: Events,
}

impl std::fmt::Debug for EventSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventSubscription").field("lagged", &self.lagged()).finish_non_exhaustive()
    }
}

impl Drop for EventSubscription {
    fn drop(&mut self) {
        self.events.unsubscribe(&self.subscriber);
        // A thread that emits an event may be the last one to hold the subscriber.
        let waker = self.subscriber.waiter.take();
        foreign(move || drop(waker));
    }
}

impl EventSubscription {
    pub(super) fn new(subscriber: Arc<Subscriber>, events: Events) -> Self {
        Self { subscriber, events }
    }

    /// Waits for the next event; `None` if the subscription has ended.
    pub fn next_blocking(&mut self) -> Option<WorkerEvent> {
        self.wait(None)
    }

    /// Takes the next event without waiting; `None` if no event waits, or if the subscription has ended.
    pub fn try_next(&mut self) -> Option<WorkerEvent> {
        self.subscriber.queue.pop().ok()
    }

    /// Waits for the next event; `None` if none comes within `timeout`, or if the subscription has ended.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<WorkerEvent> {
        // A timeout that the clock cannot represent never passes.
        self.wait(time::now().checked_add(timeout))
    }

    /// Whether the pool was dropped and all events are taken.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.subscriber.queue.is_closed() && self.subscriber.queue.is_empty()
    }

    /// The number of events that were dropped since the subscription began, because its queue was full.
    #[must_use]
    pub fn lagged(&self) -> u64 {
        self.subscriber.lagged.load(Ordering::Relaxed)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Option<WorkerEvent> {
        loop {
            if let Poll::Ready(next) =
                with_thread_waker(|waker| self.poll(&mut Context::from_waker(waker)))
            {
                return next;
            }
            match deadline {
                None => thread::park(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(time::now());
                    if left.is_zero() {
                        return None;
                    }
                    thread::park_timeout(left);
                }
            }
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<WorkerEvent>> {
        let Subscriber { queue, waiter, .. } = &*self.subscriber;
        let mut next = queue.pop();
        if let Err(PopError::Empty) = next {
            waiter.register(context.waker());
            next = queue.pop();
        }
        match next {
            Ok(event) => Poll::Ready(Some(event)),
            Err(PopError::Closed) => Poll::Ready(None),
            Err(PopError::Empty) => Poll::Pending,
        }
    }
}

impl IntoIterator for EventSubscription {
    type Item = WorkerEvent;
    type IntoIter = EventIterator;

    fn into_iter(self) -> EventIterator {
        EventIterator(self)
    }
}

/// An iterator over the events of an [`EventSubscription`]. It blocks the thread until the next event.
#[derive(Debug)]
pub struct EventIterator(EventSubscription);

impl Iterator for EventIterator {
    type Item = WorkerEvent;

    fn next(&mut self) -> Option<WorkerEvent> {
        self.0.next_blocking()
    }
}

impl FusedIterator for EventIterator {}

impl Stream for EventSubscription {
    type Item = WorkerEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WorkerEvent>> {
        self.get_mut().poll(context)
    }
}
