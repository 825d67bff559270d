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
    /// Nothing is stored yet. `attempt` is the first attempt that needs them.
    pub(super) fn new(inner: &Arc<Inner>, attempt: u64) -> Self {
        Self {
            inner: Arc::clone(inner),
            name: format!("{}.{attempt}.arguments", inner.inbox),
            body: OnceCell::new(),
        }
    }

    /// Where they are stored. Stores them the first time.
    pub(super) async fn body(&self, bytes: &Bytes) -> Result<Body, Error> {
        let put = || self.inner.payloads.put(self.name.clone(), bytes);
        self.body.get_or_try_init(put).await.cloned()
    }
}

impl Drop for StoredArguments {
    fn drop(&mut self) {
        // They may be stored even if that was not confirmed.
        self.inner.discard(std::mem::take(&mut self.name));
    }
}
