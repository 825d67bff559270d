//! The tasks of a client: answers, heartbeats of nodes, lost nodes, and messages to nodes.

use super::pending::Event;
use super::{Inner, ToNode, now};
use crate::connection::{Link, Received, Subscription};
use crate::names::NodeName;
use crate::protocol::members::Recorded;
use crate::wire::{Control, Frame, Heartbeat};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// The tasks, which end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Tasks(Mutex<Vec<AbortHandle>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        let tasks = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.drain(..).for_each(|task| task.abort());
    }
}

/// The time after which the clock of the server is read again.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);
/// The number of heartbeat intervals after which a node is asked about a call that it has not answered.
const ASK_AFTER: u32 = 2;
/// The maximum number of calls that one message cancels.
const MAX_CANCELLED: usize = 256;

/// Subscribes and starts the tasks.
pub(super) async fn start(
    inner: &Arc<Inner>,
    controls: mpsc::UnboundedReceiver<ToNode>,
) -> Result<(), crate::Error> {
    let (client, names) = (&inner.connection, inner.connection.names());
    let answers = client.subscribe(format!("{}.*", inner.inbox)).await?;
    let heartbeats = client.subscribe(names.heartbeats()).await?;
    // Nodes send a heartbeat at once when they are asked, so the first call need not wait for their next one.
    let _ = client.publish(names.hello(), Bytes::new()).await;
    let weak = Arc::downgrade(inner);
    let tasks = [
        inner.runtime.spawn(read_answers(CloseOnDrop(Weak::clone(&weak)), answers)),
        inner.runtime.spawn(read_heartbeats(Weak::clone(&weak), heartbeats)),
        inner.runtime.spawn(watch_nodes(Weak::clone(&weak))),
        inner.runtime.spawn(follow_link(Weak::clone(&weak))),
        inner.runtime.spawn(follow_violations(Weak::clone(&weak))),
        inner.runtime.spawn(send_controls(weak, controls)),
    ];
    let mut running = inner.tasks.0.lock().unwrap_or_else(PoisonError::into_inner);
    running.extend(tasks.iter().map(tokio::task::JoinHandle::abort_handle));
    Ok(())
}

/// Ends all calls when the task that reads answers ends, including when its runtime has stopped.
struct CloseOnDrop(Weak<Inner>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.pending.close();
        }
    }
}

/// Passes answers to their attempts.
async fn read_answers(client: CloseOnDrop, mut answers: Subscription) {
    while let Some(message) = answers.next().await {
        let Some(inner) = client.0.upgrade() else { return };
        let Some(attempt) = last_token(&message).and_then(|token| token.parse().ok()) else {
            continue;
        };
        if message.is_absence {
            inner.pending.deliver(attempt, Event::Absent);
            continue;
        }
        match Frame::decode(&message.payload) {
            Ok((frame, body)) => inner.pending.deliver(attempt, Event::Frame(frame, body)),
            Err(error) => tracing::debug!(%error, "an answer cannot be read"),
        }
    }
}

fn last_token(message: &Received) -> Option<&str> {
    message.subject.rsplit('.').next()
}

/// Follows the heartbeats of nodes.
async fn read_heartbeats(inner: Weak<Inner>, mut heartbeats: Subscription) {
    while let Some(message) = heartbeats.next().await {
        let Some(inner) = inner.upgrade() else { return };
        let Some(name) = last_token(&message).and_then(|token| token.parse::<NodeName>().ok())
        else {
            continue;
        };
        let heartbeat = match Heartbeat::decode(&message.payload) {
            Ok(heartbeat) => heartbeat,
            Err(error) => {
                tracing::debug!(node = %name, %error, "a heartbeat cannot be read");
                continue;
            }
        };
        let recorded = inner.members().record(name.clone(), heartbeat, now());
        match recorded {
            Recorded::Restarted => {
                tracing::warn!("node \"{name}\" has started again");
                inner.pending.lose(&name, &format!("node \"{name}\" has started again"));
            }
            Recorded::Left => {
                tracing::info!("node \"{name}\" has left");
                inner.pending.lose(&name, &format!("node \"{name}\" has left"));
            }
            Recorded::Joined => tracing::info!("node \"{name}\" has joined"),
            // The nodes report it themselves.
            Recorded::Shared | Recorded::Known | Recorded::Ignored => {}
        }
    }
}

/// Ends the attempts on nodes whose heartbeats are missing, and compares the clocks.
async fn watch_nodes(inner: Weak<Inner>) {
    let (mut read, mut asked) = (now(), now());
    loop {
        let Some(interval) =
            inner.upgrade().map(|inner| inner.connection.options().heartbeat_interval)
        else {
            return;
        };
        tokio::time::sleep(interval / 2).await;
        let Some(inner) = inner.upgrade() else { return };
        let (now, up_since) = (now(), inner.up_since());
        let lost = inner.members().find_lost(up_since, now);
        for node in lost {
            let reason = format!(
                "node \"{node}\" has sent no heartbeat for {} ms",
                (interval * 3).as_millis()
            );
            tracing::warn!("{reason}");
            inner.pending.lose(&node, &reason);
        }
        // Between servers a message can be lost although both ends stay connected.
        if up_since.is_some() && now.saturating_duration_since(asked) >= interval * ASK_AFTER {
            asked = now;
            if let Some(since) = now.checked_sub(interval * ASK_AFTER) {
                ask(&inner, since);
            }
        }
        if now.saturating_duration_since(read) > CLOCK_INTERVAL {
            read = now;
            inner.connection.read_clock().await;
        }
    }
}

/// After the connection was lost, asks the nodes about the calls from before, because their answers may be lost.
async fn follow_link(inner: Weak<Inner>) {
    let Some(mut link) = inner.upgrade().map(|inner| inner.connection.follow_link()) else {
        return;
    };
    while link.changed().await.is_ok() {
        let Link::Up(since) = *link.borrow_and_update() else { continue };
        let Some(inner) = inner.upgrade() else { return };
        inner.connection.read_clock().await;
        let hello = inner.connection.names().hello();
        let _ = inner.connection.publish(hello, Bytes::new()).await;
        ask(&inner, since);
    }
}

/// Asks the nodes about the calls that wait since this time or longer. A node sends an answer again, or reports that it does not
/// know the call.
fn ask(inner: &Inner, since: Instant) {
    for (node, attempts) in inner.pending.waiting_since(since) {
        for attempts in attempts.chunks(MAX_CANCELLED) {
            let inboxes = attempts.iter().map(|attempt| inner.inbox(*attempt)).collect();
            let control = Control::Ask { inboxes };
            // Without the task that sends, the client has ended.
            let _ = inner.controls.send(ToNode { node: node.clone(), control });
        }
    }
}

/// Ends calls whose messages the server did not permit, which the server reports separately from answers.
async fn follow_violations(inner: Weak<Inner>) {
    let Some(mut violations) = inner.upgrade().map(|inner| inner.connection.follow_violations())
    else {
        return;
    };
    while violations.changed().await.is_ok() {
        let Some(reason) = violations.borrow_and_update().last().cloned() else { continue };
        let Some(inner) = inner.upgrade() else { return };
        if let Some(node) = inner.connection.names().called_node(&reason) {
            inner.pending.deny(&node, &reason);
        }
    }
}

/// Sends messages to nodes. Calls that are cancelled at the same time share one.
async fn send_controls(inner: Weak<Inner>, mut controls: mpsc::UnboundedReceiver<ToNode>) {
    let mut waiting = Vec::new();
    while controls.recv_many(&mut waiting, MAX_CANCELLED).await > 0 {
        let Some(inner) = inner.upgrade() else { return };
        let mut cancelled: BTreeMap<NodeName, Vec<String>> = BTreeMap::new();
        let mut others = Vec::new();
        for ToNode { node, control } in waiting.drain(..) {
            match control {
                Control::Cancel { inboxes } => cancelled.entry(node).or_default().extend(inboxes),
                other => others.push((node, other)),
            }
        }
        let cancelled =
            cancelled.into_iter().map(|(node, inboxes)| (node, Control::Cancel { inboxes }));
        for (node, control) in cancelled.chain(others) {
            let subject = inner.connection.names().control(&node);
            let _ = inner.connection.publish(subject, control.encode()).await;
        }
    }
}
