//! The tasks of a node: calls, messages of callers, and heartbeats.

use super::sync::State;
use super::{Inner, calls};
use crate::connection::{Received, Subscription};
use futures::FutureExt as _;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The number of calls after which the server stops sending calls to a node that has announced that it leaves: some may still be on
/// their way.
const LATE_CALLS: u64 = 512;

/// How long a node that is asked for a heartbeat waits for others that ask. One heartbeat answers all of them, so that a flood of
/// questions does not become a flood of heartbeats.
const GATHER: Duration = Duration::from_millis(5);

/// The group of the nodes that have the same name by mistake.
const GROUP: &str = "node";

/// Subscribes and starts the tasks.
pub(super) async fn start(inner: &Arc<Inner>) -> Result<(), crate::Error> {
    let (client, names) = (&inner.connection, inner.connection.names());
    // A group, so that a call runs once even if another node has the same name by mistake.
    let calls = client.subscribe_in(names.calls(&inner.name), Some(GROUP.to_owned())).await?;
    let controls = client.subscribe(names.control(&inner.name)).await?;
    let hellos = client.subscribe(names.hello()).await?;
    // The server handles the subscriptions before the heartbeat that it forwards.
    send_heartbeat(inner).await;
    let weak = Arc::downgrade(inner);
    let tasks = [
        inner.runtime.spawn(read_calls(Weak::clone(&weak), Messages::new(calls, controls))),
        inner.runtime.spawn(answer_hellos(Weak::clone(&weak), hellos)),
        inner.runtime.spawn(send_heartbeats(weak)),
    ];
    // Not among those that end with the node.
    inner.runtime.spawn(cancel_at_end(Arc::downgrade(inner)));
    // It is set once.
    let _ = inner.taking_calls.set(tasks[0].abort_handle());
    let mut running = inner.tasks.lock().unwrap_or_else(PoisonError::into_inner);
    running.extend(tasks.iter().map(tokio::task::JoinHandle::abort_handle));
    Ok(())
}

/// Reports the node at once when it runs another revision, so that callers learn of it.
pub(super) fn follow(inner: &Arc<Inner>, mut changes: watch::Receiver<State>) {
    let weak = Arc::downgrade(inner);
    let task = inner.runtime.spawn(async move {
        while changes.changed().await.is_ok() {
            let Some(inner) = weak.upgrade() else { return };
            send_heartbeat(&inner).await;
        }
    });
    inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task.abort_handle());
}

/// Reports the node once, if the server can be reached.
pub(super) async fn send_heartbeat(inner: &Inner) {
    // A heartbeat that waits for the connection would be late.
    if inner.connection.is_up() {
        let subject = inner.connection.names().heartbeat(&inner.name);
        let _ = inner.connection.publish(subject, inner.heartbeat().encode()).await;
    }
}

/// The messages to a node: calls, and messages of callers about their calls.
struct Messages {
    calls: Subscription,
    controls: Subscription,
    /// The number of calls that were received.
    received: u64,
    /// Messages of callers, each of which is returned after the calls that arrived before it.
    held: VecDeque<Held>,
}

struct Held {
    control: Received,
    /// How many calls must have been received before this message is returned. All calls that arrived before it are among them.
    after: u64,
}

/// A message to a node.
enum Message {
    Call(Received),
    Control(Received),
}

/// The maximum number of calls that may wait in the subscription before a message of a caller: the capacity of the NATS client.
const MAX_WAITING_CALLS: u64 = 1 << 16;
/// The maximum number of messages of callers that wait for calls.
const MAX_HELD: usize = 4096;

impl Messages {
    fn new(calls: Subscription, controls: Subscription) -> Self {
        Self { calls, controls, received: 0, held: VecDeque::new() }
    }

    /// The next message; `None` when the subscription to calls has ended. A message of a caller must not overtake its call, which the
    /// node would not know yet. The connection receives both in the order in which they were sent, but distributes them to two
    /// subscriptions.
    async fn next(&mut self) -> Option<Message> {
        loop {
            while self.held.len() < MAX_HELD
                && let Some(control) = ready(&mut self.controls)
            {
                self.hold(control);
            }
            if let Some(first) = self.held.front() {
                if self.received < first.after
                    && let Some(call) = ready(&mut self.calls)
                {
                    self.received += 1;
                    return Some(Message::Call(call));
                }
                return self.held.pop_front().map(|held| Message::Control(held.control));
            }
            tokio::select! {
                biased;
                Some(control) = self.controls.next() => self.hold(control),
                call = self.calls.next() => {
                    self.received += 1;
                    return call.map(Message::Call);
                }
            }
        }
    }

    fn hold(&mut self, control: Received) {
        let after = self.received + MAX_WAITING_CALLS;
        self.held.push_back(Held { control, after });
    }
}

/// A message that has already arrived, if there is one. It does not use tokio's cooperative budget: when that is used up, a subscription
/// is pending although a message has arrived.
fn ready(subscription: &mut Subscription) -> Option<Received> {
    tokio::task::unconstrained(subscription.next()).now_or_never().flatten()
}

fn handle(inner: &Arc<Inner>, message: Message) {
    match message {
        Message::Call(call) => calls::take(inner, call),
        Message::Control(control) => calls::control(inner, control),
    }
}

/// Cancels the calls of a node when the runtime has stopped. Their tasks would otherwise not notice that.
struct CancelOnDrop(Weak<Inner>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.running.cancel_all();
        }
    }
}

/// Waits until the node is dropped, or the runtime stops.
async fn cancel_at_end(inner: Weak<Inner>) {
    let Some(mut intake) = inner.upgrade().map(|inner| inner.intake.subscribe()) else { return };
    let _cancel = CancelOnDrop(inner);
    while intake.changed().await.is_ok() {}
}

/// Takes calls until the node has left.
async fn read_calls(inner: Weak<Inner>, mut messages: Messages) {
    let Some(mut intake) = inner.upgrade().map(|inner| inner.intake.subscribe()) else { return };
    loop {
        let message = tokio::select! {
            biased;
            message = messages.next() => message,
            changed = intake.wait_for(|intake| intake.leaves()) => {
                if changed.is_err() {
                    return;
                }
                break;
            }
        };
        let (Some(message), Some(inner)) = (message, inner.upgrade()) else { return };
        handle(&inner, message);
    }
    leave(&inner, &mut messages).await;
    let Some(node) = inner.upgrade() else { return };
    // Callers may still ask for answers.
    let task = node.runtime.spawn(read_controls(inner, messages.controls));
    node.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task.abort_handle());
}

/// Refuses late calls until no call runs and none is on its way, and then ends the subscription.
async fn leave(inner: &Weak<Inner>, messages: &mut Messages) {
    messages.calls.unsubscribe_after(messages.received + LATE_CALLS).await;
    let Some(interval) = inner.upgrade().map(|node| node.connection.options().heartbeat_interval)
    else {
        return;
    };
    let mut quiet_at = Instant::now() + interval;
    loop {
        // If no call arrives during an interval, all callers have the announcement.
        let message = tokio::time::timeout_at(quiet_at, messages.next()).await;
        let Some(node) = inner.upgrade() else { return };
        match message {
            Ok(Some(message)) => {
                if let Message::Call(_) = message {
                    quiet_at = Instant::now() + interval;
                }
                handle(&node, message);
            }
            Ok(None) => return,
            Err(_) if node.running.len() == 0 => break,
            Err(_) => quiet_at = Instant::now() + interval,
        }
    }
    messages.calls.drain().await;
    while let Some(message) = messages.next().await {
        let Some(inner) = inner.upgrade() else { return };
        handle(&inner, message);
    }
}

/// Waits until a draining node has left. Without a connection, no call can arrive and no subscription can end, so only calls that run are
/// awaited: a restored connection delivers their answers.
pub(super) async fn left(inner: &Arc<Inner>) {
    loop {
        let has_ended =
            || inner.taking_calls.get().is_none_or(tokio::task::AbortHandle::is_finished);
        if inner.running.len() == 0 && (!inner.connection.is_up() || has_ended()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn read_controls(inner: Weak<Inner>, mut controls: Subscription) {
    while let Some(message) = controls.next().await {
        let Some(inner) = inner.upgrade() else { return };
        calls::control(&inner, message);
    }
}

async fn answer_hellos(inner: Weak<Inner>, mut hellos: Subscription) {
    while hellos.next().await.is_some() {
        tokio::time::sleep(GATHER).await;
        while hellos.next().now_or_never().flatten().is_some() {}
        let Some(inner) = inner.upgrade() else { return };
        send_heartbeat(&inner).await;
    }
}

async fn send_heartbeats(inner: Weak<Inner>) {
    let mut known = None;
    loop {
        let Some(node) = inner.upgrade() else { return };
        let obstacle = node.obstacle();
        if obstacle != known {
            match &obstacle {
                Some(obstacle) => tracing::error!("{obstacle}"),
                None => tracing::info!("other processes can call this node again"),
            }
            known = obstacle;
        }
        let interval = node.connection.options().heartbeat_interval;
        send_heartbeat(&node).await;
        drop(node);
        tokio::time::sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use crate::connection::bus::Bus;
    use crate::options::ClusterOptions;
    use bytes::Bytes;

    #[tokio::test(start_paused = true)]
    async fn a_message_about_a_call_does_not_overtake_it() {
        let bus = Bus::new(1);
        let node = Connection::simulated(bus.port(), ClusterOptions::new("bus"));
        let caller = Connection::simulated(bus.port(), ClusterOptions::new("bus"));
        let calls = node.subscribe("call".to_owned()).await.unwrap();
        let controls = node.subscribe("control".to_owned()).await.unwrap();
        let mut messages = Messages::new(calls, controls);
        for subject in ["call", "call", "control", "call", "control"] {
            caller.publish(subject.to_owned(), Bytes::new()).await.unwrap();
        }
        // Both subscriptions have all of theirs.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let mut taken = Vec::new();
        for _ in 0..5 {
            let subject = match messages.next().await.unwrap() {
                Message::Call(call) => call.subject,
                Message::Control(control) => control.subject,
            };
            taken.push(subject);
        }
        assert_eq!(taken, ["call", "call", "call", "control", "control"]);
        assert_eq!(messages.received, 3);
    }
}
