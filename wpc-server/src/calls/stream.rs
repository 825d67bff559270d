//! Calls whose items are read: responses of Server-Sent Events or JSON lines.
//!
//! The connection takes the next part of the body only when it has sent the previous ones, and only then are items taken from
//! the call. A slow client therefore suspends the function, once the buffer for items is full.

use super::media::Media;
use super::reply::identify;
use crate::access::Principal;
use crate::events::unbuffered;
use crate::problem::Problem;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::Stream;
use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use wpc_host::{BackendReply, CallOutcome, ReplyValue, StreamError, StreamPart, SubmittedStream};

/// Available items are sent together, up to this size in bytes, so that small items do not need a chunk each.
const CHUNK: usize = 16 << 10;

/// How often an event stream without events sends a comment, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The response, whose body ends with the call, or with the validity of the client's token. If it is dropped, the call is cancelled.
pub(super) fn response(
    media: Media,
    principal: &Principal,
    function: String,
    stream: SubmittedStream,
) -> Response {
    let (id, hash) = (stream.id(), stream.function_hash_sha1());
    let keep_alive = (media == Media::EventStream)
        .then(|| Box::pin(tokio::time::sleep_until(Instant::now() + KEEP_ALIVE)));
    let ended = principal.ended().map(FutureExt::boxed);
    let parts =
        Parts { media, function, stream, keep_alive, ended, delivered: 0, has_ended: false };
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media.header());
    for (name, value) in unbuffered() {
        headers.insert(name, HeaderValue::from_static(value));
    }
    identify(headers, id, hash);
    response
}

struct Parts {
    media: Media,
    function: String,
    stream: SubmittedStream,
    keep_alive: Option<Pin<Box<Sleep>>>,
    /// Completes when the client's token was revoked or has expired; `None` without a token.
    ended: Option<BoxFuture<'static, Problem>>,
    delivered: u64,
    has_ended: bool,
}

impl Parts {
    fn write(&mut self, out: &mut Vec<u8>, part: Result<StreamPart, StreamError>) {
        match part {
            Ok(StreamPart::Item(item)) => {
                self.delivered += 1;
                self.write_event(out, "item", &item);
            }
            Ok(StreamPart::Reply(BackendReply { value, metadata, .. })) => {
                self.has_ended = true;
                let value = if let ReplyValue::Json(value) = value { value } else { Value::Null };
                if self.media == Media::EventStream {
                    return self.write_event(out, "result", &value);
                }
                let line = json!({ "value": value, "fuel_used": metadata.fuel_used });
                append(out, &line);
                out.push(b'\n');
            }
            Err(StreamError { error, delivered, .. }) => {
                self.has_ended = true;
                let problem = Problem::of_call(&error, &self.function)
                    .with_call(self.stream.id(), self.stream.function_hash_sha1())
                    .with_items(delivered);
                self.write_event(out, "error", &problem);
            }
            Ok(_) => {}
        }
    }

    /// Ends the stream because the token was revoked or has expired.
    fn refuse(&mut self, out: &mut Vec<u8>, problem: Problem) {
        self.has_ended = true;
        let problem = problem
            .with_function(&self.function)
            .with_outcome(CallOutcome::Unknown)
            .with_call(self.stream.id(), self.stream.function_hash_sha1())
            .with_items(self.delivered);
        self.write_event(out, "error", &problem);
    }

    fn write_event<T: Serialize>(&self, out: &mut Vec<u8>, name: &str, data: &T) {
        // This JSON has no line breaks, so it fits one line of an event.
        if self.media == Media::EventStream {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\ndata: ");
            append(out, data);
            out.extend_from_slice(b"\n\n");
        } else {
            out.extend_from_slice(b"{\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            append(out, data);
            out.extend_from_slice(b"}\n");
        }
    }

    /// Sends a comment if nothing was sent for a while.
    fn poll_keep_alive(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(sleep) = &mut self.keep_alive else { return Poll::Pending };
        std::task::ready!(sleep.as_mut().poll(context));
        self.restart_keep_alive();
        Poll::Ready(Some(Bytes::from_static(b": keep-alive\n\n")))
    }

    fn restart_keep_alive(&mut self) {
        if let Some(sleep) = &mut self.keep_alive {
            sleep.as_mut().reset(Instant::now() + KEEP_ALIVE);
        }
    }
}

/// Writing JSON to memory does not fail.
fn append<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    let _ = serde_json::to_writer(out, value);
}

impl Stream for Parts {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut out = Vec::new();
        if !self.has_ended
            && let Some(ended) = &mut self.ended
            && let Poll::Ready(problem) = ended.as_mut().poll(context)
        {
            self.refuse(&mut out, problem);
        }
        while !self.has_ended && out.len() < CHUNK {
            match Pin::new(&mut self.stream).poll_next(context) {
                Poll::Ready(Some(part)) => self.write(&mut out, part),
                Poll::Ready(None) => self.has_ended = true,
                Poll::Pending => break,
            }
        }
        if !out.is_empty() {
            self.restart_keep_alive();
            return Poll::Ready(Some(Ok(out.into())));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        self.poll_keep_alive(context).map(|comment| comment.map(Ok))
    }
}
