//! Objects by their SHA-256. Their lengths and their contents are verified when they are read.

use super::Registry;
use super::buckets::full;
use crate::error::Error;
use crate::lag;
use async_nats::jetstream::object_store::{GetErrorKind, ObjectStore};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use wpc_host::Sha256Hash;

/// The maximum size of a manifest in bytes: enough for several thousand entries.
pub(crate) const MAX_DOCUMENT: usize = 4 << 20;

/// The maximum size of a list of functions in bytes: enough for 20,000.
pub(crate) const MAX_INDEX: usize = 16 << 20;

/// The first pause before what seems to be missing or damaged is read again.
pub(super) const READ_PAUSE: Duration = Duration::from_millis(20);

/// How long a part of an object may take to arrive.
const PART_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error("the object {0} is not stored; deploy again")]
    Missing(Sha256Hash),
    #[error("the object {hash} is too large: it has at least {size} bytes, the limit is {limit}")]
    TooLarge { hash: Sha256Hash, size: usize, limit: usize },
    #[error("the object {hash} is damaged: {reason}; deploy again to replace it")]
    Damaged { hash: Sha256Hash, reason: String },
    /// It may be read later.
    #[error(transparent)]
    Unavailable(#[from] Error),
}

impl ObjectError {
    /// Whether it may be read later.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// The error of an operation of the registry.
    pub(super) fn of(self, operation: &str) -> Error {
        match self {
            Self::Unavailable(error) => error,
            other => Error::Registry { operation: operation.to_owned(), reason: other.to_string() },
        }
    }
}

impl Registry {
    /// Reads an object of at most this many bytes, and verifies it.
    pub(crate) async fn object(
        &self,
        hash: Sha256Hash,
        limit: usize,
    ) -> Result<Vec<u8>, ObjectError> {
        let store = self.objects().await?;
        let is_missing = |read: &Result<_, _>| {
            matches!(read, Err(ObjectError::Missing(_) | ObjectError::Damaged { .. }))
        };
        lag::read(READ_PAUSE, || self.read(&store, hash, limit), is_missing).await
    }

    async fn read(
        &self,
        store: &ObjectStore,
        hash: Sha256Hash,
        limit: usize,
    ) -> Result<Vec<u8>, ObjectError> {
        let operation = format!("reading the object {hash}");
        let unavailable =
            |reason: String| ObjectError::Unavailable(self.failed(&operation, reason));
        let damaged = |reason: String| ObjectError::Damaged { hash, reason };
        let opening = tokio::time::timeout(PART_TIMEOUT, store.get(hash.to_string()));
        let opened = opening.await.map_err(|_| unavailable("timed out".to_owned()))?;
        let mut object = match opened {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => {
                return Err(ObjectError::Missing(hash));
            }
            Err(error) if error.kind() == GetErrorKind::BucketLink => {
                return Err(damaged("it is a link".to_owned()));
            }
            Err(error) => return Err(unavailable(full(&error))),
        };
        let too_large = |size| ObjectError::TooLarge { hash, size, limit };
        if object.info().size > limit {
            return Err(too_large(object.info().size));
        }
        let mut bytes = Vec::with_capacity(object.info().size);
        loop {
            let part = tokio::time::timeout(PART_TIMEOUT, object.read_buf(&mut bytes));
            match part.await {
                Ok(Ok(0)) => break,
                Ok(Ok(_)) if bytes.len() > limit => return Err(too_large(bytes.len())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                    return Err(damaged("its parts are not what was stored".to_owned()));
                }
                Ok(Err(error)) => return Err(unavailable(error.to_string())),
                Err(_) => return Err(unavailable("timed out: parts are missing".to_owned())),
            }
        }
        let found = Sha256Hash::of(&bytes);
        if found == hash {
            return Ok(bytes);
        }
        Err(damaged(format!("its content has the SHA-256 {found}")))
    }

    /// Stores an object, unless it is stored already. Replaces a damaged one.
    pub(crate) async fn store(&self, bytes: &[u8]) -> Result<Sha256Hash, Error> {
        let hash = Sha256Hash::of(bytes);
        let store = self.objects().await?;
        match self.read(&store, hash, bytes.len()).await {
            Ok(_) => return Ok(hash),
            Err(ObjectError::Unavailable(error)) => return Err(error),
            Err(ObjectError::Missing(_)) => {}
            Err(error) => tracing::warn!(%error, "replacing an object of the registry"),
        }
        let name = hash.to_string();
        let mut content = bytes;
        let stored = store.put(name.as_str(), &mut content).await;
        let operation = format!("storing the object {hash}");
        stored.map_err(|error| self.failed(&operation, full(&error)))?;
        Ok(hash)
    }
}
