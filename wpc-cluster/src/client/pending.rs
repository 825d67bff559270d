//! The attempts that wait for an answer.
//!
//! A slot is added by the task of its call, before the message is sent. It is removed once: by the last answer, by the loss of its
//! node, at the end of its time, or by its guard, when the call no longer waits. A guard that removes its slot has the call cancelled
//! on the node.
//!
//! No timer is started for a call: the task that watches the nodes ends the calls whose time is over.

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
    /// There was no answer in time.
    Expired,
}

#[derive(Debug)]
struct Slot {
    node: NodeName,
    since: Instant,
    /// `None` for a stream, whose reader has a timer.
    until: Option<Instant>,
    events: Events,
}

#[derive(Debug)]
enum Events {
    /// Of a call with one answer.
    One(oneshot::Sender<Event>),
    /// Of a stream.
    Many(mpsc::Sender<Event>),
}

impl Slot {
    fn end(self, event: Event) {
        match self.events {
            // A reader that is gone needs no answer. A channel that is full has an item too many.
            Events::Many(events) => drop(events.try_send(event)),
            Events::One(events) => drop(events.send(event)),
        }
    }
}

/// The attempts that wait for an answer, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    slots: Mutex<Slots>,
    next: AtomicU64,
}

/// The slots, until the client's runtime has stopped: then no answer can arrive.
#[derive(Debug)]
enum Slots {
    Open(HashMap<u64, Slot>),
    Closed,
}

impl Default for Slots {
    fn default() -> Self {
        Self::Open(HashMap::new())
    }
}

impl Slots {
    /// Without a runtime nothing waits: an attempt that is added then ends at once.
    fn insert(&mut self, attempt: u64, slot: Slot) {
        if let Self::Open(slots) = self {
            slots.insert(attempt, slot);
        }
    }

    fn remove(&mut self, attempt: u64) -> Option<Slot> {
        match self {
            Self::Open(slots) => slots.remove(&attempt),
            Self::Closed => None,
        }
    }

    fn get(&self, attempt: u64) -> Option<&Slot> {
        match self {
            Self::Open(slots) => slots.get(&attempt),
            Self::Closed => None,
        }
    }

    /// The attempts for which `which` holds, in the order in which they were sent, so that simulations can be replayed.
    fn find(&self, which: impl Fn(&Slot) -> bool) -> Vec<u64> {
        let Self::Open(slots) = self else { return Vec::new() };
        let found = slots.iter().filter(|(_, slot)| which(slot));
        let mut found: Vec<_> = found.map(|(attempt, _)| *attempt).collect();
        found.sort_unstable();
        found
    }
}

impl Pending {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, node: NodeName, until: Option<Instant>, events: Events) -> u64 {
        let attempt = self.next.fetch_add(1, Ordering::Relaxed);
        self.slots().insert(attempt, Slot { node, since: now(), until, events });
        attempt
    }

    /// An attempt with one answer, which waits until this time.
    pub(crate) fn add_one(
        &self,
        node: NodeName,
        until: Instant,
    ) -> (u64, oneshot::Receiver<Event>) {
        let (sender, receiver) = oneshot::channel();
        (self.add(node, Some(until), Events::One(sender)), receiver)
    }

    /// An attempt whose items are read. At most `items` may be on their way.
    pub(crate) fn add_many(&self, node: NodeName, items: usize) -> (u64, mpsc::Receiver<Event>) {
        // One more for the answer.
        let (sender, receiver) = mpsc::channel(items + 1);
        (self.add(node, None, Events::Many(sender)), receiver)
    }

    /// Removes an attempt. Returns the node on which it may still run.
    pub(crate) fn remove(&self, attempt: u64) -> Option<NodeName> {
        self.slots().remove(attempt).map(|slot| slot.node)
    }

    /// Passes an event to an attempt. One that is unknown has ended before.
    pub(crate) fn deliver(&self, attempt: u64, event: Event) {
        let mut slots = self.slots();
        let Some(slot) = slots.get(attempt) else { return };
        let is_item = matches!(event, Event::Frame(Frame::Item(_), _));
        match &slot.events {
            Events::Many(events) if is_item => {
                if events.try_send(event).is_err() {
                    // The node sends more than it may, or the reader is gone.
                    slots.remove(attempt);
                }
            }
            Events::Many(_) | Events::One(_) => {
                let slot = slots.remove(attempt);
                drop(slots);
                if let Some(slot) = slot {
                    slot.end(event);
                }
            }
        }
    }

    /// Ends the attempts on a node that is lost.
    pub(crate) fn lose(&self, node: &NodeName, reason: &str) {
        let reason: Arc<str> = reason.into();
        self.end(|slot| slot.node == *node, || Event::NodeLost(Arc::clone(&reason)));
    }

    /// Ends the attempts on a node to which the server does not permit messages.
    pub(crate) fn deny(&self, node: &NodeName, reason: &Arc<str>) {
        self.end(|slot| slot.node == *node, || Event::Denied(Arc::clone(reason)));
    }

    /// Ends the attempts whose time is over. Returns on which nodes they may still run.
    pub(crate) fn expire(&self, now: Instant) -> Vec<(NodeName, u64)> {
        self.end(|slot| slot.until.is_some_and(|until| until <= now), || Event::Expired)
    }

    /// Ends all attempts, also those to come, because the client's runtime has stopped.
    pub(crate) fn close(&self) {
        let slots = std::mem::replace(&mut *self.slots(), Slots::Closed);
        // Outside of the lock: the tasks that wait are woken.
        drop(slots);
    }

    fn end(
        &self,
        which: impl Fn(&Slot) -> bool,
        event: impl Fn() -> Event,
    ) -> Vec<(NodeName, u64)> {
        let mut slots = self.slots();
        let ended = slots.find(which).into_iter();
        let ended: Vec<_> =
            ended.filter_map(|attempt| slots.remove(attempt).map(|slot| (attempt, slot))).collect();
        drop(slots);
        let end = |(attempt, slot): (u64, Slot)| {
            let node = slot.node.clone();
            slot.end(event());
            (node, attempt)
        };
        ended.into_iter().map(end).collect()
    }

    /// The attempts that wait since this time or longer, by node.
    pub(crate) fn waiting_since(&self, since: Instant) -> BTreeMap<NodeName, Vec<u64>> {
        let slots = self.slots();
        let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for attempt in slots.find(|slot| slot.since <= since) {
            if let Some(slot) = slots.get(attempt) {
                nodes.entry(slot.node.clone()).or_default().push(attempt);
            }
        }
        nodes
    }

    /// A number for a call, which no attempt has.
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of attempts that wait.
    pub(crate) fn len(&self) -> usize {
        match &*self.slots() {
            Slots::Open(slots) => slots.len(),
            Slots::Closed => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    #[test]
    fn an_attempt_gets_its_last_event_once() {
        let pending = Pending::default();
        let (attempt, mut events) = pending.add_one(node("a"), now());
        pending.deliver(attempt + 1, Event::Absent);
        pending.deliver(attempt, Event::Absent);
        pending.deliver(attempt, Event::Frame(Frame::Lost, Bytes::new()));
        assert!(matches!(events.try_recv(), Ok(Event::Absent)));
        assert_eq!((pending.len(), pending.remove(attempt)), (0, None));
    }

    #[test]
    fn the_loss_of_a_node_ends_its_attempts_only() {
        let pending = Pending::default();
        let (_, mut lost) = pending.add_one(node("a"), now());
        let (other, mut kept) = pending.add_one(node("b"), now());
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

    #[test]
    fn attempts_end_with_their_time() {
        let (pending, now) = (Pending::default(), now());
        let (early, mut expired) = pending.add_one(node("a"), now);
        let (late, mut kept) = pending.add_one(node("a"), now + Duration::from_millis(1));
        let (stream, _events) = pending.add_many(node("a"), 1);
        assert_eq!(pending.expire(now), [(node("a"), early)]);
        assert!(matches!(expired.try_recv(), Ok(Event::Expired)));
        assert!(matches!(kept.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        assert_eq!(pending.remove(late), Some(node("a")));
        assert_eq!(pending.remove(stream), Some(node("a")), "its reader has a timer");
    }

    #[test]
    fn nothing_waits_after_the_runtime_has_stopped() {
        let pending = Pending::default();
        let (_, mut before) = pending.add_one(node("a"), now());
        pending.close();
        let (_, mut after) = pending.add_one(node("a"), now());
        for events in [&mut before, &mut after] {
            assert!(matches!(events.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        }
        assert_eq!(pending.len(), 0);
    }
}
