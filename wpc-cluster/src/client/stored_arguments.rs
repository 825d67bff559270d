//! The arguments of a call that do not fit a message.

use super::Inner;
use crate::error::Error;
use crate::wire::Body;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The arguments of a call as an object, which all its attempts refer to. They are deleted when the call ends.
#[derive(Debug)]
pub(super) struct StoredArguments {
    inner: Arc<Inner>,
    name: String,
    body: OnceCell<Body>,
}

impl StoredArguments {
    /// Nothing is stored yet.
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        Self {
            inner: Arc::clone(inner),
            name: format!("{}.{}.arguments", inner.inbox, inner.pending.next_id()),
            body: OnceCell::new(),
        }
    }

    /// Stores them, unless they are stored.
    pub(super) async fn store(&self, bytes: &Bytes) -> Result<(), Error> {
        let put = || self.inner.payloads.put(self.name.clone(), bytes);
        self.body.get_or_try_init(put).await.map(|_| ())
    }

    /// Where they are stored; `None` if they are not.
    pub(super) fn body(&self) -> Option<&Body> {
        self.body.get()
    }
}

impl Drop for StoredArguments {
    fn drop(&mut self) {
        // They may be stored even if that was not confirmed.
        self.inner.discard(std::mem::take(&mut self.name));
    }
}
