//! Revisions of a cluster's manifest.

use super::buckets::{Bucket, full};
use super::objects::MAX_DOCUMENT;
use super::{Registry, check_text, unreadable};
use crate::error::Error;
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
}

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
        let active = self.active().await?;
        let document = self.store(text.as_bytes()).await?;
        if let Some(active) = active.as_ref().filter(|active| active.document == document) {
            return self.revision(active.revision).await;
        }
        let store = self.bucket(Bucket::Registry).await?;
        let mut revision = Revision {
            number: self.last_number(&store).await? + 1,
            document,
            length: text.len() as u64,
            parent: active.map(|active| active.revision),
            author: author.to_owned(),
            note: note.map(str::to_owned),
            at: self.now(),
        };
        loop {
            let value = serde_json::to_vec(&revision).map_err(|error| unreadable("JSON", error))?;
            match store.create(key(revision.number), value.into()).await {
                Ok(_) => return Ok(revision),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
                Err(error) => {
                    // It is not known whether it was written.
                    let found = self.read_revision(&store, revision.number).await;
                    return match found {
                        Ok(Some(found)) if found == revision => Ok(revision),
                        _ => Err(self.failed("registering a revision", full(&error))),
                    };
                }
            }
            // Another deployer took the number.
            revision.number += 1;
        }
    }

    /// The highest number of a revision; 0 without any.
    async fn last_number(&self, store: &Store) -> Result<u64, Error> {
        // Numbers are taken in order, so that the last message has the highest.
        let subject = format!("{}revision.*", store.prefix);
        let found = store.stream.get_last_raw_message_by_subject(&subject).await;
        let message = match found {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(0),
            Err(error) => return Err(self.failed("finding the last revision", full(&error))),
        };
        let number = message.subject.rsplit('.').next().and_then(|last| last.parse().ok());
        number.ok_or_else(|| unreadable("the last revision", message.subject.as_str()))
    }

    async fn read_revision(&self, store: &Store, number: u64) -> Result<Option<Revision>, Error> {
        let what = format!("revision {number}");
        let value = store.get(key(number)).await;
        let value = value.map_err(|error| self.failed(&format!("reading {what}"), full(&error)))?;
        let parse = |value: bytes::Bytes| {
            serde_json::from_slice(&value).map_err(|error| unreadable(&what, error))
        };
        value.map(parse).transpose()
    }

    /// A revision.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownRevision`] if no revision has this number; otherwise [`Error::Registry`] or [`Error::Denied`].
    pub async fn revision(&self, number: u64) -> Result<Revision, Error> {
        let store = self.bucket(Bucket::Registry).await?;
        let found = self.read_revision(&store, number).await?;
        found.ok_or(Error::UnknownRevision(number))
    }

    /// The last revisions, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::Registry`] or [`Error::Denied`].
    pub async fn revisions(&self, limit: usize) -> Result<Vec<Revision>, Error> {
        let Some(store) = self.find(Bucket::Registry).await? else { return Ok(Vec::new()) };
        let last = self.last_number(&store).await?;
        let numbers = (1..=last).rev().take(limit);
        let read = numbers.map(|number| self.read_revision(&store, number));
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
            "the manifest has {} bytes; at most {MAX_DOCUMENT} are possible",
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
