//! The active revision, and the earlier activations.

use super::buckets::{Bucket, full};
use super::{Readiness, Registry, check_text, unreadable};
use crate::error::Error;
use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use wpc_host::Sha256Hash;

/// The key of the active revision.
pub(super) const ACTIVE: &str = "active";

/// The activation of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Activation {
    /// The revision.
    pub revision: u64,
    /// The SHA-256 of its manifest.
    pub document: Sha256Hash,
    /// The SHA-256 of the list of its functions, see [`Registry::index`].
    pub index: Sha256Hash,
    /// The revision that was active before.
    pub previous: Option<u64>,
    /// Who activated it.
    pub by: String,
    /// When, by the server's clock.
    pub at: String,
}

impl Activation {
    /// What a value of `active` states.
    pub(crate) fn parse(value: &Bytes) -> Result<Self, Error> {
        serde_json::from_slice(value).map_err(|error| unreadable("the active revision", error))
    }
}

impl Registry {
    /// The active revision; `None` if nothing was activated yet.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] or [`Error::Denied`].
    pub async fn active(&self) -> Result<Option<Activation>, Error> {
        let Some(store) = self.find(Bucket::Registry).await? else { return Ok(None) };
        Ok(self.active_entry(&store).await?.0)
    }

    /// The active revision, and the sequence number of the last change of it, 0 before the first.
    pub(super) async fn active_entry(
        &self,
        store: &Store,
    ) -> Result<(Option<Activation>, u64), Error> {
        let entry = store.entry(ACTIVE).await;
        let entry =
            entry.map_err(|error| self.failed("reading the active revision", full(&error)))?;
        let Some(entry) = entry else { return Ok((None, 0)) };
        let is_value = entry.operation == Operation::Put;
        let active = if is_value { Some(Activation::parse(&entry.value)?) } else { None };
        Ok((active, entry.revision))
    }

    /// Activates a revision for which nodes are ready, if the active one is the expected one.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if another one is active. Nothing has changed then. After [`Error::Registry`] it is not known whether the
    /// revision was activated.
    pub async fn activate(
        &self,
        ready: &Readiness,
        expected: Option<u64>,
        by: &str,
    ) -> Result<Activation, Error> {
        check_text("name", by)?;
        let store = self.bucket(Bucket::Registry).await?;
        let (found, last) = self.active_entry(&store).await?;
        let previous = found.map(|found| found.revision);
        if previous != expected {
            return Err(Error::Conflict { expected, found: previous });
        }
        let activation = Activation {
            revision: ready.revision.number,
            document: ready.revision.document,
            index: ready.index,
            previous,
            by: by.to_owned(),
            at: self.now(),
        };
        let value = serde_json::to_vec(&activation).map_err(|error| unreadable("JSON", error))?;
        let Err(error) = store.update(ACTIVE, value.into(), last).await else {
            return Ok(activation);
        };
        // After any other failure, it is not known whether it was written.
        let now = self.active().await;
        match now {
            Ok(Some(now)) if now == activation => Ok(activation),
            Ok(now) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                Err(Error::Conflict { expected, found: now.map(|now| now.revision) })
            }
            _ => Err(self.failed(
                &format!("activating revision {}", activation.revision),
                format!("{}; whether it is active is not known", full(&error)),
            )),
        }
    }

    /// The last activations, newest first. At most 64 are kept.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] or [`Error::Denied`].
    pub async fn activations(&self) -> Result<Vec<Activation>, Error> {
        let Some(store) = self.find(Bucket::Registry).await? else { return Ok(Vec::new()) };
        let failed = |error: String| self.failed("reading the history", error);
        let mut history = store.history(ACTIVE).await.map_err(|error| failed(full(&error)))?;
        let mut found = Vec::new();
        while let Some(entry) = history.next().await {
            let entry = entry.map_err(|error| failed(full(&error)))?;
            if entry.operation == Operation::Put {
                found.push(Activation::parse(&entry.value)?);
            }
        }
        found.reverse();
        Ok(found)
    }
}
