//! One call: its attempts on nodes, until it has an answer or an error.

use super::pending::Event;
use super::{Attempt, Inner, Outgoing};
use crate::names::NodeName;
use crate::protocol::attempts::{Attempts, Next};
use crate::wire::{Answer, Body, Frame};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};
use wpc_deploy::DeployedFunction;
use wpc_host::{BackendReply, Error, ReplyFormat, ReplyMetadata, ReplyValue, Sha256Hash, WorkerId};

/// How long a caller waits beyond its deadline for the answer with which the node ends the call, which states whether it ran.
const GRACE: Duration = Duration::from_millis(250);

/// An attempt that was sent, and where its events arrive.
pub(super) struct Sent<R> {
    pub(super) attempt: Attempt,
    pub(super) events: R,
    pub(super) target: Arc<DeployedFunction>,
}

/// Runs a call to its end.
pub(super) async fn run(inner: Arc<Inner>, outgoing: Outgoing) -> Result<BackendReply, Error> {
    let mut attempts = Attempts::new(&outgoing.request.function, outgoing.is_pure, outgoing.waits);
    loop {
        let add = |node: NodeName| {
            let (number, events) = inner.pending.add_one(node.clone());
            (Attempt { inner: Arc::clone(&inner), node, number }, events)
        };
        let Sent { attempt, mut events, target } =
            send(&inner, &outgoing, &mut attempts, add).await?;
        let event = match timeout_at(outgoing.deadline + GRACE, &mut events).await {
            Ok(Ok(event)) => event,
            // The slot is removed only together with an event.
            Ok(Err(_)) => Event::NodeLost("its answer was not read in time".into()),
            Err(_) => return Err(*attempts.expired(outgoing.limit, true)),
        };
        match event {
            Event::Frame(Frame::Answer(answer), body) => {
                return reply(&inner, &outgoing, &target, *answer, body).await;
            }
            event => match after(&mut attempts, &attempt.node, event) {
                Next::Fail(error) => return Err(*error),
                Next::Choose | Next::Wait(_) => {}
            },
        }
    }
}

/// What to do after an event that is not a result.
pub(super) fn after(attempts: &mut Attempts, node: &NodeName, event: Event) -> Next {
    let node = node.clone();
    match event {
        Event::Frame(Frame::Refused(refusal), _) => attempts.refused(node, refusal),
        Event::Frame(Frame::Failed { report, .. }, _) => attempts.fail(*report),
        Event::Frame(Frame::Lost, _) => {
            let reason = format!("node \"{node}\" no longer knows the call");
            attempts.lost(node, &reason)
        }
        Event::Frame(Frame::Item(_) | Frame::Answer(_), _) => {
            let reason = format!("node \"{node}\" sent an item where a result was expected");
            attempts.lost(node, &reason)
        }
        Event::Absent => attempts.absent(node),
        Event::NodeLost(reason) => attempts.lost(node, &reason),
        Event::Denied(reason) => Next::Fail(attempts.denied(&reason)),
    }
}

/// Sends the call to a node, as soon as one can be chosen. `add` adds the attempt to those that wait.
pub(super) async fn send<R>(
    inner: &Arc<Inner>,
    outgoing: &Outgoing,
    attempts: &mut Attempts,
    add: impl Fn(NodeName) -> (Attempt, R),
) -> Result<Sent<R>, Error> {
    let function = outgoing.request.function.as_str();
    loop {
        if Instant::now() >= outgoing.deadline {
            return Err(*attempts.expired(outgoing.limit, false));
        }
        let target = inner.target(function)?;
        outgoing.check_pin(&target)?;
        if !inner.connection.is_up() {
            return Err(*attempts.unavailable("the connection to NATS is lost"));
        }
        let is_over = attempts.is_round_over();
        let choose = || inner.choose(outgoing.request.affinity, attempts.tried());
        let chosen = if is_over { None } else { choose() };
        let Some(node) = chosen else {
            let jitter = inner.members().random();
            match attempts.none_left(jitter) {
                Next::Fail(error) => return Err(*error),
                Next::Wait(delay) => {
                    sleep_until((Instant::now() + delay).min(outgoing.deadline)).await;
                }
                Next::Choose => {}
            }
            continue;
        };
        let (attempt, events) = add(node);
        let subject = inner.connection.names().call(&attempt.node, target.definition);
        let message = match message(inner, outgoing, attempt.number).await {
            Ok(message) => message,
            Err(error) => {
                // Nothing was sent, so nothing is to be cancelled.
                inner.pending.remove(attempt.number);
                return Err(*attempts.too_large(&error.to_string()));
            }
        };
        let inbox = inner.inbox(attempt.number);
        let published = inner.connection.publish_with_reply(subject, inbox, message);
        if let Err(error) = published.await {
            inner.pending.remove(attempt.number);
            return Err(*attempts.unavailable(&error));
        }
        return Ok(Sent { attempt, events, target });
    }
}

/// The message of an attempt. Arguments that are too large are stored.
async fn message(inner: &Inner, outgoing: &Outgoing, attempt: u64) -> Result<Bytes, crate::Error> {
    let mut request = outgoing.request.clone();
    let remaining = outgoing.deadline.saturating_duration_since(Instant::now());
    let remaining = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
    request.deadline_ms = inner.connection.now_ms().saturating_add(remaining);
    if inner.payloads.fits(outgoing.body.len()) {
        return Ok(request.encode(&outgoing.body));
    }
    let name = format!("{}.{attempt}.arguments", inner.inbox);
    request.body = inner.payloads.put(name, &outgoing.body).await?;
    Ok(request.encode(&[]))
}

/// The reply that an answer carries.
pub(super) async fn reply(
    inner: &Inner,
    outgoing: &Outgoing,
    target: &DeployedFunction,
    answer: Answer,
    body: Bytes,
) -> Result<BackendReply, Error> {
    let function = outgoing.request.function.as_str();
    let definition = Sha256Hash::from(answer.definition);
    if definition != target.definition {
        let expected = target.definition;
        let reason = format!("the answer is of definition {definition}, expected {expected}");
        return Err(Error::connection_lost(function, reason));
    }
    let body = match answer.body {
        Body::Inline => body,
        stored @ Body::Stored { .. } => inner
            .payloads
            .take(&stored, body)
            .await
            .map_err(|error| Error::connection_lost(function, error))?,
    };
    let value = match outgoing.format {
        ReplyFormat::Encoded => ReplyValue::Encoded(body.into()),
        ReplyFormat::Bytes => ReplyValue::Bytes(body.into()),
        _ => ReplyValue::Json(serde_json::from_slice(&body).map_err(|error| {
            Error::connection_lost(function, format!("the answer is not JSON: {error}"))
        })?),
    };
    let hash = target.information.function_hash_sha1;
    let mut metadata = ReplyMetadata::new(hash, WorkerId::from(answer.worker));
    metadata.fuel_used = answer.fuel_used;
    Ok(BackendReply::new(value, metadata))
}
