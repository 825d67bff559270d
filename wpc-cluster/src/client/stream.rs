//! A call whose items are read. The attempts are made by a task until a node sends the first item or the end; from then on the
//! reader takes the parts itself, and grants the node more as it reads.

use super::call::{after, read_reply, send};
use super::pending::Event;
use super::{AbortOnDrop, Attempt, Inner, Outgoing, ToNode};
use crate::names::NodeName;
use crate::protocol::attempts::{Attempts, Next};
use crate::wire::{Control, Frame, Window};
use bytes::Bytes;
use futures::Stream;
use futures::stream;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use wpc_deploy::DeployedFunction;
use wpc_host::{Error, StreamError, StreamOptions, StreamPart};

/// The stream of an attempt that has begun.
struct Begun {
    attempt: Attempt,
    events: mpsc::Receiver<Event>,
    target: Arc<DeployedFunction>,
    /// The first event, which was taken by the task of the attempts.
    first: Option<Event>,
    attempts: Attempts,
}

/// What the reader has.
enum Reader {
    Starting(AbortOnDrop<Result<Begun, Error>>),
    Reading(Box<Reading>),
    Ended,
}

struct Reading {
    begun: Begun,
    delivered: u64,
    /// What was read since the node was last granted more.
    read: Window,
}

/// Starts a call and returns its parts.
pub(super) fn start(
    inner: &Arc<Inner>,
    mut outgoing: Outgoing,
    options: &StreamOptions,
) -> impl Stream<Item = Result<StreamPart, StreamError>> + Send + 'static {
    let items = u32::try_from(options.max_waiting_items.clamp(1, 65_536)).unwrap_or(1);
    let bytes = u32::try_from(options.max_waiting_bytes.max(1)).unwrap_or(u32::MAX);
    let window = Window::new(items, bytes);
    outgoing.request.stream = Some(window);
    let outgoing = Arc::new(outgoing);
    let task = inner.runtime.spawn(begin(Arc::clone(inner), Arc::clone(&outgoing), window));
    let reader = Reader::Starting(AbortOnDrop(task));
    let inner = Arc::clone(inner);
    stream::unfold(reader, move |reader| {
        let (inner, outgoing) = (Arc::clone(&inner), Arc::clone(&outgoing));
        async move {
            let mut reading = match reader {
                Reader::Ended => return None,
                Reader::Reading(reading) => reading,
                Reader::Starting(mut task) => match (&mut task.0).await {
                    Ok(Ok(begun)) => {
                        let read = Window::new(0, 0);
                        Box::new(Reading { begun, delivered: 0, read })
                    }
                    Ok(Err(error)) => return Some((Err(failed(error, 0)), Reader::Ended)),
                    Err(_) => {
                        let function = &outgoing.request.function;
                        let error =
                            Error::connection_lost(function, "the client's runtime has stopped");
                        return Some((Err(failed(error, 0)), Reader::Ended));
                    }
                },
            };
            match reading.next(&inner, &outgoing, window).await {
                Ok(part @ StreamPart::Item(_)) => Some((Ok(part), Reader::Reading(reading))),
                Ok(part) => Some((Ok(part), Reader::Ended)),
                Err(error) => Some((Err(failed(error, reading.delivered)), Reader::Ended)),
            }
        }
    })
}

fn failed(error: Error, delivered: u64) -> StreamError {
    StreamError::new(error, delivered)
}

/// Makes attempts until a node sends the first item or the end.
async fn begin(inner: Arc<Inner>, outgoing: Arc<Outgoing>, window: Window) -> Result<Begun, Error> {
    let mut attempts = Attempts::new(&outgoing.request.function, outgoing.is_pure, outgoing.waits);
    loop {
        let add = |node: NodeName| {
            let (items, fuel) = (window.items as usize, outgoing.fuel.clone());
            let (number, events) = inner.pending.add_many(node.clone(), items, fuel);
            (Attempt { inner: Arc::clone(&inner), node, number }, events)
        };
        let sent = send(&inner, &outgoing, &mut attempts, add).await?;
        let (attempt, mut events, target) = (sent.attempt, sent.events, sent.target);
        let event = match timeout_at(outgoing.deadline, events.recv()).await {
            Ok(event) => event.unwrap_or_else(unread),
            Err(_) => return Err(*attempts.expired(outgoing.limit, true)),
        };
        if matches!(event, Event::Frame(Frame::Item(_) | Frame::Reply(_), _)) {
            let first = Some(event);
            return Ok(Begun { attempt, events, target, first, attempts });
        }
        match after(&mut attempts, &attempt.node, event) {
            Next::Fail(error) => return Err(*error),
            Next::Choose | Next::Wait(_) => {}
        }
    }
}

fn unread() -> Event {
    Event::NodeLost("it sent more items than it was granted".into())
}

impl Reading {
    async fn next(
        &mut self,
        inner: &Arc<Inner>,
        outgoing: &Outgoing,
        window: Window,
    ) -> Result<StreamPart, Error> {
        let event = match self.begun.first.take() {
            Some(event) => event,
            None => match timeout_at(outgoing.deadline, self.begun.events.recv()).await {
                Ok(event) => event.unwrap_or_else(unread),
                Err(_) => return Err(*self.begun.attempts.expired(outgoing.limit, true)),
            },
        };
        let function = outgoing.request.function.as_str();
        match event {
            Event::Frame(Frame::Item(number), body) if number == self.delivered => {
                self.grant(inner, window, &body);
                self.delivered += 1;
                let item = serde_json::from_slice(&body).map_err(|error| {
                    Error::connection_lost(function, format!("an item is not JSON: {error}"))
                })?;
                Ok(StreamPart::Item(item))
            }
            Event::Frame(Frame::Item(number), _) => {
                let reason = format!("item {} is missing before item {number}", self.delivered);
                Err(Error::connection_lost(function, reason))
            }
            Event::Frame(Frame::Reply(reply), body) if reply.items == self.delivered => {
                let reply = read_reply(inner, outgoing, &self.begun.target, *reply, body).await?;
                Ok(StreamPart::Reply(reply))
            }
            Event::Frame(Frame::Reply(reply), _) => {
                let reason = format!("{} of {} items arrived", self.delivered, reply.items);
                Err(Error::connection_lost(function, reason))
            }
            Event::Frame(Frame::Failed { report, .. }, _) => Err((*report).into()),
            Event::NodeLost(reason) | Event::Denied(reason) => {
                Err(Error::connection_lost(function, reason))
            }
            Event::Absent
            | Event::Frame(Frame::Refused(_) | Frame::UnknownCall | Frame::Stopped { .. }, _) => {
                let node = &self.begun.attempt.node;
                let reason = format!("node \"{node}\" no longer knows the call");
                Err(Error::connection_lost(function, reason))
            }
        }
    }

    /// Counts an item that is read, and, when half of the window is used, grants the node the same amount.
    fn grant(&mut self, inner: &Inner, window: Window, item: &Bytes) {
        // As the node counts it.
        let len = u32::try_from(item.len()).unwrap_or(u32::MAX).min(window.bytes / 2);
        self.read.items += 1;
        self.read.bytes = self.read.bytes.saturating_add(len);
        if self.read.items * 2 < window.items && self.read.bytes < window.bytes / 2 {
            return;
        }
        let Window { items, bytes } = std::mem::replace(&mut self.read, Window::new(0, 0));
        let inbox = inner.inbox(self.begun.attempt.number);
        let control = Control::Credit { inbox, items, bytes };
        let node = self.begun.attempt.node.clone();
        let _ = inner.controls.send(ToNode { node, control });
    }
}
