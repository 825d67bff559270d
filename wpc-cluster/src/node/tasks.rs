//! The tasks of a node: calls, messages of callers, and reports.

use super::sync::State;
use super::{Inner, Intake, calls};
use crate::connection::Subscription;
use futures::FutureExt as _;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// The number of calls after which the server stops sending calls to a node that has announced that it leaves: some may still be on
/// their way.
const LATE_CALLS: u64 = 512;

/// How long a node that is asked for a report waits for others that ask. One report answers all of them, so that a flood of
/// questions does not become a flood of reports.
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
    // The server handles the subscriptions before the report that it forwards.
    report(inner).await;
    let weak = Arc::downgrade(inner);
    let tasks = [
        inner.runtime.spawn(read_calls(Weak::clone(&weak), calls)),
        inner.runtime.spawn(read_controls(Weak::clone(&weak), controls)),
        inner.runtime.spawn(report_when_asked(Weak::clone(&weak), hellos)),
        inner.runtime.spawn(report_often(weak)),
    ];
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
            report(&inner).await;
        }
    });
    inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task.abort_handle());
}

/// Reports the node once, if the server can be reached.
pub(super) async fn report(inner: &Inner) {
    // A report that waits for the connection would be late.
    if inner.connection.is_up() {
        let subject = inner.connection.names().beat(&inner.name);
        let _ = inner.connection.publish(subject, inner.beat().encode()).await;
    }
}

/// Takes calls until the node has left.
async fn read_calls(inner: Weak<Inner>, mut calls: Subscription) {
    let Some(mut intake) = inner.upgrade().map(|inner| inner.intake.subscribe()) else { return };
    let mut received = 0;
    loop {
        tokio::select! {
            biased;
            message = calls.next() => {
                let (Some(message), Some(inner)) = (message, inner.upgrade()) else { return };
                received += 1;
                calls::take(&inner, message);
            }
            changed = intake.wait_for(|intake| *intake == Intake::Closed) => {
                if changed.is_err() {
                    return;
                }
                break;
            }
        }
    }
    leave(inner, calls, received).await;
}

/// Refuses late calls until no call runs and none is on its way, and then ends the subscription.
async fn leave(inner: Weak<Inner>, mut calls: Subscription, received: u64) {
    calls.unsubscribe_after(received + LATE_CALLS).await;
    loop {
        let Some(node) = inner.upgrade() else { return };
        let interval = node.connection.options().report_interval;
        drop(node);
        // If no call arrives during an interval, all callers have the announcement.
        match tokio::time::timeout(interval, calls.next()).await {
            Ok(Some(message)) => {
                let Some(node) = inner.upgrade() else { return };
                calls::take(&node, message);
            }
            Ok(None) => return,
            Err(_) => {
                let Some(node) = inner.upgrade() else { return };
                if node.running.len() == 0 {
                    break;
                }
            }
        }
    }
    calls.drain().await;
    while let Some(message) = calls.next().await {
        let Some(inner) = inner.upgrade() else { return };
        calls::take(&inner, message);
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
        calls::control(&inner, message).await;
    }
}

async fn report_when_asked(inner: Weak<Inner>, mut hellos: Subscription) {
    while hellos.next().await.is_some() {
        tokio::time::sleep(GATHER).await;
        while hellos.next().now_or_never().flatten().is_some() {}
        let Some(inner) = inner.upgrade() else { return };
        report(&inner).await;
    }
}

async fn report_often(inner: Weak<Inner>) {
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
        let interval = node.connection.options().report_interval;
        report(&node).await;
        drop(node);
        tokio::time::sleep(interval).await;
    }
}
