//! The source of a guest's standard input, if it is a stream.

use crate::system::contain::contain;
use crate::system::offload::foreign;
use bytes::Bytes;
use std::io::{Error, ErrorKind, Read};
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The maximum number of bytes that are read ahead of the guests.
const MAX_READ: usize = 64 * 1024;

/// A stream that guests read as their standard input. Clones share it. Requires the feature `wasi`.
#[derive(Clone)]
pub struct Input(Arc<Mutex<Source>>);

impl Input {
    /// An input that reads from `reader` on demand: when a guest reads and no bytes are buffered, up to 64 KiB are read at
    /// once. The reader may block: it runs on a helper thread of the pool, and the guest that waits for it is suspended.
    ///
    /// All sandboxes of all definitions with this input share it, and each byte is read by one of them. Bytes that a call
    /// has not read when it ends remain for the next one. This includes the bytes of a read that was still in progress.
    /// When the reader returns 0 bytes, the input has ended. If the reader fails or panics, the guest that reads next receives
    /// an error; after that, the reader is read again.
    ///
    /// ```
    /// use wpc_host::{Input, Wasi};
    ///
    /// let wasi = Wasi::minimal().stdin_stream(Input::reader(std::io::stdin()));
    /// ```
    #[must_use]
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        let reader: Box<dyn Read + Send> = Box::new(reader);
        Self(Arc::new(Mutex::new(Source {
            reader: Some(reader),
            ahead: Bytes::new(),
            failure: None,
            has_ended: false,
        })))
    }

    /// Waits until no other guest reads it.
    pub(crate) async fn lock(&self) -> OwnedMutexGuard<Source> {
        Arc::clone(&self.0).lock_owned().await
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Input::reader(..)")
    }
}

/// The embedder's reader, and what was read ahead of the guests. Dropping the reader runs code of the embedder too.
pub(crate) struct Source {
    /// Taken when it is dropped.
    reader: Option<Box<dyn Read + Send>>,
    ahead: Bytes,
    failure: Option<Error>,
    has_ended: bool,
}

impl Source {
    /// Whether [`take`](Self::take) has a result.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ahead.is_empty() || self.failure.is_some() || self.has_ended
    }

    /// How many bytes were read ahead of the guests.
    #[cfg(feature = "tokio")]
    pub(crate) fn ahead(&self) -> usize {
        self.ahead.len()
    }

    /// At most `most` bytes; `None` at the end of the input, and if nothing was read.
    pub(crate) fn take(&mut self, most: usize) -> Result<Option<Bytes>, Error> {
        if !self.ahead.is_empty() {
            return Ok(Some(self.ahead.split_to(most.min(self.ahead.len()))));
        }
        self.failure.take().map_or(Ok(None), Err)
    }

    /// Reads from the embedder's reader, which may block.
    pub(crate) fn fill(&mut self) {
        let mut buffer = vec![0; MAX_READ];
        let reader = &mut self.reader;
        let read = || loop {
            let Some(reader) = reader else { return Ok(0) };
            match reader.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        };
        match contain(read).unwrap_or_else(|_| Err(Error::other("the reader panicked"))) {
            Ok(0) => self.has_ended = true,
            // A reader may return any number.
            Ok(read) => {
                buffer.truncate(read);
                self.ahead = buffer.into();
            }
            Err(error) => self.failure = Some(error),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let reader = self.reader.take();
        foreign(move || drop(reader));
    }
}
