//! The active revision, and the earlier activations.

use super::buckets::{Bucket, full};
use super::signature::{Opened, Record};
use super::{Readiness, Registry, check_text};
use crate::error::Error;
use async_nats::jetstream::kv::{Entry, Operation, Store, UpdateErrorKind};
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
    /// It grows with each activation: the server's time in milliseconds since 1970, or one more than that of the activation before.
    /// A process that knows the deployer keys ignores an activation with a smaller number than the last one.
    pub order: u64,
}

impl Record for Activation {
    const KIND: &'static str = "activation";

    fn title(&self) -> String {
        format!("the activation of revision {}", self.revision)
    }
}

/// An activation that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Active {
    pub(crate) activation: Activation,
    /// As it is stored, with its signature.
    pub(crate) record: Bytes,
}

/// What the registry states about the active revision.
#[derive(Debug, Default)]
pub(crate) struct Stated {
    /// The newest activation that is trusted.
    pub(crate) active: Option<Active>,
    /// The sequence number of the last change, 0 before the first.
    pub(crate) sequence: u64,
    /// Why the last change is ignored.
    pub(crate) ignored: Option<Error>,
}

/// The newest activation that a process knows, by its order. An older one is ignored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known(u64);

impl Known {
    /// This activation, or none.
    pub(crate) fn of(active: Option<&Active>) -> Self {
        Self(active.map_or(0, |active| active.activation.order))
    }

    /// What a value of `active` states; an error if it is not trusted, or older than what is known.
    pub(crate) fn accept(&mut self, registry: &Registry, value: &Bytes) -> Result<Active, Error> {
        let opened = registry.open::<Activation>("the active revision", value)?;
        let activation = opened.trusted()?;
        if registry.trust().requires_signatures() && activation.order < self.0 {
            let reason = "a newer activation is known; something has written this one again";
            return Err(Error::Untrusted { record: activation.title(), reason: reason.to_owned() });
        }
        self.0 = activation.order;
        Ok(Active { activation, record: value.clone() })
    }
}

impl Registry {
    /// The active revision; `None` if nothing has been activated yet. If the deployer keys are known, it is the last one that a deployer
    /// activated, even if something else has written to the registry since.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] or [`Error::Denied`]; [`Error::Untrusted`] if there are activations and none is trusted.
    pub async fn active(&self) -> Result<Option<Activation>, Error> {
        let Some(store) = self.find(Bucket::Registry).await? else { return Ok(None) };
        match self.stated(&store).await? {
            Stated { active: Some(active), .. } => Ok(Some(active.activation)),
            Stated { ignored: Some(error), .. } => Err(error),
            Stated { .. } => Ok(None),
        }
    }

    /// The revision of the last activation that is trusted; `None` without one, whatever the registry states. The next
    /// deployment replaces it.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] or [`Error::Denied`].
    pub async fn last_trusted(&self) -> Result<Option<Activation>, Error> {
        let Some(store) = self.find(Bucket::Registry).await? else { return Ok(None) };
        let stated = self.stated(&store).await?;
        if let Some(error) = stated.ignored {
            tracing::warn!(%error, "the registry does not state what a deployer activated last");
        }
        Ok(stated.active.map(|active| active.activation))
    }

    /// What the registry states about the active revision. If the deployer keys are known, its history is searched, because the last change
    /// may not be that of a deployer.
    pub(crate) async fn stated(&self, store: &Store) -> Result<Stated, Error> {
        let entries = if self.trust().requires_signatures() {
            self.activation_history(store).await?
        } else {
            let entry = store.entry(ACTIVE).await;
            let failed = |error| self.failed("reading the active revision", full(&error));
            entry.map_err(failed)?.into_iter().collect()
        };
        let mut stated = Stated::default();
        let mut known = Known::default();
        for entry in entries {
            (stated.sequence, stated.ignored) = (entry.revision, None);
            if entry.operation != Operation::Put {
                // Without signatures, a deletion cannot be distinguished from that of an operator.
                if !self.trust().requires_signatures() {
                    stated.active = None;
                }
                continue;
            }
            match known.accept(self, &entry.value) {
                Ok(active) => stated.active = Some(active),
                Err(error) => stated.ignored = Some(error),
            }
        }
        Ok(stated)
    }

    /// The last changes to the active revision, oldest first. At most 64 are kept.
    async fn activation_history(&self, store: &Store) -> Result<Vec<Entry>, Error> {
        let failed = |error: String| self.failed("reading the history", error);
        let mut history = store.history(ACTIVE).await.map_err(|error| failed(full(&error)))?;
        let mut found = Vec::new();
        while let Some(entry) = history.next().await {
            found.push(entry.map_err(|error| failed(full(&error)))?);
        }
        Ok(found)
    }

    /// Activates a revision for which nodes are ready, if the active one is the expected one.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if another one is active, and [`Error::Options`] if this process cannot sign. In both cases, nothing has
    /// changed. After [`Error::Registry`] it is not known whether the revision was activated.
    pub async fn activate(
        &self,
        ready: &Readiness,
        expected: Option<u64>,
        by: &str,
    ) -> Result<Activation, Error> {
        check_text("name", by)?;
        let store = self.bucket(Bucket::Registry).await?;
        let stated = self.stated(&store).await?;
        if let Some(error) = &stated.ignored {
            tracing::warn!(%error, "something other than a deployer has changed the active revision");
        }
        let found = stated.active.map(|active| active.activation);
        let previous = found.as_ref().map(|found| found.revision);
        if previous != expected {
            return Err(Error::Conflict { expected, found: previous });
        }
        let after = found.map_or(0, |found| found.order.saturating_add(1));
        let activation = Activation {
            revision: ready.revision.number,
            document: ready.revision.document,
            index: ready.index,
            previous,
            by: by.to_owned(),
            at: self.now(),
            order: self.0.connection.now_ms().max(after),
        };
        let value = self.trust().seal(&activation)?;
        let Err(error) = store.update(ACTIVE, value, stated.sequence).await else {
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

    /// The last activations, newest first, without those that are not trusted. At most 64 are kept.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] or [`Error::Denied`].
    pub async fn activations(&self) -> Result<Vec<Activation>, Error> {
        let Some(store) = self.find(Bucket::Registry).await? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in self.activation_history(&store).await? {
            if entry.operation != Operation::Put {
                continue;
            }
            let opened = self.open::<Activation>("an activation", &entry.value);
            match opened.and_then(Opened::trusted) {
                Ok(activation) => found.push(activation),
                Err(error) => tracing::warn!(%error, "an activation is not listed"),
            }
        }
        found.reverse();
        Ok(found)
    }
}
