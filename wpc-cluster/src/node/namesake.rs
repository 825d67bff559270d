//! Other processes that have the name of a node by mistake. Both receive the calls of that name, and each call goes to one of them.

use super::Inner;
use crate::connection::{Link, Subscription};
use crate::protocol::members::MISSED;
use crate::wire::{Heartbeat, Stage};
use bytes::Bytes;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// When another process last reported itself under the name of this node.
#[derive(Debug)]
pub(super) struct Namesake(watch::Sender<Option<Instant>>);

/// The number of heartbeat intervals in which a process that has the name sends a heartbeat. A late one is found while the node runs.
const INTERVALS: f64 = 1.5;
/// How long a new connection may take before it counts as unreachable.
const CONNECT: Duration = Duration::from_secs(1);

impl Default for Namesake {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Namesake {
    /// Whether another process has the name at this moment.
    pub(super) fn exists(&self, interval: Duration) -> bool {
        self.0.borrow().is_some_and(|last| last.elapsed() < interval * MISSED)
    }
}

/// Follows the heartbeats under the name of a node that has not sent any yet. Returns whether another process has the name. Without a
/// connection, that is found out later.
pub(super) async fn is_in_use(inner: &Arc<Inner>) -> Result<bool, crate::Error> {
    let (connection, names) = (&inner.connection, inner.connection.names());
    let heartbeats = connection.subscribe(names.heartbeat(&inner.name)).await?;
    let task = inner.runtime.spawn(read_heartbeats(Arc::downgrade(inner), heartbeats));
    inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task.abort_handle());
    let mut link = connection.follow_link();
    let is_up = link.wait_for(|link| matches!(link, Link::Up(_)));
    if !matches!(tokio::time::timeout(CONNECT, is_up).await, Ok(Ok(_))) {
        return Ok(false);
    }
    let _ = connection.publish(names.hello(), Bytes::new()).await;
    let mut heard = inner.namesake.0.subscribe();
    let interval = connection.options().heartbeat_interval.mul_f64(INTERVALS);
    let found = tokio::time::timeout(interval, heard.wait_for(Option::is_some)).await;
    Ok(matches!(found, Ok(Ok(_))))
}

async fn read_heartbeats(inner: Weak<Inner>, mut heartbeats: Subscription) {
    while let Some(message) = heartbeats.next().await {
        let Some(inner) = inner.upgrade() else { return };
        let Ok(heartbeat) = Heartbeat::decode(&message.payload) else { continue };
        if heartbeat.epoch != inner.epoch {
            let is_there = heartbeat.stage != Stage::Left;
            inner.namesake.0.send_replace(is_there.then(Instant::now));
        }
    }
}
