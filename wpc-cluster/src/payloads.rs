//! Arguments and results that are too large for a message: objects in files of the NATS servers.
//!
//! | object | stored by | deleted by |
//! |---|---|---|
//! | arguments | the caller, once for all attempts | the node, when it has answered; the caller, when the call has ended |
//! | a result | the node | the caller, when it has read it; the node, when it no longer keeps its answer |
//!
//! The server deletes the objects of killed processes after 10 minutes.

use crate::connection::Connection;
use crate::error::Error;
use crate::lag;
use crate::wire::Body;
use async_nats::jetstream;
use async_nats::jetstream::object_store::{self, DeleteErrorKind, ObjectStore};
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;
use wpc_host::Sha256Hash;

/// How long an object is kept that its reader did not delete.
const MAX_AGE: Duration = Duration::from_secs(600);
/// The maximum size of a message without its body.
const HEAD: usize = 8 << 10;

/// The first pause before an object is read again.
const READ_PAUSE: Duration = Duration::from_millis(10);

/// How often a failed deletion is tried again, after which time, and how long one may take.
const DELETE_ATTEMPTS: u32 = 15;
const DELETE_DELAY: Duration = Duration::from_secs(1);
const DELETE_TIMEOUT: Duration = Duration::from_secs(5);

/// When an object that was not found is looked for again: the server that was asked may lag, or the message that stores the object may
/// still be on its way because a server has failed.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// The store of payloads of a cluster.
pub(crate) struct Payloads {
    connection: Connection,
    /// Opened when it is first needed.
    store: OnceCell<ObjectStore>,
}

impl std::fmt::Debug for Payloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payloads")
            .field("is_open", &self.store.initialized())
            .finish_non_exhaustive()
    }
}

impl Payloads {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, store: OnceCell::new() }
    }

    /// Whether this many bytes fit into a message.
    pub(crate) fn fits(&self, len: usize) -> bool {
        len + HEAD <= self.connection.max_message()
    }

    /// The store, which is created if it does not exist.
    pub(crate) async fn store(&self) -> Result<&ObjectStore, Error> {
        let bucket = self.connection.names().payloads();
        let open = async || {
            let context = jetstream::new(self.connection.client().clone());
            if let Ok(store) = context.get_object_store(&bucket).await {
                return Ok(store);
            }
            // The server reports it separately. Clients can do without.
            let violation = self.connection.violation();
            if let Some(reason) = violation.filter(|reason| reason.contains(&bucket)) {
                let operation = "storing what is too large for a message".to_owned();
                return Err(Error::Denied { operation, reason });
            }
            let config = object_store::Config {
                bucket: bucket.clone(),
                // In memory, the bucket itself would be gone after a restart of the server.
                storage: StorageType::File,
                num_replicas: self.connection.options().replicas,
                max_age: MAX_AGE,
                ..Default::default()
            };
            let created = context.create_object_store(config).await;
            created
                .map_err(|error| failed(&format!("creating the object store `{bucket}`"), &error))
        };
        self.store.get_or_try_init(open).await
    }

    /// Stores bytes under a name that nothing else uses.
    pub(crate) async fn put(&self, name: String, bytes: &[u8]) -> Result<Body, Error> {
        let max = self.connection.options().max_payload;
        if bytes.len() > max {
            return Err(Error::Options(format!(
                "{} bytes exceed the limit of {max} for stored arguments and results",
                bytes.len()
            )));
        }
        let store = self.store().await?;
        let put = store.put(name.as_str(), &mut &*bytes).await;
        put.map_err(|error| failed("storing a payload", &error))?;
        let (length, sha256) = (bytes.len() as u64, Sha256Hash::of(bytes).into());
        Ok(Body::Stored { name, length, sha256 })
    }

    /// The bytes of a body: those that follow the head, or those of the object.
    pub(crate) async fn read(&self, body: &Body, inline: Bytes) -> Result<Bytes, Error> {
        let Body::Stored { name, length, sha256 } = body else { return Ok(inline) };
        let refused =
            |reason: String| Error::Registry { operation: "reading a payload".to_owned(), reason };
        let max = self.connection.options().max_payload as u64;
        if *length > max {
            return Err(refused(format!("{length} bytes exceed the limit of {max}")));
        }
        let store = self.store().await?;
        let hash = Sha256Hash::from(*sha256);
        let read = || read_once(store, name, *length, hash);
        lag::read(READ_PAUSE, read, Result::is_err).await.map(Bytes::from).map_err(refused)
    }

    /// Deletes an object, even if NATS cannot be reached for several seconds, for example while its servers elect a leader. An object that
    /// does not exist is ignored.
    pub(crate) async fn delete(&self, name: &str) {
        let mut pauses = RETRY_PAUSES.iter();
        for _ in 0..DELETE_ATTEMPTS {
            let deleting = async {
                let store = self.store().await.ok()?;
                Some(store.delete(name).await.map_err(|error| error.kind()))
            };
            let deleted = tokio::time::timeout(DELETE_TIMEOUT, deleting).await;
            let delay = match deleted.ok().flatten() {
                Some(Ok(())) => return,
                Some(Err(DeleteErrorKind::NotFound)) => match pauses.next() {
                    Some(delay) => *delay,
                    None => return,
                },
                Some(Err(_)) | None => DELETE_DELAY,
            };
            tokio::time::sleep(delay).await;
        }
    }
}

/// The content of an object, if it has this length and this SHA-256.
async fn read_once(
    store: &ObjectStore,
    name: &str,
    length: u64,
    hash: Sha256Hash,
) -> Result<Vec<u8>, String> {
    let object = store.get(name).await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let read = object.take(length + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| error.to_string())?;
    if Sha256Hash::of(&bytes) != hash {
        return Err("its length or its SHA-256 differs from that of the message".to_owned());
    }
    Ok(bytes)
}

fn failed(operation: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Registry { operation: operation.to_owned(), reason: error.to_string() }
}
