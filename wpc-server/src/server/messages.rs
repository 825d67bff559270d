//! The byte stream of a connection after TLS, which counts the messages of a WebSocket, and observes what arrives and the ends of
//! responses.
//!
//! A WebSocket message counts towards the memory of all bodies from its first byte. The library that reads messages returns only
//! complete ones, so the bytes of incomplete ones are counted here.

use super::activity::Activity;
use super::connection::ConnectionState;
use super::connections::Connections;
use super::unrouted::{self, ParserResponse};
use crate::refusals::RefusalReason;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// A byte stream whose messages are counted once it is a WebSocket. Responses of the HTTP library itself are replaced.
#[derive(Debug)]
pub(super) struct Messages<S> {
    inner: S,
    connections: Connections,
    activity: Arc<Activity>,
    client: Option<IpAddr>,
    /// The maximum size of an incomplete message, in bytes.
    max: usize,
    /// Whether a response of the HTTP library was replaced.
    has_replaced: bool,
    /// What is being written in place of a response of the HTTP library.
    replacement: Option<ParserResponse>,
}

/// The maximum number of bytes that are read before a connection is closed.
const MAX_DISCARDED: usize = 16 << 20;

/// The maximum time for which they are read.
const MAX_DISCARDING: Duration = Duration::from_secs(2);

impl<S> Messages<S> {
    pub(super) fn new(inner: S, state: &ConnectionState) -> Self {
        Self {
            inner,
            connections: state.connections.clone(),
            activity: Arc::clone(&state.activity),
            client: state.client,
            max: state.max_message(),
            has_replaced: false,
            replacement: None,
        }
    }

    /// Counts a part of a message. The kind of the error states which limit it exceeds.
    fn received(&self, bytes: usize) -> io::Result<()> {
        if !self.connections.body_memory().hold(bytes) {
            self.connections.traffic().refusals().refuse(RefusalReason::BodyMemory, self.client);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if self.activity.message_received(bytes, self.connections.now()) > self.max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> Messages<S> {
    /// Refuses a request that cannot be parsed, unless the HTTP library has refused it.
    pub(super) async fn refuse(&mut self) {
        if !self.has_replaced {
            self.write_at_once(&unrouted::NOT_HTTP).await;
        }
    }

    /// Writes as many bytes as the client takes without waiting.
    pub(super) async fn write_at_once(&mut self, bytes: &[u8]) {
        // The connection is closed anyway.
        let _ = poll_fn(|context| {
            let _ = Pin::new(&mut self.inner).poll_write(context, bytes);
            let _ = Pin::new(&mut self.inner).poll_flush(context);
            Poll::Ready(())
        })
        .await;
    }
}

impl<S: AsyncRead + Unpin> Messages<S> {
    /// Reads what has arrived, and what arrives while the client continues to send, before the connection is closed. If the system closed
    /// it with unread bytes, it would discard what the client has not received yet. Waits for the first bytes only if `waits`.
    pub(super) async fn discard_input(&mut self, mut waits: bool) {
        let mut buffer = vec![0; 16 << 10];
        let mut total = 0;
        let discarded = poll_fn(|context| {
            while total < MAX_DISCARDED {
                let mut part = ReadBuf::new(&mut buffer);
                match Pin::new(&mut self.inner).poll_read(context, &mut part) {
                    Poll::Ready(Ok(())) if !part.filled().is_empty() => {
                        total += part.filled().len()
                    }
                    Poll::Pending if waits || total > 0 => return Poll::Pending,
                    Poll::Pending | Poll::Ready(_) => return Poll::Ready(()),
                }
                waits = true;
            }
            Poll::Ready(())
        });
        let _ = timeout(MAX_DISCARDING, discarded).await;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Messages<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        let bytes = &buffer.filled()[before..];
        if self.activity.is_web_socket() {
            return Poll::Ready(result.and_then(|()| self.received(bytes.len())));
        }
        if bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            self.activity.received(self.connections.now());
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Messages<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.replacement.is_none() && this.activity.is_between_requests() {
            this.replacement = ParserResponse::of(bytes);
        }
        let Some(replacement) = &mut this.replacement else {
            return Pin::new(&mut this.inner).poll_write(context, bytes);
        };
        ready!(replacement.poll_write(&mut this.inner, context))?;
        (this.replacement, this.has_replaced) = (None, true);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices.first() {
            Some(first) if self.activity.is_between_requests() => self.poll_write(context, first),
            _ => Pin::new(&mut self.inner).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.inner).poll_flush(context));
        self.activity.flushed(self.connections.now());
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
