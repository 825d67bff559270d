//! The destination of a guest's standard output and standard error.

use crate::system::contain::contain;
use crate::system::offload::foreign;
use std::io::{Error, Write};
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The destination of a guest's output. Output counts like log lines, see [`Limits::log`](crate::Limits::log).
/// Requires the feature `wasi`.
#[derive(Clone)]
pub struct Output(pub(crate) Target);

#[derive(Clone)]
pub(crate) enum Target {
    Events,
    /// On a helper thread.
    Writer(Writer),
    /// On the worker's thread.
    InlineWriter(Writer),
    Nowhere,
}

/// The embedder's writer.
#[derive(Clone)]
pub(crate) struct Writer(Arc<Mutex<Destination>>);

impl Writer {
    fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Destination(Some(Box::new(writer))))))
    }

    /// Waits until no other guest writes.
    pub(crate) async fn lock(&self) -> OwnedMutexGuard<Destination> {
        Arc::clone(&self.0).lock_owned().await
    }
}

/// The embedder's writer while it is used. Dropping it runs code of the embedder too.
pub(crate) struct Destination(Option<Box<dyn Write + Send>>);

impl Destination {
    /// Writes all bytes, which may block.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let write = || match &mut self.0 {
            Some(writer) => writer.write_all(bytes).and_then(|()| writer.flush()),
            None => Ok(()),
        };
        contain(write).unwrap_or_else(|_| Err(Error::other("the writer panicked")))
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        let writer = self.0.take();
        foreign(move || drop(writer));
    }
}

impl Output {
    /// Emits each line as an event [`GuestLog`](crate::EventDetails::GuestLog) with the level `stdout` or `stderr`. When
    /// a call ends, its last line is emitted even without a newline.
    #[must_use]
    pub fn events() -> Self {
        Self(Target::Events)
    }

    /// Passes bytes to a writer immediately, from every sandbox of the definition, one write at a time and in order. The
    /// writer may block: it runs on a helper thread of the pool, and the guest that writes is suspended until it returns. The
    /// writer therefore applies back-pressure to its guests, and a call does not end before its output was written, unless it
    /// reaches its limit or is cancelled. In that case the rest of the output is not written. A write that has begun continues,
    /// and other calls that write wait for it, each until its own limit. The writer may use the pool, and a local worker of its
    /// own. If it fails or panics, the guest receives an error.
    #[must_use]
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self(Target::Writer(Writer::new(writer)))
    }

    /// Like [`writer`](Self::writer), for a writer that returns soon, such as one that writes to memory or to a channel: it
    /// runs on the worker's thread, which avoids a thread switch. While it blocks, the worker's other calls wait. Writing
    /// with it does not suspend the function.
    #[must_use]
    pub fn inline_writer(writer: impl Write + Send + 'static) -> Self {
        Self(Target::InlineWriter(Writer::new(writer)))
    }

    /// Discards the output.
    #[must_use]
    pub fn discard() -> Self {
        Self(Target::Nowhere)
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Target::Events => "Output::events()",
            Target::Writer(_) => "Output::writer(..)",
            Target::InlineWriter(_) => "Output::inline_writer(..)",
            Target::Nowhere => "Output::discard()",
        })
    }
}
