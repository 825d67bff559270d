//! One call: its attempts on nodes, until it has an answer or an error.
//!
//! The first attempt is made by the thread that submits the call, and awaited by the task that awaits the call, so no separate task has to
//! be woken. A separate task continues the call only if the first attempt does not answer it.

use super::pending::Event;
use super::stored_arguments::StoredArguments;
use super::{AbortOnDrop, Attempt, Inner, Outgoing, now};
use crate::connection::Link;
use crate::names::NodeName;
use crate::protocol::attempts::{Attempts, Next};
use crate::wire::{Body, Frame, Reply, Request};
use bytes::Bytes;
use futures::FutureExt as _;
use serde::de::IgnoredAny;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
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

/// An attempt, and how it ended.
struct Ended {
    attempt: Attempt,
    target: Arc<DeployedFunction>,
    /// `None` if the call's deadline passed first.
    event: Option<Event>,
}

impl Sent<oneshot::Receiver<Event>> {
    /// Waits for the end of the attempt, or for the call's deadline.
    async fn end(self, expires: Sleep) -> Ended {
        let event = tokio::select! {
            // A slot is removed only together with an event, or when the client's runtime has stopped. In that case the timer can no longer
            // be polled.
            biased;
            event = self.events => {
                Some(event.unwrap_or_else(|_| Event::NodeLost(RUNTIME_STOPPED.into())))
            }
            () = expires => None,
        };
        Ended { attempt: self.attempt, target: self.target, event }
    }
}

const RUNTIME_STOPPED: &str = "the client's runtime has stopped";

/// Submits a call. The first attempt is sent before this returns, unless no node can be chosen yet or the arguments do not fit a
/// message.
pub(super) fn submit(
    inner: &Arc<Inner>,
    outgoing: Outgoing,
) -> impl Future<Output = Result<BackendReply, Error>> + Send + 'static {
    let attempts = Attempts::new(&outgoing.request.function, outgoing.is_pure, outgoing.waits);
    let inner = Arc::clone(inner);
    let state = match send_now(&inner, &outgoing, &attempts) {
        Some(sent) => {
            // The call can be awaited outside of the runtime.
            let _runtime = inner.runtime.enter();
            let expires = sleep_until(outgoing.deadline + GRACE);
            Ok((sent, expires, outgoing, attempts))
        }
        None => Err(spawn(&inner, outgoing, attempts, None)),
    };
    async move {
        let task = match state {
            Ok((sent, expires, outgoing, attempts)) => {
                let ended = sent.end(expires).await;
                match ended.event {
                    Some(Event::Frame(Frame::Reply(reply), body)) if reply.body == Body::Inline => {
                        return read_reply(&inner, &outgoing, &ended.target, *reply, body).await;
                    }
                    _ => spawn(&inner, outgoing, attempts, Some(ended)),
                }
            }
            Err(task) => task,
        };
        task.await
    }
}

/// Starts the task that runs a call to its end. The call is cancelled when its future is dropped.
fn spawn(
    inner: &Arc<Inner>,
    outgoing: Outgoing,
    attempts: Attempts,
    first: Option<Ended>,
) -> impl Future<Output = Result<BackendReply, Error>> + Send + use<> {
    let function = outgoing.request.function.clone();
    let task = inner.runtime.spawn(run(Arc::clone(inner), outgoing, attempts, first));
    let mut task = AbortOnDrop(task);
    async move {
        match (&mut task.0).await {
            Ok(result) => result,
            Err(_) => Err(Error::connection_lost(&function, RUNTIME_STOPPED)),
        }
    }
}

/// Runs a call to its end, from the end of its first attempt if that was made.
async fn run(
    inner: Arc<Inner>,
    outgoing: Outgoing,
    mut attempts: Attempts,
    mut first: Option<Ended>,
) -> Result<BackendReply, Error> {
    loop {
        let Ended { attempt, target, event } = match first.take() {
            Some(ended) => ended,
            None => {
                let add = |node| add_one(&inner, &outgoing, node);
                let sent = send(&inner, &outgoing, &mut attempts, add).await?;
                sent.end(sleep_until(outgoing.deadline + GRACE)).await
            }
        };
        match event {
            Some(Event::Frame(Frame::Reply(reply), body)) => {
                return read_reply(&inner, &outgoing, &target, *reply, body).await;
            }
            None => return Err(*attempts.expired(outgoing.limit, true)),
            Some(event) => match after(&mut attempts, &attempt.node, event) {
                Next::Fail(error) => return Err(*error),
                Next::Choose | Next::Wait(_) => {}
            },
        }
    }
}

/// Adds an attempt with one answer to those that wait.
fn add_one(
    inner: &Arc<Inner>,
    outgoing: &Outgoing,
    node: NodeName,
) -> (Attempt, oneshot::Receiver<Event>) {
    let (number, events) = inner.pending.add_one(node.clone(), outgoing.fuel.clone());
    (Attempt { inner: Arc::clone(inner), node, number }, events)
}

/// What to do after an event that is not a result.
pub(super) fn after(attempts: &mut Attempts, node: &NodeName, event: Event) -> Next {
    let node = node.clone();
    match event {
        Event::Frame(Frame::Refused(refusal), _) => attempts.refused(node, refusal),
        Event::Frame(Frame::Failed { report, .. }, _) => attempts.fail(*report),
        Event::Frame(Frame::UnknownCall, _) => {
            let reason = format!("node \"{node}\" no longer knows the call");
            attempts.lost(node, &reason)
        }
        Event::Frame(Frame::Item(_) | Frame::Reply(_) | Frame::Stopped { .. }, _) => {
            let reason = format!("node \"{node}\" sent an unexpected message");
            attempts.lost(node, &reason)
        }
        Event::Absent => attempts.absent(node),
        Event::NodeLost(reason) => attempts.lost(node, &reason),
        Event::Denied(reason) => Next::Fail(attempts.denied(&reason)),
    }
}

/// Chooses a node for the next attempt. Returns `None` if no node can be chosen at the moment, and an error if
/// no attempt can be made now.
fn choose(
    inner: &Inner,
    outgoing: &Outgoing,
    attempts: &Attempts,
) -> Result<Option<(NodeName, Arc<DeployedFunction>)>, Next> {
    let fail = |error| Next::Fail(Box::new(error));
    if Instant::now() >= outgoing.deadline {
        return Err(Next::Fail(attempts.expired(outgoing.limit, false)));
    }
    let target = inner.target(&outgoing.request.function).map_err(fail)?;
    outgoing.check_pin(&target).map_err(fail)?;
    if let Link::Down(since) = inner.connection.link() {
        return Err(attempts.disconnected(now().saturating_duration_since(since)));
    }
    if attempts.is_round_over() {
        return Ok(None);
    }
    let node = inner.choose(outgoing.request.affinity, attempts.tried());
    Ok(node.map(|node| (node, target)))
}

/// Sends the call to a node if that needs no waiting. Otherwise nothing was sent, and [`send`] finds out why.
fn send_now(
    inner: &Arc<Inner>,
    outgoing: &Outgoing,
    attempts: &Attempts,
) -> Option<Sent<oneshot::Receiver<Event>>> {
    if !inner.payloads.fits(outgoing.body.len()) {
        return None;
    }
    let (node, target) = choose(inner, outgoing, attempts).ok()??;
    let (attempt, events) = add_one(inner, outgoing, node);
    let message = request(inner, outgoing, None).encode(&outgoing.body);
    match publish(inner, &attempt, &target, message).now_or_never() {
        Some(Ok(())) => Some(Sent { attempt, events, target }),
        Some(Err(_)) | None => {
            inner.pending.remove(attempt.number);
            None
        }
    }
}

/// Sends the call to a node, as soon as one can be chosen. `add` adds the attempt to those that wait.
pub(super) async fn send<R>(
    inner: &Arc<Inner>,
    outgoing: &Outgoing,
    attempts: &mut Attempts,
    add: impl Fn(NodeName) -> (Attempt, R),
) -> Result<Sent<R>, Error> {
    loop {
        let next = match choose(inner, outgoing, attempts) {
            Ok(chosen) => chosen.ok_or_else(|| {
                let mut members = inner.members();
                let discovery = members.discovery(inner.up_since(), now());
                attempts.none_left(discovery, members.random())
            }),
            Err(next) => Err(next),
        };
        let (node, target) = match next {
            Ok(chosen) => chosen,
            Err(Next::Fail(error)) => return Err(*error),
            Err(Next::Choose) => continue,
            Err(Next::Wait(delay)) => {
                sleep_until((Instant::now() + delay).min(outgoing.deadline)).await;
                continue;
            }
        };
        if !inner.payloads.fits(outgoing.body.len()) && outgoing.stored_body().is_none() {
            // Without an attempt: a node must not be asked about a call that has not been sent. Storing takes a while, so a node is
            // chosen afterwards.
            inner.members().ended(&node);
            store(inner, outgoing, attempts).await?;
            continue;
        }
        let (attempt, events) = add(node);
        let stored = outgoing.stored_body();
        let body: &[u8] = if stored.is_some() { &[] } else { &outgoing.body };
        let message = request(inner, outgoing, stored.cloned()).encode(body);
        return match publish(inner, &attempt, &target, message).await {
            Ok(()) => Ok(Sent { attempt, events, target }),
            Err(error) => {
                // Nothing was sent, so nothing is to be cancelled.
                inner.pending.remove(attempt.number);
                Err(*attempts.unavailable(&error))
            }
        };
    }
}

/// Stores the arguments of a call, which are too large for a message.
async fn store(inner: &Arc<Inner>, outgoing: &Outgoing, attempts: &Attempts) -> Result<(), Error> {
    let stored = outgoing.stored.get_or_init(|| StoredArguments::new(inner));
    let error = match timeout_at(outgoing.deadline, stored.store(&outgoing.body)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error @ (crate::Error::Options(_) | crate::Error::Denied { .. }))) => {
            attempts.too_large(&error.to_string())
        }
        Ok(Err(error)) => attempts.unavailable(&format!("its arguments were not stored: {error}")),
        Err(_) => attempts.expired(outgoing.limit, false),
    };
    Err(*error)
}

async fn publish(
    inner: &Inner,
    attempt: &Attempt,
    target: &DeployedFunction,
    message: Bytes,
) -> Result<(), String> {
    let subject = inner.connection.names().call(&attempt.node, target.definition);
    inner.connection.publish_with_reply(subject, inner.inbox(attempt.number), message).await
}

/// The head of an attempt's message, with a body that is `stored` or follows it.
fn request(inner: &Inner, outgoing: &Outgoing, stored: Option<Body>) -> Request {
    let mut request = outgoing.request.clone();
    if let Some(stored) = stored {
        request.body = stored;
    }
    let remaining = outgoing.deadline.saturating_duration_since(Instant::now());
    let remaining = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
    request.deadline_ms = inner.connection.now_ms().saturating_add(remaining);
    request
}

/// Reads a reply, whose definition must be the expected one.
pub(super) async fn read_reply(
    inner: &Arc<Inner>,
    outgoing: &Outgoing,
    target: &DeployedFunction,
    reply: Reply,
    body: Bytes,
) -> Result<BackendReply, Error> {
    let function = outgoing.request.function.as_str();
    let definition = Sha256Hash::from(reply.definition);
    if definition != target.definition {
        let expected = target.definition;
        let reason = format!("the reply is of definition {definition}, expected {expected}");
        return Err(Error::connection_lost(function, reason));
    }
    let body = match reply.body {
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
    let not_json = |error: serde_json::Error| {
        Error::connection_lost(function, format!("the reply is not JSON: {error}"))
    };
    let value = match outgoing.format {
        ReplyFormat::Encoded => ReplyValue::Encoded(body.into()),
        ReplyFormat::Bytes => ReplyValue::Bytes(body.into()),
        ReplyFormat::JsonText => {
            // A node could send anything.
            serde_json::from_slice::<IgnoredAny>(&body).map_err(not_json)?;
            ReplyValue::JsonText(body.into())
        }
        _ => ReplyValue::Json(serde_json::from_slice(&body).map_err(not_json)?),
    };
    let hash = target.information.function_hash_sha1;
    let mut metadata = ReplyMetadata::new(hash, WorkerId::from(reply.worker));
    metadata.fuel_used = reply.fuel_used;
    Ok(BackendReply::new(value, metadata))
}
