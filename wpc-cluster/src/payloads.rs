//! Arguments and results that are too large for a message: objects that their reader deletes, or the server after some minutes.

use crate::connection::Connection;
use crate::error::Error;
use crate::wire::Body;
use async_nats::jetstream;
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;
use wpc_host::Sha256Hash;

/// How long an object is kept that its reader did not delete.
const MAX_AGE: Duration = Duration::from_secs(600);
/// What a message has beside its body, at most.
const HEAD: usize = 8 << 10;

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

    /// Whether so many bytes fit into a message.
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
            let config = object_store::Config {
                bucket: bucket.clone(),
                storage: StorageType::Memory,
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

    /// The bytes of a body: those that follow the head, or those of the object, which is deleted.
    pub(crate) async fn take(&self, body: &Body, inline: Bytes) -> Result<Bytes, Error> {
        let Body::Stored { name, length, sha256 } = body else { return Ok(inline) };
        let refused =
            |reason: String| Error::Registry { operation: "reading a payload".to_owned(), reason };
        let max = self.connection.options().max_payload as u64;
        if *length > max {
            return Err(refused(format!("{length} bytes exceed the limit of {max}")));
        }
        let store = self.store().await?;
        let object =
            store.get(name.as_str()).await.map_err(|error| failed("reading a payload", &error))?;
        let mut bytes = Vec::new();
        let read = object.take(*length + 1).read_to_end(&mut bytes).await;
        read.map_err(|error| failed("reading a payload", &error))?;
        if bytes.len() as u64 != *length || <[u8; 32]>::from(Sha256Hash::of(&bytes)) != *sha256 {
            return Err(refused(
                "its length or its SHA-256 differs from that of the message".to_owned(),
            ));
        }
        // The server deletes what stays.
        let _ = store.delete(name.as_str()).await;
        Ok(bytes.into())
    }
}

fn failed(operation: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Registry { operation: operation.to_owned(), reason: error.to_string() }
}
