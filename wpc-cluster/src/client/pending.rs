//! The attempts that wait for an answer.
//!
//! A slot is added by the task of its call, before the message is sent. It is removed once: by the last answer, by the loss of its
//! node, or by its guard, when the call no longer waits. A guard that removes its slot has the call cancelled on the node.

use super::now;
use crate::names::NodeName;
use crate::wire::Frame;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// What happens to an attempt.
#[derive(Debug)]
pub(crate) enum Event {
    /// Its node answered.
    Frame(Frame, Bytes),
    /// The node no longer subscribes to its subject.
    Absent,
    /// Its node is lost.
    NodeLost(Arc<str>),
    /// The server did not permit the message.
    Denied(Arc<str>),
}

#[derive(Debug)]
struct Slot {
    node: NodeName,
    since: Instant,
    events: Events,
}

#[derive(Debug)]
enum Events {
    /// Of a call with one answer.
    One(oneshot::Sender<Event>),
    /// Of a stream.
    Many(mpsc::Sender<Event>),
}

/// The attempts that wait for an answer, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    slots: Mutex<HashMap<u64, Slot>>,
    next: AtomicU64,
}

impl Pending {
    fn slots(&self) -> MutexGuard<'_, HashMap<u64, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, node: NodeName, events: Events) -> u64 {
        let attempt = self.next.fetch_add(1, Ordering::Relaxed);
        self.slots().insert(attempt, Slot { node, since: now(), events });
        attempt
    }

    /// An attempt with one answer.
    pub(crate) fn add_one(&self, node: NodeName) -> (u64, oneshot::Receiver<Event>) {
        let (sender, receiver) = oneshot::channel();
        (self.add(node, Events::One(sender)), receiver)
    }

    /// An attempt whose items are read. At most `items` may be on their way.
    pub(crate) fn add_many(&self, node: NodeName, items: usize) -> (u64, mpsc::Receiver<Event>) {
        // One more for the answer.
        let (sender, receiver) = mpsc::channel(items + 1);
        (self.add(node, Events::Many(sender)), receiver)
    }

    /// Removes an attempt. Returns the node on which it may still run.
    pub(crate) fn remove(&self, attempt: u64) -> Option<NodeName> {
        self.slots().remove(&attempt).map(|slot| slot.node)
    }

    /// Passes an event to an attempt. One that is unknown has ended before.
    pub(crate) fn deliver(&self, attempt: u64, event: Event) {
        let mut slots = self.slots();
        let Some(slot) = slots.get(&attempt) else { return };
        let is_item = matches!(event, Event::Frame(Frame::Item(_), _));
        match &slot.events {
            Events::Many(events) if is_item => {
                if events.try_send(event).is_err() {
                    // The node sends more than it may, or the reader is gone.
                    slots.remove(&attempt);
                }
            }
            Events::Many(_) | Events::One(_) => {
                let slot = slots.remove(&attempt);
                drop(slots);
                match slot.map(|slot| slot.events) {
                    // A reader that is gone needs no answer. A channel that is full has an item too many.
                    Some(Events::Many(events)) => drop(events.try_send(event)),
                    Some(Events::One(events)) => drop(events.send(event)),
                    None => {}
                }
            }
        }
    }

    /// Ends the attempts on a node that is lost.
    pub(crate) fn lose(&self, node: &NodeName, reason: &str) {
        let reason: Arc<str> = reason.into();
        self.end(node, || Event::NodeLost(Arc::clone(&reason)));
    }

    /// Ends the attempts on a node to which the server does not permit messages.
    pub(crate) fn deny(&self, node: &NodeName, reason: &Arc<str>) {
        self.end(node, || Event::Denied(Arc::clone(reason)));
    }

    fn end(&self, node: &NodeName, event: impl Fn() -> Event) {
        let mut slots = self.slots();
        let lost = slots.iter().filter(|(_, slot)| slot.node == *node);
        let mut lost: Vec<_> = lost.map(|(attempt, _)| *attempt).collect();
        // In the order in which they were sent, so that simulations can be replayed.
        lost.sort_unstable();
        let lost: Vec<_> = lost.iter().filter_map(|attempt| slots.remove(attempt)).collect();
        drop(slots);
        for slot in lost {
            match slot.events {
                Events::One(events) => drop(events.send(event())),
                Events::Many(events) => drop(events.try_send(event())),
            }
        }
    }

    /// The attempts that wait since this time or longer, by node.
    pub(crate) fn waiting_since(&self, since: Instant) -> BTreeMap<NodeName, Vec<u64>> {
        let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (attempt, slot) in self.slots().iter().filter(|(_, slot)| slot.since <= since) {
            nodes.entry(slot.node.clone()).or_default().push(*attempt);
        }
        nodes.values_mut().for_each(|attempts| attempts.sort_unstable());
        nodes
    }

    /// A number for a call, which no attempt has.
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of attempts that wait.
    pub(crate) fn len(&self) -> usize {
        self.slots().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    #[test]
    fn an_attempt_gets_its_last_event_once() {
        let pending = Pending::default();
        let (attempt, mut events) = pending.add_one(node("a"));
        pending.deliver(attempt + 1, Event::Absent);
        pending.deliver(attempt, Event::Absent);
        pending.deliver(attempt, Event::Frame(Frame::Lost, Bytes::new()));
        assert!(matches!(events.try_recv(), Ok(Event::Absent)));
        assert_eq!((pending.len(), pending.remove(attempt)), (0, None));
    }

    #[test]
    fn the_loss_of_a_node_ends_its_attempts_only() {
        let pending = Pending::default();
        let (_, mut lost) = pending.add_one(node("a"));
        let (other, mut kept) = pending.add_one(node("b"));
        pending.lose(&node("a"), "it is gone");
        assert!(matches!(lost.try_recv(), Ok(Event::NodeLost(_))));
        assert!(kept.try_recv().is_err());
        assert_eq!(pending.remove(other), Some(node("b")));
    }

    #[test]
    fn a_node_that_sends_more_items_than_it_may_loses_its_stream() {
        let pending = Pending::default();
        let (attempt, mut events) = pending.add_many(node("a"), 2);
        for item in 0..10 {
            pending.deliver(attempt, Event::Frame(Frame::Item(item), Bytes::new()));
        }
        assert_eq!(pending.len(), 0);
        let mut received = 0;
        while events.try_recv().is_ok() {
            received += 1;
        }
        assert_eq!(received, 3);
        assert!(matches!(events.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
    }
}
