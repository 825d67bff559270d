//! The buckets of a registry.

use super::Registry;
use crate::error::Error;
use crate::payloads::Payloads;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::kv::{self, Store};
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::StorageType;
use std::error::Error as StdError;
use std::time::Duration;

/// How many activations are kept: the most that a key-value bucket keeps.
const HISTORY: i64 = 64;

/// The maximum size of a record in bytes.
const MAX_RECORD: i32 = 64 << 10;

/// For how long a request to prepare a revision, and the answers to it, are kept. A deployer that waits longer asks again.
pub(super) const STAGING_AGE: Duration = Duration::from_secs(600);

/// A key-value bucket of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    Registry,
    Staging,
}

impl Registry {
    fn name(&self, bucket: Bucket) -> String {
        let names = self.0.connection.names();
        match bucket {
            Bucket::Registry => names.registry(),
            Bucket::Staging => names.staging(),
        }
    }

    /// A key-value bucket, if it exists.
    pub(super) async fn find(&self, bucket: Bucket) -> Result<Option<Store>, Error> {
        let name = self.name(bucket);
        match self.0.context.get_key_value(&name).await {
            Ok(store) => Ok(Some(store)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.failed(&format!("opening the bucket \"{name}\""), full(&error))),
        }
    }

    /// A key-value bucket that must exist.
    pub(super) async fn bucket(&self, bucket: Bucket) -> Result<Store, Error> {
        self.find(bucket).await?.ok_or_else(|| self.absent(&self.name(bucket)))
    }

    /// The object store, which must exist.
    pub(super) async fn objects(&self) -> Result<ObjectStore, Error> {
        let name = self.0.connection.names().objects();
        match self.0.context.get_object_store(&name).await {
            Ok(store) => Ok(store),
            Err(error) if is_missing(&error) => Err(self.absent(&name)),
            Err(error) => Err(self.failed(&format!("opening the bucket \"{name}\""), full(&error))),
        }
    }

    fn absent(&self, name: &str) -> Error {
        let reason = "it does not exist; the first deployment creates it".to_owned();
        Error::Registry { operation: format!("opening the bucket \"{name}\""), reason }
    }

    /// Creates the buckets that do not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] if this process may not create them, and [`Error::Registry`] if the server refuses.
    pub async fn create(&self) -> Result<(), Error> {
        let num_replicas = self.0.connection.options().replicas;
        for bucket in [Bucket::Registry, Bucket::Staging] {
            if self.find(bucket).await?.is_some() {
                continue;
            }
            let (storage, history, max_age) = match bucket {
                Bucket::Registry => (StorageType::File, HISTORY, Duration::ZERO),
                Bucket::Staging => (StorageType::Memory, 1, STAGING_AGE),
            };
            let config = kv::Config {
                bucket: self.name(bucket),
                description: "wpc: revisions of a cluster".to_owned(),
                max_value_size: MAX_RECORD,
                history,
                max_age,
                storage,
                num_replicas,
                ..kv::Config::default()
            };
            if let Err(error) = self.0.context.create_key_value(config).await {
                // Another process may have created it at the same time.
                if self.find(bucket).await?.is_none() {
                    let operation = format!("creating the bucket \"{}\"", self.name(bucket));
                    return Err(self.failed(&operation, full(&error)));
                }
            }
        }
        if self.objects().await.is_err() {
            let config = object_store::Config {
                bucket: self.0.connection.names().objects(),
                description: Some("wpc: modules of a cluster".to_owned()),
                storage: StorageType::File,
                num_replicas,
                ..object_store::Config::default()
            };
            let name = config.bucket.clone();
            if let Err(error) = self.0.context.create_object_store(config).await
                && self.objects().await.is_err()
            {
                return Err(self.failed(&format!("creating the bucket \"{name}\""), full(&error)));
            }
        }
        // Clients and nodes may have no permission to create it.
        Payloads::new(self.0.connection.clone()).store().await?;
        Ok(())
    }
}

/// Whether the error is that a stream does not exist.
fn is_missing(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<GetStreamError>()
            && let GetStreamErrorKind::JetStream(error) = error.kind()
        {
            return error.error_code() == ErrorCode::STREAM_NOT_FOUND;
        }
        next = error.source();
    }
    false
}

/// The error with its causes.
pub(super) fn full(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text
}
