//! The tokens of a server: in its store, or in a file of the operator.
//!
//! Requests read a snapshot in memory. A change is written to the store first and then published, so that a token that was
//! revoked is refused from the next request on.

use super::principal::Principal;
use super::quota::Quota;
use super::scope::{self, InvalidScope};
use super::timestamp::Timestamp;
use super::token::{self, TokenHash, TokenId, TokenText};
use super::token_file;
use super::usage::Usage;
use super::validity::Validity;
use crate::store::{Store, StoreError};
use arc_swap::ArcSwap;
use redb::{ReadableTable as _, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Tokens by their id, as JSON of [`Record`].
const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens");

/// The maximum number of tokens, which are all in memory. A new token replaces the one that expired or was revoked first.
const MAX_TOKENS: usize = 10_000;

/// The maximum length of a name in bytes.
const MAX_NAME: usize = 100;

/// The tokens of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokens(Arc<Shared>);

struct Shared {
    source: Source,
    /// Read by each request.
    snapshot: ArcSwap<Snapshot>,
    /// A client without a token, and how long it may do everything: until the first token is created.
    anonymous: Principal,
    open: Arc<Validity>,
    /// Held while the tokens change.
    change: Mutex<()>,
}

/// Without the tokens.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("source", &self.source).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Source {
    Store(Store),
    File(PathBuf),
}

type Snapshot = HashMap<TokenId, Entry>;

/// A token with the data that its requests need.
#[derive(Clone)]
struct Entry {
    record: Record,
    hash: TokenHash,
    principal: Principal,
    usage: Arc<Usage>,
    validity: Arc<Validity>,
}

/// A token as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) sha256: String,
    pub(super) token: TokenInformation,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenInformation {
    /// Identifies it.
    #[serde(with = "id_text")]
    pub id: TokenId,
    /// The name of its holder in logs and in the history.
    pub name: String,
    /// Its scopes, such as `call:image_*`.
    pub scopes: Vec<String>,
    /// Its quotas.
    #[serde(default, skip_serializing_if = "Quota::is_unlimited")]
    pub quota: Quota,
    /// When it was created; `None` if it is from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it expires; `None` if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

/// The description of a new token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NewToken {
    /// The name of its holder, at most 100 bytes. No other valid token has it.
    pub name: String,
    /// Its scopes: `call:NAME` (`*` at the end of NAME matches any suffix), `call`, `observe`, `deploy` or `admin`.
    pub scopes: Vec<String>,
    /// Its quotas. Default: not limited.
    #[serde(default)]
    pub quota: Quota,
    /// When it expires. Default: never.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

/// Why tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read, or an entry is invalid.
    #[error("failed to read the tokens of \"{}\": {reason}", path.display())]
    #[non_exhaustive]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A new token is invalid.
    #[error("{0}")]
    Invalid(String),
    /// Another valid token has the name.
    #[error("there is a token with the name \"{0}\"; revoke it, or choose another name")]
    NameTaken(String),
    /// No valid token has the id or name.
    #[error("no valid token has the id or name \"{0}\"")]
    NotFound(String),
    /// There are too many tokens.
    #[error("there are {MAX_TOKENS} valid tokens; revoke those that are not used")]
    TooMany,
    /// The tokens are in a file, which the server does not write.
    #[error("the tokens of this server are in \"{}\"; change the file, and send SIGHUP", .0.display())]
    ReadOnly(PathBuf),
    /// The operating system's random number generator failed.
    #[error("failed to generate a token: {0}")]
    Random(#[from] std::io::Error),
}

impl From<InvalidScope> for TokenError {
    fn from(error: InvalidScope) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The request has no token.
    Missing,
    Malformed,
    Unknown,
    Expired,
    Revoked,
}

impl Rejection {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Tokens {
    /// The tokens in a store.
    ///
    /// # Errors
    ///
    /// [`TokenError::Store`].
    pub fn of_store(store: Store) -> Result<Self, TokenError> {
        let records = read(&store)?;
        Self::new(Source::Store(store), records)
    }

    /// The tokens in a TOML file, which [`Tokens::reload`] reads again.
    ///
    /// # Errors
    ///
    /// [`TokenError::File`].
    pub fn of_file(path: &Path) -> Result<Self, TokenError> {
        let records = token_file::read(path)?;
        Self::new(Source::File(path.to_owned()), records)
    }

    fn new(source: Source, records: Vec<Record>) -> Result<Self, TokenError> {
        let snapshot = snapshot(records, &Snapshot::new())?;
        let snapshot = ArcSwap::from_pointee(snapshot);
        let open = Arc::new(Validity::until_tokens_are_required());
        let anonymous = Principal::anonymous_until(Arc::clone(&open));
        Ok(Self(Arc::new(Shared { source, snapshot, anonymous, open, change: Mutex::new(()) })))
    }

    /// Whether requests need a token: always with a file, and with a store from the first token on, even if it is revoked.
    #[must_use]
    pub fn are_required(&self) -> bool {
        matches!(self.0.source, Source::File(_)) || !self.0.snapshot.load().is_empty()
    }

    /// Reads the file again. If it is invalid, the tokens stay as they are. Streams and WebSockets of tokens that were
    /// removed or have other rights end. The tokens of a store are always current.
    ///
    /// # Errors
    ///
    /// [`TokenError::File`].
    pub fn reload(&self) -> Result<(), TokenError> {
        let Source::File(path) = &self.0.source else { return Ok(()) };
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let records = token_file::read(path)?;
        let changed = Arc::new(snapshot(records, &self.0.snapshot.load())?);
        let before = self.0.snapshot.swap(Arc::clone(&changed));
        for (id, entry) in &*before {
            let now = changed.get(id).map(|entry| &entry.validity);
            if !now.is_some_and(|validity| Arc::ptr_eq(validity, &entry.validity)) {
                entry.validity.revoke();
            }
        }
        Ok(())
    }

    /// All tokens, sorted by name, including revoked and expired ones.
    #[must_use]
    pub fn list(&self) -> Vec<TokenInformation> {
        let snapshot = self.0.snapshot.load();
        let mut tokens: Vec<_> =
            snapshot.values().map(|entry| entry.record.token.clone()).collect();
        tokens.sort_by(|a, b| (&a.name, a.created, a.id).cmp(&(&b.name, b.created, b.id)));
        tokens
    }

    /// Creates a token. Its text is not kept. Blocks until it is on disk. With the first one, the event streams, streams of items and
    /// WebSockets of clients without a token end.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn create(&self, new: NewToken) -> Result<(TokenInformation, TokenText), TokenError> {
        let store = self.store()?;
        let (record, text) = new_record(new)?;
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Snapshot::clone(&self.0.snapshot.load());
        let now = Timestamp::now();
        let is_valid = |entry: &&Entry| validity(&entry.record.token, now).is_ok();
        let name = &record.token.name;
        if changed.values().filter(is_valid).any(|entry| entry.record.token.name == *name) {
            return Err(TokenError::NameTaken(name.clone()));
        }
        if changed.contains_key(&record.token.id) {
            // One of 2^32; the caller may try again.
            return Err(std::io::Error::other("two tokens have the same id; try again").into());
        }
        let replaced = if changed.len() >= MAX_TOKENS {
            let ended = changed.values().filter(|entry| !is_valid(entry));
            let first =
                ended.min_by_key(|entry| entry.record.token.revoked.or(entry.record.token.expires));
            Some(first.ok_or(TokenError::TooMany)?.record.token.id)
        } else {
            None
        };
        let information = record.token.clone();
        let entry = entry(record, &changed)?;
        let (id, value) = (information.id.to_string(), json(&entry.record));
        store.write(|transaction| {
            let mut table = transaction.open_table(TABLE)?;
            table.insert(&*id, &*value)?;
            if let Some(replaced) = replaced {
                table.remove(&*replaced.to_string())?;
            }
            Ok(())
        })?;
        if let Some(replaced) = replaced {
            changed.remove(&replaced);
        }
        changed.insert(information.id, entry);
        self.0.snapshot.store(Arc::new(changed));
        // The streams and WebSockets of clients without a token end.
        self.0.open.revoke();
        Ok((information, text))
    }

    /// Revokes the valid token with this id or name, from the next request on. Its event streams, streams of items and WebSockets
    /// end. Blocks until that is on disk.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn revoke(&self, id_or_name: &str) -> Result<TokenInformation, TokenError> {
        let store = self.store()?;
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Snapshot::clone(&self.0.snapshot.load());
        let now = Timestamp::now();
        let id = id_or_name.parse::<TokenId>().ok();
        let is_meant = |token: &TokenInformation| Some(token.id) == id || token.name == id_or_name;
        let found = changed.values_mut().find(|entry| {
            is_meant(&entry.record.token) && validity(&entry.record.token, now).is_ok()
        });
        let entry = found.ok_or_else(|| TokenError::NotFound(id_or_name.to_owned()))?;
        entry.record.token.revoked = Some(now);
        let information = entry.record.token.clone();
        let validity = Arc::clone(&entry.validity);
        let (id, value) = (information.id.to_string(), json(&entry.record));
        store.write(|transaction| {
            transaction.open_table(TABLE)?.insert(&*id, &*value)?;
            Ok(())
        })?;
        self.0.snapshot.store(Arc::new(changed));
        validity.revoke();
        Ok(information)
    }

    /// A client without a token, while none is required.
    pub(super) fn anonymous(&self) -> Principal {
        self.0.anonymous.clone()
    }

    /// The principal of a token.
    pub(super) fn authenticate(&self, text: &str) -> Result<Principal, Rejection> {
        let (id, hash) = token::parse(text).ok_or(Rejection::Malformed)?;
        let snapshot = self.0.snapshot.load();
        let entry = snapshot.get(&id).ok_or(Rejection::Unknown)?;
        if !entry.hash.is(&hash) {
            return Err(Rejection::Unknown);
        }
        validity(&entry.record.token, Timestamp::now())?;
        Ok(entry.principal.clone())
    }

    fn store(&self) -> Result<&Store, TokenError> {
        match &self.0.source {
            Source::Store(store) => Ok(store),
            Source::File(path) => Err(TokenError::ReadOnly(path.clone())),
        }
    }
}

/// The names of authors and principals that are no tokens.
const RESERVED_NAMES: [&str; 4] = ["anonymous", "file", "server", "unauthenticated"];

/// Checks a new token, and generates its text.
pub(super) fn new_record(new: NewToken) -> Result<(Record, TokenText), TokenError> {
    let NewToken { name, scopes, quota, expires } = new;
    let is_printable = !name.chars().any(char::is_control);
    if name.is_empty() || name.len() > MAX_NAME || !is_printable {
        let message =
            format!("expected a name of 1 to {MAX_NAME} bytes without control characters");
        return Err(TokenError::Invalid(message));
    }
    if RESERVED_NAMES.contains(&&*name) {
        return Err(TokenError::Invalid(format!(
            "the name \"{name}\" is reserved; choose another one"
        )));
    }
    if scopes.is_empty() {
        return Err(TokenError::Invalid("expected at least one scope".to_owned()));
    }
    let now = Timestamp::now();
    if let Some(expires) = expires.filter(|expires| *expires <= now) {
        let message = format!("expected an expiry time in the future, found {expires}");
        return Err(TokenError::Invalid(message));
    }
    scope::parse(&scopes)?;
    let (id, text, hash) = token::generate()?;
    let created = Some(now);
    let token = TokenInformation { id, name, scopes, quota, created, expires, revoked: None };
    Ok((Record { sha256: hash.to_text(), token }, text))
}

fn validity(token: &TokenInformation, now: Timestamp) -> Result<(), Rejection> {
    if token.revoked.is_some() {
        return Err(Rejection::Revoked);
    }
    match token.expires {
        Some(expires) if expires <= now => Err(Rejection::Expired),
        _ => Ok(()),
    }
}

fn read(store: &Store) -> Result<Vec<Record>, StoreError> {
    store.read(|transaction| {
        let table = match transaction.open_table(TABLE) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        table
            .iter()?
            .map(|row| {
                let (id, value) = row?;
                serde_json::from_slice(value.value()).map_err(|error| {
                    redb::Error::Corrupted(format!("the token {}: {error}", id.value()))
                })
            })
            .collect()
    })
}

fn json(record: &Record) -> Vec<u8> {
    // Its keys are strings.
    serde_json::to_vec(record).unwrap_or_default()
}

/// A snapshot of these tokens, which keeps the usage of the tokens in `before`.
fn snapshot(records: Vec<Record>, before: &Snapshot) -> Result<Snapshot, TokenError> {
    let entries = records.into_iter().map(|record| {
        let entry = entry(record, before)?;
        Ok((entry.record.token.id, entry))
    });
    entries.collect()
}

fn entry(record: Record, before: &Snapshot) -> Result<Entry, TokenError> {
    let token = &record.token;
    let invalid = |reason| TokenError::Invalid(format!("the token \"{}\": {reason}", token.name));
    let hash = TokenHash::from_text(&record.sha256)
        .ok_or_else(|| invalid("expected 64 hexadecimal digits in `sha256`".to_owned()))?;
    let (scopes, functions) =
        scope::parse(&token.scopes).map_err(|error| invalid(error.to_string()))?;
    let known = before.get(&token.id);
    let has_same_rights = |entry: &&Entry| {
        let known = &entry.record;
        (&known.sha256, &known.token.scopes, known.token.expires)
            == (&record.sha256, &token.scopes, token.expires)
    };
    let validity = match known.filter(has_same_rights) {
        Some(entry) => Arc::clone(&entry.validity),
        None => Arc::new(Validity::new(token.expires)),
    };
    let usage = match known {
        Some(entry) => {
            entry.usage.set_quota(token.quota);
            Arc::clone(&entry.usage)
        }
        None => Usage::new(token.quota),
    };
    let limited = (!token.quota.is_unlimited()).then(|| Arc::clone(&usage));
    let shared = Arc::clone(&validity);
    let principal = Principal::with_token(&token.name, scopes, functions, limited, shared);
    Ok(Entry { hash, principal, usage, validity, record })
}

/// Ids as text.
mod id_text {
    use super::TokenId;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(id: &TokenId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<TokenId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
