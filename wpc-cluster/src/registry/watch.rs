//! Follows keys of a bucket, over lost connections, restarted servers, and buckets that are deleted and created again.

use super::Registry;
use super::activation::{ACTIVE, Active, Known, Stated};
use super::buckets::{Bucket, full};
use super::staging::{PREPARE_REQUESTS, PrepareRequest};
use crate::connection::Link;
use crate::error::Error;
use async_nats::jetstream::kv::{Entry, Operation, Store};
use futures::StreamExt as _;
use std::time::Duration;
use tokio::sync::mpsc;

/// What is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Followed {
    /// Which revision is active.
    Active,
    /// Requests to prepare revisions.
    PrepareRequests,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Change {
    /// The active revision. The same one can be found several times.
    Active(Box<Active>),
    /// A request of a deployer.
    PrepareRequested(PrepareRequest),
    /// A request that is not trusted, and why.
    Refused(PrepareRequest, String),
    /// The active revision has no value.
    Nothing,
    /// A value that is ignored, and why.
    Ignored(String),
    /// The bucket cannot be read at the moment.
    Unreachable(String),
}

/// How often the active revision is read although no change was reported, in case the report of a change was lost.
const RECONCILE: Duration = Duration::from_secs(30);

/// The time before another attempt after the first failure, and the longest one.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// How often to check whether a missing bucket exists. A deployer creates it, and then waits for the nodes.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How long a new connection may take before it counts as unreachable.
const CONNECT: Duration = Duration::from_secs(1);

/// Applies jitter of ±25 %, so that the processes of a cluster do not act at the same moment.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.75..1.25))
}

/// Follows until the receiver is dropped. Must run in a task of its own: a value that is not received at once would hold up the
/// connection.
///
/// An activation that is older than what is `known` is ignored if it needs a signature.
pub(crate) async fn follow(
    registry: Registry,
    followed: Followed,
    known: Known,
    sender: mpsc::Sender<Change>,
) {
    let mut delay = FIRST_DELAY;
    let mut last = Last { sequence: 0, known };
    loop {
        let error = tokio::select! {
            error = follow_once(&registry, followed, &mut last, &sender, &mut delay) => error,
            () = sender.closed() => return,
        };
        let Some(error) = error else { return };
        let longest = if error.is_empty() { CHECK_INTERVAL } else { LONGEST_DELAY };
        tracing::debug!(%error, ?followed, "the registry cannot be read at the moment");
        if !error.is_empty() && sender.send(Change::Unreachable(error)).await.is_err() {
            return;
        }
        let mut link = registry.connection().follow_link();
        let was_up = matches!(*link.borrow_and_update(), Link::Up(_));
        // A new connection is worth an attempt at once.
        let connected =
            async { link.wait_for(|link| matches!(link, Link::Up(_)) && !was_up).await.is_ok() };
        let is_new = tokio::select! {
            () = tokio::time::sleep(jittered(delay)) => false,
            is_new = connected => is_new,
        };
        if is_new {
            tokio::time::sleep(jittered(FIRST_DELAY)).await;
        } else {
            delay = (delay * 2).min(longest);
        }
    }
}

/// Follows until an error occurs, and returns it; the text is empty if the watch merely has to be restarted. `None` if the receiver was
/// dropped.
async fn follow_once(
    registry: &Registry,
    followed: Followed,
    last: &mut Last,
    sender: &mpsc::Sender<Change>,
    delay: &mut Duration,
) -> Option<String> {
    // A bucket that was created again counts from 1.
    last.sequence = 0;
    let (bucket, filter) = match followed {
        Followed::Active => (Bucket::Registry, ACTIVE),
        Followed::PrepareRequests => (Bucket::Staging, PREPARE_REQUESTS),
    };
    let mut link = registry.connection().follow_link();
    let is_up = async { link.wait_for(|link| matches!(link, Link::Up(_))).await.is_ok() };
    if !tokio::time::timeout(CONNECT, is_up).await.unwrap_or(false) {
        return Some("NATS cannot be reached".to_owned());
    }
    let store = match registry.find(bucket).await {
        Ok(Some(store)) => store,
        Ok(None) => {
            sender.send(Change::Nothing).await.ok()?;
            return Some(String::new());
        }
        Err(error) => return Some(error.to_string()),
    };
    // The watch starts with the current values.
    let mut watch = match store.watch_with_history(filter).await {
        Ok(watch) => watch,
        Err(error) => return Some(full(&error)),
    };
    if followed == Followed::Active {
        match registry.stated(&store).await {
            Ok(stated) => last.send_stated(registry, stated, sender).await?,
            Err(error) => return Some(error.to_string()),
        }
    }
    *delay = FIRST_DELAY;
    loop {
        tokio::select! {
            entry = watch.next() => match entry {
                Some(Ok(entry)) => last.send(registry, &entry, followed, sender).await?,
                Some(Err(error)) => return Some(full(&error)),
                None => return Some("the watch has ended".to_owned()),
            },
            changed = link.changed() => {
                changed.ok()?;
                // Messages that were sent meanwhile may be lost, and the client notices that only after seconds.
                if matches!(*link.borrow_and_update(), Link::Up(_)) {
                    return Some(String::new());
                }
            }
            () = tokio::time::sleep(jittered(RECONCILE)) => {
                if followed == Followed::Active {
                    if let Some(error) = reconcile(registry, &store, sender, last).await? {
                        return Some(error);
                    }
                } else if let Err(error) = store.stream.get_info().await {
                    return Some(full(&error));
                }
            }
        }
    }
}

/// Reads the active revision. `None` if the receiver was dropped; otherwise the error, if there is one.
async fn reconcile(
    registry: &Registry,
    store: &Store,
    sender: &mpsc::Sender<Change>,
    last: &mut Last,
) -> Option<Option<String>> {
    match store.entry(ACTIVE).await {
        Ok(Some(entry)) => last.send(registry, &entry, Followed::Active, sender).await?,
        Ok(None) => sender.send(Change::Nothing).await.ok()?,
        Err(error) => {
            let error: Error = registry.failed("reading the active revision", full(&error));
            return Some(Some(error.to_string()));
        }
    }
    Some(None)
}

/// What was found last.
#[derive(Debug)]
struct Last {
    /// The sequence number of the last value. A read can be answered by a server that lags behind.
    sequence: u64,
    known: Known,
}

impl Last {
    /// Sends what the registry states at the beginning. `None` if the receiver was dropped.
    async fn send_stated(
        &mut self,
        registry: &Registry,
        stated: Stated,
        sender: &mpsc::Sender<Change>,
    ) -> Option<()> {
        self.sequence = stated.sequence;
        let Stated { active, ignored, .. } = stated;
        let is_empty = active.is_none() && ignored.is_none();
        let accepted = active.map(|active| self.known.accept(registry, &active.record));
        let (active, older) = match accepted.transpose() {
            Ok(active) => (active, None),
            Err(error) => (None, Some(error)),
        };
        if let Some(active) = active {
            sender.send(Change::Active(Box::new(active))).await.ok()?;
        }
        if let Some(error) = ignored.or(older) {
            sender.send(Change::Ignored(error.to_string())).await.ok()?;
        }
        if is_empty { sender.send(Change::Nothing).await.ok() } else { Some(()) }
    }

    /// Sends a change. `None` if the receiver was dropped.
    async fn send(
        &mut self,
        registry: &Registry,
        entry: &Entry,
        followed: Followed,
        sender: &mpsc::Sender<Change>,
    ) -> Option<()> {
        if followed == Followed::Active && entry.revision <= self.sequence {
            return Some(());
        }
        self.sequence = entry.revision;
        let ignored = |error: Error| Change::Ignored(error.to_string());
        let change = match (entry.operation, followed) {
            (Operation::Put, Followed::Active) => match self.known.accept(registry, &entry.value) {
                Ok(active) => Change::Active(Box::new(active)),
                Err(error) => ignored(error),
            },
            (Operation::Put, Followed::PrepareRequests) => match registry.requested(&entry.value) {
                Ok((asked, None)) => Change::PrepareRequested(asked),
                Ok((asked, Some(error))) => Change::Refused(asked, error.to_string()),
                Err(error) => ignored(error),
            },
            _ => Change::Nothing,
        };
        sender.send(change).await.ok()
    }
}
