//! The history of deployments: revisions, which never change, and activations.
//!
//! The transaction that appends a revision also removes the oldest ones, so that a bounded number is kept. The active one and the
//! one that was active before it are always kept.

use crate::store::{Store, StoreError};
use redb::{ReadableTable as _, ReadableTableMetadata as _, TableDefinition};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;
use wpc_host::Sha256Hash;

/// Revisions as JSON by number.
const REVISIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("revisions");

/// Texts of manifests by SHA-256: revisions with the same content share it.
const TEXTS: TableDefinition<'_, &str, &str> = TableDefinition::new("texts");

/// Activations as JSON, in their order.
const ACTIVATIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("activations");

/// The number of the active revision under [`ACTIVE`].
const STATE: TableDefinition<'_, &str, u64> = TableDefinition::new("state");
const ACTIVE: &str = "active";

/// The SHA-256 of the text that was last deployed from each origin.
const ORIGINS: TableDefinition<'_, &str, &str> = TableDefinition::new("origins");

/// How many revisions are kept by default: months of usual changes, and a few MB.
const DEFAULT_KEEP: NonZeroUsize = NonZeroUsize::new(100).expect("it is not zero");

/// A revision without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Revision {
    /// Its number: one more than that of the revision before, beginning at 1.
    pub number: u64,
    /// The revision that it was made from, which may have been removed since; `None` for the first one.
    pub parent: Option<u64>,
    /// When it was registered: UTC, as in RFC 3339.
    pub time: String,
    /// The name of the client that registered it.
    pub author: String,
    /// The reason, in its author's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The SHA-256 of its manifest.
    pub manifest_sha256: Sha256Hash,
}

/// A change to the active revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Activation {
    /// The revision that became active.
    pub revision: u64,
    /// The revision that was active before.
    pub previous: Option<u64>,
    /// When: UTC, as in RFC 3339.
    pub time: String,
    /// The name of the client.
    pub author: String,
}

/// A revision to append, without its text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct New<'a> {
    pub(crate) parent: Option<u64>,
    pub(crate) author: &'a str,
    pub(crate) note: Option<&'a str>,
    /// The origin of the text, if it is recorded.
    pub(crate) origin: Option<&'a str>,
}

/// The target of an activation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    Existing(u64),
    New(New<'a>, &'a str),
}

#[derive(Debug, Clone)]
pub(crate) struct Revisions {
    store: Store,
    /// How many revisions, and how many activations, are kept.
    keep: Arc<AtomicUsize>,
}

/// The result of [`Revisions::activate`].
#[derive(Debug)]
#[must_use]
pub(crate) enum Activated {
    Done(u64),
    /// A revision other than the expected one is active. Nothing was changed.
    Conflict(Option<u64>),
    /// This revision does not exist. Nothing was changed.
    Missing(u64),
}

impl Revisions {
    pub(crate) fn open(store: Store) -> Result<Self, StoreError> {
        // The tables are created once, so that readers need not handle missing ones.
        store.write(|transaction| {
            transaction.open_table(REVISIONS)?;
            transaction.open_table(TEXTS)?;
            transaction.open_table(ACTIVATIONS)?;
            transaction.open_table(STATE)?;
            transaction.open_table(ORIGINS)?;
            Ok(())
        })?;
        Ok(Self { store, keep: Arc::new(AtomicUsize::new(DEFAULT_KEEP.get())) })
    }

    /// Sets how many revisions are kept, and removes those beyond it. Returns how many were removed.
    pub(crate) fn keep(&self, count: NonZeroUsize) -> Result<usize, StoreError> {
        self.keep.store(count.get(), Relaxed);
        self.store.write(|transaction| prune(transaction, count.get()))
    }

    fn kept(&self) -> usize {
        self.keep.load(Relaxed)
    }

    pub(crate) fn append(&self, new: New<'_>, text: &str) -> Result<Revision, StoreError> {
        self.store.write(|transaction| {
            let revision = append(transaction, new, text)?;
            prune(transaction, self.kept())?;
            Ok(revision)
        })
    }

    /// The texts of all revisions, each once.
    pub(crate) fn visit_texts(&self, mut visit: impl FnMut(&str)) -> Result<(), StoreError> {
        self.store.read(|transaction| {
            for entry in transaction.open_table(TEXTS)?.iter()? {
                visit(entry?.1.value());
            }
            Ok(())
        })
    }

    /// Undoes the last activation, if it was that of `active`: the revision before it is active again, and the history does not list it.
    pub(crate) fn undo(&self, active: u64) -> Result<(), StoreError> {
        self.store.write(|transaction| {
            let mut state = transaction.open_table(STATE)?;
            if state.get(ACTIVE)?.is_none_or(|number| number.value() != active) {
                return Ok(());
            }
            let mut activations = transaction.open_table(ACTIVATIONS)?;
            let last = activations.pop_last()?;
            let last = last.map(|(_, last)| parse::<Activation>(last.value())).transpose()?;
            match last.and_then(|last| last.previous) {
                Some(previous) => state.insert(ACTIVE, previous)?,
                None => state.remove(ACTIVE)?,
            };
            Ok(())
        })
    }

    /// Activates a revision, if the active one is the expected one. A new revision is appended in the same transaction.
    pub(crate) fn activate(
        &self,
        target: Target<'_>,
        expected: Option<u64>,
        author: &str,
    ) -> Result<Activated, StoreError> {
        self.store.write(|transaction| {
            let mut state = transaction.open_table(STATE)?;
            let previous = state.get(ACTIVE)?.map(|number| number.value());
            if previous != expected {
                return Ok(Activated::Conflict(previous));
            }
            let revision = match target {
                Target::Existing(number) => {
                    if transaction.open_table(REVISIONS)?.get(number)?.is_none() {
                        return Ok(Activated::Missing(number));
                    }
                    number
                }
                Target::New(new, text) => append(transaction, new, text)?.number,
            };
            state.insert(ACTIVE, revision)?;
            let mut activations = transaction.open_table(ACTIVATIONS)?;
            let number = next(&activations)?;
            let activation =
                Activation { revision, previous, time: now(), author: author.to_owned() };
            activations.insert(number, json(&activation)?.as_slice())?;
            drop((state, activations));
            prune(transaction, self.kept())?;
            Ok(Activated::Done(revision))
        })
    }

    /// The number of the active revision.
    pub(crate) fn active(&self) -> Result<Option<u64>, StoreError> {
        self.store.read(|transaction| {
            Ok(transaction.open_table(STATE)?.get(ACTIVE)?.map(|number| number.value()))
        })
    }

    /// A revision with its text.
    pub(crate) fn get(&self, number: u64) -> Result<Option<(Revision, String)>, StoreError> {
        self.store.read(|transaction| {
            let revisions = transaction.open_table(REVISIONS)?;
            let Some(found) = revisions.get(number)? else { return Ok(None) };
            let revision: Revision = parse(found.value())?;
            let texts = transaction.open_table(TEXTS)?;
            let text = texts.get(revision.manifest_sha256.to_string().as_str())?;
            let text = text.ok_or_else(|| damaged(format!("revision {number} has no text")))?;
            let text = text.value().to_owned();
            Ok(Some((revision, text)))
        })
    }

    /// Revisions below `before`, the newest first.
    pub(crate) fn list(&self, before: u64, limit: usize) -> Result<Vec<Revision>, StoreError> {
        self.store.read(|transaction| {
            let revisions = transaction.open_table(REVISIONS)?;
            let found = revisions.range(..before)?.rev().take(limit);
            found.map(|entry| parse(entry?.1.value())).collect()
        })
    }

    /// The newest activations first.
    pub(crate) fn activations(&self, limit: usize) -> Result<Vec<Activation>, StoreError> {
        self.store.read(|transaction| {
            let activations = transaction.open_table(ACTIVATIONS)?;
            let found = activations.range(0..)?.rev().take(limit);
            found.map(|entry| parse(entry?.1.value())).collect()
        })
    }

    /// Whether the text is the one that was last deployed from the origin.
    pub(crate) fn is_last_of(&self, origin: &str, text: &str) -> Result<bool, StoreError> {
        self.store.read(|transaction| {
            let last =
                transaction.open_table(ORIGINS)?.get(origin)?.map(|hash| hash.value().to_owned());
            Ok(last == Some(Sha256Hash::of(text.as_bytes()).to_string()))
        })
    }
}

fn append(
    transaction: &redb::WriteTransaction,
    new: New<'_>,
    text: &str,
) -> Result<Revision, redb::Error> {
    let mut revisions = transaction.open_table(REVISIONS)?;
    let manifest_sha256 = Sha256Hash::of(text.as_bytes());
    let revision = Revision {
        number: next(&revisions)?,
        parent: new.parent,
        time: now(),
        author: new.author.to_owned(),
        note: new.note.map(str::to_owned),
        manifest_sha256,
    };
    revisions.insert(revision.number, json(&revision)?.as_slice())?;
    let hash = manifest_sha256.to_string();
    transaction.open_table(TEXTS)?.insert(hash.as_str(), text)?;
    if let Some(origin) = new.origin {
        transaction.open_table(ORIGINS)?.insert(origin, hash.as_str())?;
    }
    Ok(revision)
}

/// Removes all but the newest `keep` revisions and activations, and texts that no other revision has. The active revision and the
/// one before it are kept. Returns how many revisions were removed.
fn prune(transaction: &redb::WriteTransaction, keep: usize) -> Result<usize, redb::Error> {
    let active = transaction.open_table(STATE)?.get(ACTIVE)?.map(|number| number.value());
    let mut activations = transaction.open_table(ACTIVATIONS)?;
    let (mut previous, mut needed) = (None, 0);
    for entry in activations.range(0..)?.rev() {
        let activation: Activation = parse(entry?.1.value())?;
        if Some(activation.revision) != active {
            break;
        }
        // The active one may have been activated several times in a row.
        (previous, needed) = (activation.previous, needed + 1);
        if previous != active {
            break;
        }
    }
    while activations.len()? > keep.max(needed) as u64 {
        activations.pop_first()?;
    }
    let mut revisions = transaction.open_table(REVISIONS)?;
    let excess = revisions.len()?.saturating_sub(keep as u64);
    if excess == 0 {
        return Ok(0);
    }
    let mut oldest = Vec::new();
    for entry in revisions.range(0..)?.take(usize::try_from(excess).unwrap_or(usize::MAX)) {
        let number = entry?.0.value();
        if Some(number) != active && Some(number) != previous {
            oldest.push(number);
        }
    }
    if oldest.is_empty() {
        return Ok(0);
    }
    let mut unused = HashSet::new();
    for number in &oldest {
        if let Some(removed) = revisions.remove(number)? {
            unused.insert(parse::<Revision>(removed.value())?.manifest_sha256);
        }
    }
    for entry in revisions.range(0..)? {
        unused.remove(&parse::<Revision>(entry?.1.value())?.manifest_sha256);
    }
    let mut texts = transaction.open_table(TEXTS)?;
    for hash in unused {
        texts.remove(hash.to_string().as_str())?;
    }
    Ok(oldest.len())
}

/// The number after the last one.
fn next(table: &redb::Table<'_, u64, &'static [u8]>) -> Result<u64, redb::Error> {
    Ok(table.last()?.map_or(1, |(last, _)| last.value() + 1))
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(value).map_err(|error| damaged(error.to_string()))
}

fn parse<T: for<'de> Deserialize<'de>>(json: &[u8]) -> Result<T, redb::Error> {
    serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))
}

fn damaged(message: String) -> redb::Error {
    redb::Error::Corrupted(message)
}
