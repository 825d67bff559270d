//! An in-memory bus that replaces NATS: each process has a port. Messages arrive in the order in which they were sent, each with a random
//! delay. A port can lose its connection, be stopped, or be cut off permanently.

use super::{Link, Received};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// A bus. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Bus(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: StdRng,
    subscriptions: Vec<Subscribed>,
    next: u64,
}

#[derive(Debug)]
struct Subscribed {
    port: u64,
    pattern: String,
    messages: mpsc::UnboundedSender<Received>,
}

/// A process's access to a bus. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Port(Arc<PortState>);

#[derive(Debug)]
struct PortState {
    bus: Bus,
    number: u64,
    /// Messages from this port, in order.
    outgoing: mpsc::UnboundedSender<Outgoing>,
    gate: Arc<Gate>,
    link: watch::Sender<Link>,
    clock: Clock,
}

/// The clock of a process, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// How far it is ahead of that of the server.
    ahead: i64,
    /// How far the process's estimate of the server's time is ahead of it.
    error: i64,
}

/// How far the clock of a process is ahead or behind, and how exactly it is compared with that of the server, in milliseconds.
const CLOCK_DIFFERENCE: u64 = 600_000;
pub(crate) const CLOCK_ERROR: u64 = 2;

#[derive(Debug)]
struct Outgoing {
    subject: String,
    reply: Option<String>,
    payload: Bytes,
    due: Instant,
}

/// What the messages of a port wait for. It wakes them in their order, unlike a watch channel, so that a simulation can be replayed.
#[derive(Debug)]
struct Gate {
    condition: Mutex<Condition>,
    changed: Notify,
}

impl Gate {
    fn set(&self, condition: Condition) {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner) = condition;
        self.changed.notify_waiters();
    }

    /// Waits until the port works. `false` if it has ended.
    async fn works(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            match *self.condition.lock().unwrap_or_else(PoisonError::into_inner) {
                Condition::Works => return true,
                Condition::Ended => return false,
                Condition::Stopped | Condition::Disconnected => {}
            }
            changed.await;
        }
    }
}

/// Whether a port works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Works,
    /// Messages wait, and the process does not notice that: it is stopped, or its link drops all packets.
    Stopped,
    /// Messages wait, and the process has noticed that.
    Disconnected,
    /// All messages are lost: the process has ended.
    Ended,
}

/// The messages to a subject.
#[derive(Debug)]
pub(crate) struct Subscription {
    messages: mpsc::UnboundedReceiver<Received>,
}

impl Subscription {
    pub(crate) async fn next(&mut self) -> Option<Received> {
        self.messages.recv().await
    }

    pub(crate) fn close(&mut self) {
        self.messages.close();
    }
}

impl Bus {
    pub(crate) fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let state = Mutex::new(State { random, subscriptions: Vec::new(), next: 0 });
        Self(Arc::new(Shared { start: Instant::now(), state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of the server in milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.0.start.elapsed().as_millis()).unwrap() + 1_000_000
    }

    pub(crate) fn random(&self, range: std::ops::Range<u64>) -> u64 {
        self.state().random.random_range(range)
    }

    /// A new process.
    pub(crate) fn port(&self) -> Port {
        let (outgoing, messages) = mpsc::unbounded_channel();
        let around_zero =
            |most: u64| self.random(0..2 * most + 1).cast_signed() - most.cast_signed();
        let clock = Clock { ahead: around_zero(CLOCK_DIFFERENCE), error: around_zero(CLOCK_ERROR) };
        let number = {
            let mut state = self.state();
            state.next += 1;
            state.next
        };
        let gate =
            Arc::new(Gate { condition: Mutex::new(Condition::Works), changed: Notify::new() });
        let link = watch::Sender::new(Link::Up(Instant::now().into_std()));
        let own = Arc::clone(&gate);
        let bus = self.clone();
        let port = Port(Arc::new(PortState { bus, number, outgoing, gate, link, clock }));
        tokio::spawn(route(self.clone(), own, messages));
        port
    }
}

/// Passes the messages of a port to the subscriptions of all ports.
async fn route(bus: Bus, gate: Arc<Gate>, mut messages: mpsc::UnboundedReceiver<Outgoing>) {
    while let Some(Outgoing { subject, reply, payload, due }) = messages.recv().await {
        sleep_until(due).await;
        if !gate.works().await {
            return;
        }
        let mut state = bus.state();
        let mut is_heard = false;
        state.subscriptions.retain(|subscribed| !subscribed.messages.is_closed());
        for subscribed in state.subscriptions.iter().filter(|to| matches(&to.pattern, &subject)) {
            is_heard = true;
            let message = Received {
                subject: subject.clone(),
                reply: reply.clone(),
                payload: payload.clone(),
                is_absence: false,
            };
            let _ = subscribed.messages.send(message);
        }
        let absent = reply.filter(|_| !is_heard);
        if let Some(reply) = absent {
            for subscribed in state.subscriptions.iter().filter(|to| matches(&to.pattern, &reply)) {
                let _ = subscribed.messages.send(Received {
                    subject: reply.clone(),
                    reply: None,
                    payload: Bytes::new(),
                    is_absence: true,
                });
            }
        }
    }
}

/// Whether a subject matches a pattern whose last token may be `*`.
fn matches(pattern: &str, subject: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => {
            subject.strip_prefix(start).is_some_and(|rest| !rest.is_empty() && !rest.contains('.'))
        }
        None => pattern == subject,
    }
}

impl Port {
    pub(crate) fn publish(&self, subject: String, reply: Option<String>, payload: Bytes) {
        let delay = Duration::from_micros(self.0.bus.random(50..3000));
        let due = Instant::now() + delay;
        let _ = self.0.outgoing.send(Outgoing { subject, reply, payload, due });
    }

    /// Messages pass through a task of their own, which waits while the port does not work.
    pub(crate) fn subscribe(&self, pattern: String) -> Subscription {
        let (routed, mut incoming) = mpsc::unbounded_channel();
        let (messages, received) = mpsc::unbounded_channel();
        let port = self.0.number;
        self.0.bus.state().subscriptions.push(Subscribed { port, pattern, messages: routed });
        let gate = Arc::clone(&self.0.gate);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    message = incoming.recv() => {
                        let Some(message) = message else { return };
                        if !gate.works().await || messages.send(message).is_err() {
                            return;
                        }
                    }
                    () = messages.closed() => return,
                }
            }
        });
        Subscription { messages: received }
    }

    pub(crate) fn new_inbox(&self) -> String {
        format!("_INBOX.{}", self.0.number)
    }

    /// The time of the process, in milliseconds.
    pub(crate) fn own_ms(&self) -> u64 {
        self.0.bus.now_ms().saturating_add_signed(self.0.clock.ahead)
    }

    /// What the process finds when it compares its clock with that of the server.
    pub(crate) fn clock_offset_ms(&self) -> i64 {
        self.0.clock.error - self.0.clock.ahead
    }

    pub(crate) fn seed(&self) -> u64 {
        self.0.bus.random(0..u64::MAX)
    }

    pub(crate) fn link(&self) -> watch::Receiver<Link> {
        self.0.link.subscribe()
    }

    /// Changes whether the port works.
    pub(crate) fn set(&self, condition: Condition) {
        self.0.gate.set(condition);
        let now = Instant::now().into_std();
        match condition {
            Condition::Works => drop(self.0.link.send_if_modified(|link| {
                let was_down = matches!(link, Link::Down(_));
                if was_down {
                    *link = Link::Up(now);
                }
                was_down
            })),
            Condition::Disconnected => drop(self.0.link.send_replace(Link::Down(now))),
            Condition::Stopped => {}
            Condition::Ended => {
                let number = self.0.number;
                self.0.bus.state().subscriptions.retain(|subscribed| subscribed.port != number);
            }
        }
    }
}
