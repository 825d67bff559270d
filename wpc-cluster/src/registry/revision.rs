//! Revisions of a cluster's manifest.

use super::buckets::{Bucket, full};
use super::objects::{MAX_DOCUMENT, READ_PAUSE};
use super::signature::{Opened, Record};
use super::{Registry, check_text, unreadable};
use crate::error::Error;
use crate::lag;
use async_nats::jetstream::kv::{CreateErrorKind, Store};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use wpc_deploy::document::{Packed, module_name, named_modules};
use wpc_deploy::{Problem, Source};
use wpc_host::Sha256Hash;

/// A revision of a cluster's manifest. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Revision {
    /// Its number. Numbers start at 1.
    pub number: u64,
    /// The SHA-256 of the manifest's text, in which modules are named by their SHA-256.
    pub document: Sha256Hash,
    /// The length of the text in bytes.
    pub length: u64,
    /// The revision that was active when it was registered.
    pub parent: Option<u64>,
    /// Who registered it.
    pub author: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When, by the server's clock, such as `2026-11-24T10:00:00.000Z`.
    pub at: String,
    /// The public key of the deployer that signed it, if this process knows the deployers. It is not stored.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

impl Record for Revision {
    const KIND: &'static str = "revision";

    fn title(&self) -> String {
        format!("the record of revision {}", self.number)
    }
}

/// The highest revision number without a trusted signature that is counted: the numbers after it are still exact in JSON.
const MAX_NUMBER: u64 = 1 << 52;

/// How many numbers are tried if others have taken them.
const MAX_TAKEN: usize = 1000;

/// How many objects are being stored at the same time.
const CONCURRENT: usize = 4;

/// The key of a revision.
pub(super) fn key(number: u64) -> String {
    format!("revision.{number}")
}

impl Registry {
    /// Registers a manifest with its modules. Nothing is activated. If the active revision has the same manifest, it is returned.
    ///
    /// # Errors
    ///
    /// [`Error::Problems`] if the manifest cannot be read, or if a module is missing or does not have the SHA-256 that is
    /// its name; otherwise [`Error::Registry`] or [`Error::Denied`].
    pub async fn stage(
        &self,
        packed: &Packed,
        author: &str,
        note: Option<&str>,
    ) -> Result<Revision, Error> {
        check_text("author", author)?;
        check_text("note", note.unwrap_or_default())?;
        // Before anything is stored.
        self.trust().can_sign()?;
        let modules = modules_of(packed)?;
        self.create().await?;
        let objects = modules.iter().map(|bytes| self.store(bytes));
        let _: Vec<_> = stream::iter(objects).buffer_unordered(CONCURRENT).try_collect().await?;
        self.register(&packed.text, author, note).await
    }

    /// Registers a manifest whose modules are stored.
    pub(super) async fn register(
        &self,
        text: &str,
        author: &str,
        note: Option<&str>,
    ) -> Result<Revision, Error> {
        let active = self.last_trusted().await?;
        let document = self.store(text.as_bytes()).await?;
        if let Some(active) = active.as_ref().filter(|active| active.document == document) {
            return self.revision(active.revision).await;
        }
        let store = self.bucket(Bucket::Registry).await?;
        let last = self.last_number(&store, active.as_ref().map(|active| active.revision)).await?;
        let mut revision = Revision {
            number: last + 1,
            document,
            length: text.len() as u64,
            parent: active.map(|active| active.revision),
            author: author.to_owned(),
            note: note.map(str::to_owned),
            at: self.now(),
            signer: None,
        };
        for _ in 0..MAX_TAKEN {
            let value = self.trust().seal(&revision)?;
            match store.create(key(revision.number), value).await {
                Ok(_) => return Ok(revision),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
                Err(error) => {
                    // It is not known whether it was written.
                    let found = self.read_revision(&store, revision.number).await;
                    let found = found.ok().flatten();
                    let found = found.map(|found| Revision { signer: None, ..found });
                    return if found.as_ref() == Some(&revision) {
                        Ok(revision)
                    } else {
                        Err(self.failed("registering a revision", full(&error)))
                    };
                }
            }
            // Another deployer took the number, or something that is not one.
            revision.number += 1;
        }
        let reason = format!("the {MAX_TAKEN} numbers before {} are taken", revision.number);
        Err(self.failed("registering a revision", reason))
    }

    /// The number of the last revision; 0 without any. If that one is not trusted, it is the number of the active revision.
    async fn last_number(&self, store: &Store, active: Option<u64>) -> Result<u64, Error> {
        // Numbers are taken in order, so the last message has the highest.
        let subject = format!("{}revision.*", store.prefix);
        let found = store.stream.get_last_raw_message_by_subject(&subject).await;
        let message = match found {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(active.unwrap_or(0));
            }
            Err(error) => return Err(self.failed("finding the last revision", full(&error))),
        };
        let last = self.open::<Revision>("the last revision", &message.payload);
        let last = last.and_then(Opened::trusted);
        Ok(match last {
            Ok(last) => last.number.max(active.unwrap_or(0)),
            Err(error) => {
                tracing::warn!(%error, "the last revision is not counted");
                let number = message.subject.rsplit('.').next().and_then(|last| last.parse().ok());
                active.or(number.filter(|number| *number <= MAX_NUMBER)).unwrap_or(0)
            }
        })
    }

    async fn read_revision(&self, store: &Store, number: u64) -> Result<Option<Revision>, Error> {
        let what = format!("revision {number}");
        let value = store.get(key(number)).await;
        let value = value.map_err(|error| self.failed(&format!("reading {what}"), full(&error)))?;
        let Some(value) = value else { return Ok(None) };
        let (mut found, signer) = self.open::<Revision>(&what, &value)?.signed()?;
        found.signer = signer;
        if found.number != number {
            let reason = format!("it is stored as revision {number}");
            return Err(Error::Untrusted { record: found.title(), reason });
        }
        Ok(Some(found))
    }

    /// A revision.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownRevision`] if no revision has this number, and [`Error::Untrusted`] if no known deployer signed it; otherwise
    /// [`Error::Registry`] or [`Error::Denied`].
    pub async fn revision(&self, number: u64) -> Result<Revision, Error> {
        let store = self.bucket(Bucket::Registry).await?;
        let is_missing = |read: &Result<_, _>| matches!(read, Ok(None));
        let read = lag::read(READ_PAUSE, || self.read_revision(&store, number), is_missing).await;
        read?.ok_or(Error::UnknownRevision(number))
    }

    /// The last revisions, newest first, without those that are not trusted.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] or [`Error::Denied`].
    pub async fn revisions(&self, limit: usize) -> Result<Vec<Revision>, Error> {
        let Some(store) = &self.find(Bucket::Registry).await? else { return Ok(Vec::new()) };
        let active = self.last_trusted().await?.map(|active| active.revision);
        let last = self.last_number(store, active).await?;
        let numbers = (1..=last).rev().take(limit);
        let read = numbers.map(|number| async move {
            match self.read_revision(store, number).await {
                Err(error @ Error::Untrusted { .. }) => {
                    tracing::warn!(%error, "a revision is not listed");
                    Ok(None)
                }
                read => read,
            }
        });
        let found: Vec<_> = stream::iter(read).buffered(16).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The text of a revision's manifest, in which modules are named by their SHA-256.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] if it cannot be read, is not stored, or is damaged.
    pub async fn document(&self, revision: &Revision) -> Result<String, Error> {
        let operation = format!("reading the manifest of revision {}", revision.number);
        let bytes = self.object(revision.document, MAX_DOCUMENT).await;
        let bytes = bytes.map_err(|error| error.of(&operation))?;
        String::from_utf8(bytes).map_err(|error| unreadable("a manifest", error))
    }
}

/// The modules of a manifest, each of which must have the SHA-256 that is its name.
fn modules_of(packed: &Packed) -> Result<Vec<&[u8]>, Error> {
    let refused = |message: String| Error::Problems(vec![Problem::environment(message)]);
    if packed.text.len() > MAX_DOCUMENT {
        return Err(refused(format!(
            "the manifest has {} bytes; the maximum is {MAX_DOCUMENT}",
            packed.text.len()
        )));
    }
    let source = Source::new(PathBuf::from(wpc_deploy::MANIFEST_NAME), packed.text.clone());
    let manifest = source.parse().map_err(|problem| Error::Problems(vec![problem]))?;
    let mut modules = Vec::new();
    for hash in named_modules(&source, &manifest).map_err(Error::Problems)? {
        let name = module_name(hash);
        match packed.modules.get(&name) {
            Some(bytes) if Sha256Hash::of(bytes) == hash => modules.push(&**bytes),
            Some(bytes) => {
                let found = Sha256Hash::of(bytes);
                return Err(refused(format!("the module {name} has the SHA-256 {found}")));
            }
            None => return Err(refused(format!("the module {name} is missing"))),
        }
    }
    Ok(modules)
}
