//! The destination of a guest's standard output and standard error.

use crate::system::offload::foreign;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// The destination of a guest's output. Output counts like log lines, see [`Limits::log`](crate::Limits::log).
/// Requires the feature `wasi`.
#[derive(Clone)]
pub struct Output(pub(crate) Target);

#[derive(Clone)]
pub(crate) enum Target {
    Events,
    Writer(Arc<Writer>),
    Nowhere,
}

/// The embedder's writer. Dropping it runs code of the embedder too.
pub(crate) struct Writer(pub(crate) Mutex<Option<Box<dyn Write + Send>>>);

impl Drop for Writer {
    fn drop(&mut self) {
        let writer = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
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

    /// Passes bytes to a writer immediately, from every sandbox of the definition, one write at a time. The writer runs on
    /// a worker's thread: while it blocks, that worker's other calls wait, and other calls that write wait too, each until
    /// its own limit. It may use the pool, and a local worker of its own. If it fails or panics, the guest receives an
    /// error.
    #[must_use]
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self(Target::Writer(Arc::new(Writer(Mutex::new(Some(Box::new(writer)))))))
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
            Target::Nowhere => "Output::discard()",
        })
    }
}
