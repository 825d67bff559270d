//! The attempts that wait for an answer.
//!
//! A slot is added by the task of its call, before the message is sent. It is removed once: by the last answer, by the loss of its
//! node, or by its guard, when the call no longer waits. A guard that removes its slot also cancels the call on the node.
//! The fuel of a metered call can be reported later than that.

use super::now;
use crate::names::NodeName;
use crate::wire::Frame;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use wpc_host::FuelReport;

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
    /// Set if the call is metered.
    fuel: Option<FuelReport>,
}

/// The slots, until the client's runtime has stopped: then no answer can arrive.
#[derive(Debug)]
enum Slots {
    Open(HashMap<u64, Slot>),
    Closed,
}

#[derive(Debug)]
enum Events {
    /// Of a call with one answer.
    One(oneshot::Sender<Event>),
    /// Of a stream.
    Many(mpsc::Sender<Event>),
}

impl Default for Slots {
    fn default() -> Self {
        Self::Open(HashMap::new())
    }
}

impl Slots {
    /// After the runtime has stopped, nothing is inserted: a new attempt ends immediately.
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

    /// The attempts for which `which` holds and their nodes, in the order in which they were sent, so that simulations can be replayed.
    fn find(&self, which: impl Fn(&Slot) -> bool) -> Vec<(u64, NodeName)> {
        let Self::Open(slots) = self else { return Vec::new() };
        let found = slots.iter().filter(|(_, slot)| which(slot));
        let mut found: Vec<_> =
            found.map(|(attempt, slot)| (*attempt, slot.node.clone())).collect();
        found.sort_unstable_by_key(|(attempt, _)| *attempt);
        found
    }
}

/// The attempts that wait for an answer, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    slots: Mutex<Slots>,
    /// Attempts that have ended and whose fuel was not reported, in their order.
    unreported: Mutex<VecDeque<Unreported>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Unreported {
    attempt: u64,
    fuel: FuelReport,
    since: Instant,
}

/// How long, and for how many ended attempts, the client waits for their fuel.
const FUEL_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_UNREPORTED: usize = 1024;

impl Pending {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, node: NodeName, fuel: Option<FuelReport>, events: Events) -> u64 {
        let attempt = self.next.fetch_add(1, Ordering::Relaxed);
        self.slots().insert(attempt, Slot { node, since: now(), events, fuel });
        attempt
    }

    fn unreported(&self) -> MutexGuard<'_, VecDeque<Unreported>> {
        self.unreported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the fuel of an attempt that has ended.
    fn expect_fuel(&self, attempt: u64, fuel: Option<FuelReport>) {
        let Some(fuel) = fuel else { return };
        let (mut unreported, since) = (self.unreported(), now());
        let is_old =
            |oldest: &Unreported| since.saturating_duration_since(oldest.since) > FUEL_TIMEOUT;
        while unreported.len() >= MAX_UNREPORTED || unreported.front().is_some_and(is_old) {
            unreported.pop_front();
        }
        unreported.push_back(Unreported { attempt, fuel, since });
    }

    /// Takes the fuel of an attempt that has ended.
    fn report_fuel(&self, attempt: u64, event: &Event) {
        let Event::Frame(frame, _) = event else { return };
        let Some(used) = frame.fuel_used() else { return };
        let mut unreported = self.unreported();
        let at = unreported.iter().position(|waiting| waiting.attempt == attempt);
        if let Some(waiting) = at.and_then(|at| unreported.remove(at)) {
            waiting.fuel.set(used);
        }
    }

    /// An attempt with one answer.
    pub(crate) fn add_one(
        &self,
        node: NodeName,
        fuel: Option<FuelReport>,
    ) -> (u64, oneshot::Receiver<Event>) {
        let (sender, receiver) = oneshot::channel();
        (self.add(node, fuel, Events::One(sender)), receiver)
    }

    /// An attempt whose items are read. At most `items` may be in flight.
    pub(crate) fn add_many(
        &self,
        node: NodeName,
        items: usize,
        fuel: Option<FuelReport>,
    ) -> (u64, mpsc::Receiver<Event>) {
        // One more for the answer.
        let (sender, receiver) = mpsc::channel(items + 1);
        (self.add(node, fuel, Events::Many(sender)), receiver)
    }

    /// Removes an attempt. Returns the node on which it may still run.
    pub(crate) fn remove(&self, attempt: u64) -> Option<NodeName> {
        let mut slots = self.slots();
        let slot = slots.remove(attempt)?;
        // Under the lock, so that a report finds either the slot or this.
        self.expect_fuel(attempt, slot.fuel);
        Some(slot.node)
    }

    /// Passes an event to an attempt. An event for an unknown attempt is dropped, except for the fuel that it reports: the attempt has
    /// already ended.
    pub(crate) fn deliver(&self, attempt: u64, event: Event) {
        let mut slots = self.slots();
        let Some(slot) = slots.get(attempt) else {
            drop(slots);
            return self.report_fuel(attempt, &event);
        };
        let is_item = matches!(event, Event::Frame(Frame::Item(_), _));
        match &slot.events {
            Events::Many(events) if is_item => {
                if events.try_send(event).is_err() {
                    // The node sends more than it may, or the reader is gone.
                    slots.remove(attempt);
                }
            }
            Events::Many(_) | Events::One(_) => {
                let Some(Slot { events, fuel, .. }) = slots.remove(attempt) else { return };
                self.end_fuel(attempt, fuel, &event);
                drop(slots);
                match events {
                    // A reader that is gone needs no answer. A channel is full only if the node has sent too many items.
                    Events::Many(events) => drop(events.try_send(event)),
                    Events::One(events) => drop(events.send(event)),
                }
            }
        }
    }

    /// Takes the fuel that the last event of an attempt has, or waits for it.
    fn end_fuel(&self, attempt: u64, fuel: Option<FuelReport>, event: &Event) {
        let Some(fuel) = fuel else { return };
        match event {
            Event::Frame(frame, _) => match (frame.fuel_used(), frame) {
                (Some(used), _) => fuel.set(used),
                (None, Frame::Failed { .. }) => self.expect_fuel(attempt, Some(fuel)),
                _ => {}
            },
            Event::Absent | Event::NodeLost(_) | Event::Denied(_) => {}
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
        let lost = slots.find(|slot| slot.node == *node).into_iter();
        let lost = lost.filter_map(|(attempt, _)| Some((attempt, slots.remove(attempt)?)));
        let lost: Vec<_> = lost.collect();
        for (attempt, slot) in &lost {
            // The node may only be unreachable, and report it later.
            self.expect_fuel(*attempt, slot.fuel.clone());
        }
        drop(slots);
        for (_, slot) in lost {
            match slot.events {
                Events::One(events) => drop(events.send(event())),
                Events::Many(events) => drop(events.try_send(event())),
            }
        }
    }

    /// Ends all attempts, including future ones, because the client's runtime has stopped.
    pub(crate) fn close(&self) {
        let slots = std::mem::replace(&mut *self.slots(), Slots::Closed);
        // Outside of the lock: the tasks that wait are woken.
        drop(slots);
    }

    /// The attempts that wait since this time or longer, by node.
    pub(crate) fn waiting_since(&self, since: Instant) -> BTreeMap<NodeName, Vec<u64>> {
        let mut nodes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (attempt, node) in self.slots().find(|slot| slot.since <= since) {
            nodes.entry(node).or_default().push(attempt);
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
    use wpc_host::{CallOutcome, ErrorCode, ErrorReport};

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    #[test]
    fn an_attempt_gets_its_last_event_once() {
        let pending = Pending::default();
        let (attempt, mut events) = pending.add_one(node("a"), None);
        pending.deliver(attempt + 1, Event::Absent);
        pending.deliver(attempt, Event::Absent);
        pending.deliver(attempt, Event::Frame(Frame::UnknownCall, Bytes::new()));
        assert!(matches!(events.try_recv(), Ok(Event::Absent)));
        assert_eq!((pending.len(), pending.remove(attempt)), (0, None));
    }

    #[test]
    fn the_loss_of_a_node_ends_its_attempts_only() {
        let pending = Pending::default();
        let (_, mut lost) = pending.add_one(node("a"), None);
        let (other, mut kept) = pending.add_one(node("b"), None);
        pending.lose(&node("a"), "it is gone");
        assert!(matches!(lost.try_recv(), Ok(Event::NodeLost(_))));
        assert!(kept.try_recv().is_err());
        assert_eq!(pending.remove(other), Some(node("b")));
    }

    #[test]
    fn a_node_that_sends_more_items_than_it_may_loses_its_stream() {
        let pending = Pending::default();
        let (attempt, mut events) = pending.add_many(node("a"), 2, None);
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
    fn the_fuel_of_an_attempt_is_taken_also_after_it_was_cancelled_or_has_failed() {
        let (pending, failed) = (
            Pending::default(),
            ErrorReport::new(ErrorCode::Timeout, CallOutcome::Unknown, "late"),
        );
        let used = |frame: Frame| Event::Frame(frame, Bytes::new());
        let failed = |fuel_used| {
            let report = Box::new(failed.clone());
            used(Frame::Failed { report, items: 0, fuel_used })
        };
        let add = || {
            let fuel = FuelReport::new();
            let (attempt, events) = pending.add_one(node("a"), Some(fuel.clone()));
            (attempt, events, fuel.meter())
        };
        let (attempt, _events, meter) = add();
        pending.deliver(attempt, failed(Some(3)));
        assert_eq!(meter.fuel_used(), Some(3));
        let (attempt, _events, meter) = add();
        pending.deliver(attempt, failed(None));
        assert_eq!(meter.fuel_used(), None);
        pending.deliver(attempt, used(Frame::Stopped { fuel_used: 4 }));
        assert_eq!(meter.fuel_used(), Some(4));
        let (attempt, _events, meter) = add();
        pending.remove(attempt);
        pending.deliver(attempt + 1, used(Frame::Stopped { fuel_used: 9 }));
        pending.deliver(attempt, used(Frame::Stopped { fuel_used: 5 }));
        assert_eq!(meter.fuel_used(), Some(5));
        for _ in 0..2 * MAX_UNREPORTED {
            pending.remove(add().0);
        }
        assert_eq!(pending.unreported().len(), MAX_UNREPORTED);
    }

    #[test]
    fn nothing_waits_after_the_runtime_has_stopped() {
        let pending = Pending::default();
        let (_, mut before) = pending.add_one(node("a"), None);
        pending.close();
        let (_, mut after) = pending.add_one(node("a"), None);
        for events in [&mut before, &mut after] {
            assert!(matches!(events.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        }
        assert_eq!(pending.len(), 0);
    }
}
