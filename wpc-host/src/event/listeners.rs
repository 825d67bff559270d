//! The sink for a pool's events: passes them to subscriptions, and to the listeners on one thread.

use crate::error::Error;
use crate::event::subscription::{EventSubscription, Subscriber};
use crate::event::{Draft, EventDetails, EventSource, WorkerEvent};
use crate::id::{Counter, ListenerId};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::mpsc::{Receiver, sync_channel};
use crate::sync::thread::Thread;
use crate::sync::{ArcSwap, ConcurrentQueue, Mutex, thread};
use crate::system::contain::contain;
use crate::system::offload::foreign;
use crate::system::os_limits;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

/// How long closing a pool waits for listeners to receive the remaining events. If a listener blocks longer, its thread is
/// abandoned.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

type Listen = dyn Fn(&WorkerEvent) + Send + Sync;

/// A listener of the embedder.
///
/// Dropping the closure runs code of the embedder, so it happens where such code may run: any thread that emits an event may
/// be the last one to hold a list of listeners.
struct Listener {
    id: ListenerId,
    /// Taken when it is dropped.
    listen: Option<Box<Listen>>,
    active: AtomicBool,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let listen = self.listen.take();
        foreign(move || drop(listen));
    }
}

/// The sink for a pool's events; cheap to clone.
#[derive(Clone)]
pub(crate) struct Events(Arc<Shared>);

struct Shared {
    listeners: ArcSwap<Vec<Arc<Listener>>>,
    subscribers: ArcSwap<Vec<Arc<Subscriber>>>,
    queue: ConcurrentQueue<WorkerEvent>,
    dropped: AtomicU64,
    event_ids: Counter,
    listener_ids: Counter,
    delivery: Mutex<Option<Delivery>>,
    /// The delivery thread, so that emitting wakes it without the lock.
    delivery_thread: std::sync::OnceLock<Thread>,
}

struct Delivery {
    thread: Thread,
    ended: Receiver<()>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("listeners", &self.0.listeners.load().len())
            .field("subscribers", &self.0.subscribers.load().len())
            .finish()
    }
}

impl Events {
    pub(crate) fn new(max_waiting: usize) -> Self {
        Self(Arc::new(Shared {
            listeners: ArcSwap::default(),
            subscribers: ArcSwap::default(),
            queue: ConcurrentQueue::bounded(max_waiting),
            dropped: AtomicU64::new(0),
            event_ids: Counter::default(),
            listener_ids: Counter::default(),
            delivery: Mutex::new(None),
            delivery_thread: std::sync::OnceLock::new(),
        }))
    }

    pub(crate) fn add_listener(&self, listen: Box<Listen>) -> Result<ListenerId, Error> {
        let mut delivery = self.0.delivery.lock().unwrap_or_else(PoisonError::into_inner);
        if delivery.is_none() {
            let shared = Arc::clone(&self.0);
            let (ends, ended) = sync_channel(1);
            let what = "the listeners' thread";
            let handle = os_limits::start_thread(what, os_limits::USUAL_STACK, || {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the one thread that calls listeners"
                )]
                thread::Builder::new().name("wpc-events".to_owned()).spawn(move || {
                    shared.run();
                    let _ = ends.send(());
                })
            })?;
            let thread = handle.thread().clone();
            let _ = self.0.delivery_thread.set(thread.clone());
            *delivery = Some(Delivery { thread, ended });
        }
        let id = ListenerId(self.0.listener_ids.next());
        let (listen, active) = (Some(listen), AtomicBool::new(true));
        let listener = Arc::new(Listener { id, listen, active });
        self.0.listeners.rcu(|listeners| {
            let mut listeners = Vec::clone(listeners);
            listeners.push(Arc::clone(&listener));
            listeners
        });
        Ok(id)
    }

    pub(crate) fn remove_listener(&self, id: ListenerId) -> bool {
        let before = self.0.listeners.rcu(|listeners| {
            listeners.iter().filter(|listener| listener.id != id).cloned().collect::<Vec<_>>()
        });
        match before.iter().find(|listener| listener.id == id) {
            Some(listener) => {
                listener.active.store(false, Ordering::SeqCst);
                true
            }
            None => false,
        }
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> EventSubscription {
        let subscriber = Arc::new(Subscriber::new(capacity));
        self.0.subscribers.rcu(|subscribers| {
            let mut subscribers = Vec::clone(subscribers);
            subscribers.push(Arc::clone(&subscriber));
            subscribers
        });
        EventSubscription::new(subscriber, self.clone())
    }

    pub(super) fn unsubscribe(&self, subscriber: &Arc<Subscriber>) {
        self.0.subscribers.rcu(|subscribers| {
            let others = subscribers.iter().filter(|other| !Arc::ptr_eq(other, subscriber));
            others.cloned().collect::<Vec<_>>()
        });
    }

    pub(crate) fn emit(&self, draft: Draft) {
        draft.trace();
        let Draft { source, worker, call, error, severity, details } = draft;
        let has_listeners = !self.0.listeners.load().is_empty();
        let subscribers = self.0.subscribers.load();
        if !has_listeners && subscribers.is_empty() {
            return;
        }
        let event = WorkerEvent {
            event_id: self.0.event_ids.next(),
            worker_id: worker,
            source,
            severity,
            timestamp: SystemTime::now(),
            correlation_id: call,
            error,
            details,
        };
        subscribers.iter().for_each(|subscriber| subscriber.offer(&event));
        if !has_listeners {
            return;
        }
        if self.0.queue.push(event).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(thread) = self.0.delivery_thread.get() {
            thread.unpark();
        }
    }

    /// Ends the subscriptions, and lets the thread deliver the remaining events and end. Waits for it up to
    /// [`CLOSE_TIMEOUT`], unless the caller is that thread.
    pub(crate) fn close(&self) {
        for subscriber in self.0.subscribers.load().iter() {
            subscriber.close();
        }
        self.0.queue.close();
        let delivery = self.0.delivery.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Delivery { thread, ended }) = delivery else { return };
        thread.unpark();
        if thread.id() != thread::current().id() {
            // A message, a disconnection and a timeout all end the wait.
            let _ = ended.recv_timeout(CLOSE_TIMEOUT);
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            match self.queue.pop() {
                Ok(event) => self.deliver_to_all(&event),
                Err(concurrent_queue::PopError::Empty) => thread::park(),
                Err(concurrent_queue::PopError::Closed) => return,
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                self.deliver_own(EventDetails::EventsDropped { count: dropped });
            }
        }
    }

    /// Delivers an event of this thread at once, because it could be dropped from a full queue.
    fn deliver_own(&self, details: EventDetails) {
        let draft = Draft::by(EventSource::Parent, details);
        draft.trace();
        let event = WorkerEvent {
            event_id: self.event_ids.next(),
            worker_id: None,
            source: draft.source,
            severity: draft.severity,
            timestamp: SystemTime::now(),
            correlation_id: None,
            error: None,
            details: draft.details,
        };
        self.subscribers.load().iter().for_each(|subscriber| subscriber.offer(&event));
        self.deliver_to_all(&event);
    }

    fn deliver_to_all(&self, event: &WorkerEvent) {
        let listeners = self.listeners.load_full();
        for listener in listeners.iter() {
            if !listener.active.load(Ordering::SeqCst) {
                continue;
            }
            let outcome = contain(|| listener.listen.iter().for_each(|listen| listen(event)));
            let about_panics = matches!(event.details, EventDetails::ListenerPanicked { .. });
            if outcome.is_err() && !about_panics {
                self.deliver_own(EventDetails::ListenerPanicked { listener_id: listener.id });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::observer::Observer;
    use crate::system::offload::Offload;
    use std::sync::mpsc::SyncSender;
    use std::task::{Context, Wake, Waker};

    /// Sends the thread that drops it.
    struct Dropped(SyncSender<std::thread::ThreadId>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(std::thread::current().id()).unwrap();
        }
    }

    impl Wake for Dropped {
        fn wake(self: Arc<Self>) {}
    }

    /// Whether the value that `make` returns drops its argument on another thread when a time-critical thread drops the value.
    #[expect(clippy::disallowed_methods, reason = "a test that needs a thread of its own")]
    fn is_dropped_elsewhere<T: Send + 'static>(make: impl FnOnce(Dropped) -> T) -> bool {
        let (send, dropped) = sync_channel(1);
        let made = make(Dropped(send));
        let thread = std::thread::spawn(move || {
            Offload::default().adopt();
            drop(made);
        });
        let time_critical = thread.thread().id();
        thread.join().unwrap();
        dropped.recv().unwrap() != time_critical
    }

    #[test]
    fn a_time_critical_thread_drops_no_code_of_the_embedder() {
        assert!(is_dropped_elsewhere(|dropped| {
            let events = Events::new(1);
            events
                .add_listener(Box::new(move |_| {
                    let _ = &dropped;
                }))
                .unwrap();
            events.close();
            events
        }));
        assert!(is_dropped_elsewhere(|dropped| {
            let observer = Observer::default();
            observer.set(Some(Box::new(move |_| {
                let _ = &dropped;
            })));
            observer
        }));
    }

    #[test]
    fn a_dropped_subscription_drops_its_waker() {
        let (send, dropped) = sync_channel(1);
        let events = Events::new(1);
        let mut subscription = events.subscribe(1);
        // Another thread may hold a list of subscribers at that moment, and drop it later.
        let subscribers = events.0.subscribers.load_full();
        let waker = Waker::from(Arc::new(Dropped(send)));
        assert!(subscription.poll(&mut Context::from_waker(&waker)).is_pending());
        drop((waker, subscription));
        assert_eq!(dropped.try_recv(), Ok(std::thread::current().id()));
        drop(subscribers);
    }
}
