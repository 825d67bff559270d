//! The byte stream of a connection, which records whether the client reads.

use super::activity::Order;
use super::connections::Member;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection's byte stream. The connection is counted until this is dropped, even if it became a WebSocket.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    member: Member,
}

/// The head and the body of an answer are written as one slice up to this size in bytes: the system takes longer for two slices
/// than copying them takes.
const JOINED: usize = 512;

/// Several slices as one, if they fit.
fn join<'a>(slices: &[io::IoSlice<'_>], into: &'a mut [u8; JOINED]) -> Option<&'a [u8]> {
    let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
    if slices.len() < 2 || length > JOINED {
        return None;
    }
    let mut at = 0;
    for slice in slices {
        into[at..at + slice.len()].copy_from_slice(slice);
        at += slice.len();
    }
    Some(&into[..length])
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, member: Member) -> Self {
        Self { inner, member }
    }

    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        self.member.activity().register(context);
        if self.member.activity().order() == Order::Abort {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    fn wrote<T>(&self, poll: Poll<T>) -> Poll<T> {
        self.member.activity().wrote(poll.is_pending(), self.member.now());
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_read(context, buffer);
        if poll.is_pending() {
            self.check(context)?;
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(context, bytes);
        if poll.is_pending() {
            self.check(context)?;
        }
        self.wrote(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut joined = [0; JOINED];
        if let Some(joined) = join(slices, &mut joined) {
            return self.poll_write(context, joined);
        }
        let poll = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        if poll.is_pending() {
            self.check(context)?;
        }
        self.wrote(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_shutdown(context);
        if poll.is_pending() {
            self.check(context)?;
        }
        self.wrote(poll)
    }
}
