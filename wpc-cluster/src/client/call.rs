//! One call: its attempts on nodes, until it has an answer or an error.

use super::pending::Event;
use super::stored_arguments::StoredArguments;
use super::{Attempt, Inner, Outgoing, now};
use crate::connection::Link;
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
        if let Link::Down(since) = inner.connection.link() {
            match attempts.disconnected(now().saturating_duration_since(since)) {
                Next::Fail(error) => return Err(*error),
                Next::Choose => {}
                Next::Wait(delay) => {
                    sleep_until((Instant::now() + delay).min(outgoing.deadline)).await;
                }
            }
            continue;
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
        let message = timeout_at(outgoing.deadline, message(inner, outgoing, attempt.number));
        let error = match message.await {
            Ok(Ok(message)) => {
                let inbox = inner.inbox(attempt.number);
                let published = inner.connection.publish_with_reply(subject, inbox, message);
                match published.await {
                    Ok(()) => return Ok(Sent { attempt, events, target }),
                    Err(error) => attempts.unavailable(&error),
                }
            }
            Ok(Err(error @ crate::Error::Options(_))) => attempts.too_large(&error.to_string()),
            Ok(Err(error)) => {
                attempts.unavailable(&format!("its arguments were not stored: {error}"))
            }
            Err(_) => attempts.expired(outgoing.limit, false),
        };
        // Nothing was sent, so nothing is to be cancelled.
        inner.pending.remove(attempt.number);
        return Err(*error);
    }
}

/// The message of an attempt. Arguments that are too large are stored.
async fn message(
    inner: &Arc<Inner>,
    outgoing: &Outgoing,
    attempt: u64,
) -> Result<Bytes, crate::Error> {
    let mut request = outgoing.request.clone();
    if !inner.payloads.fits(outgoing.body.len()) {
        let stored = outgoing.stored.get_or_init(|| StoredArguments::new(inner, attempt));
        request.body = stored.body(&outgoing.body).await?;
    }
    let remaining = outgoing.deadline.saturating_duration_since(Instant::now());
    let remaining = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
    request.deadline_ms = inner.connection.now_ms().saturating_add(remaining);
    let body = if request.body == Body::Inline { &*outgoing.body } else { &[] };
    Ok(request.encode(body))
}

/// The reply that an answer carries.
pub(super) async fn reply(
    inner: &Arc<Inner>,
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
        stored @ Body::Stored { .. } => {
            let reading = timeout_at(outgoing.deadline + GRACE, inner.payloads.read(&stored, body));
            let read = match reading.await {
                Ok(read) => read.map_err(|error| Error::connection_lost(function, error)),
                Err(_) => Err(*Attempts::new(function, false, false).expired(outgoing.limit, true)),
            };
            if let Body::Stored { name, .. } = stored {
                inner.discard(name);
            }
            read?
        }
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
