//! Tokens in a TOML file, for a server without a data folder.

use super::quota::Quota;
use super::timestamp::Timestamp;
use super::token::TokenText;
use super::tokens::{NewToken, Record, TokenError, TokenInformation, new_record};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::path::Path;

/// The maximum size of a file: more than the maximum number of tokens needs.
const MAX_SIZE: u64 = 16 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tokens: Vec<FileEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: String,
    id: String,
    /// The SHA-256 of the token without its last eight digits.
    sha256: String,
    scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Quota::is_unlimited")]
    quota: Quota,
}

/// Reads the tokens of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Record>, TokenError> {
    let failed = |reason: String| TokenError::File { path: path.to_owned(), reason };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let read = file.take(MAX_SIZE + 1).read_to_string(&mut text);
    read.map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_SIZE {
        return Err(failed(format!("the file is larger than {MAX_SIZE} bytes")));
    }
    let file: File = toml::from_str(&text).map_err(|error| failed(error.message().to_owned()))?;
    let (mut ids, mut names) = (HashSet::new(), HashSet::new());
    let records = file.tokens.into_iter().map(|entry| {
        let of_token = |reason: &str| failed(format!("the token \"{}\": {reason}", entry.name));
        let id = entry.id.parse().map_err(|error| of_token(&format!("`id`: {error}")))?;
        if !ids.insert(id) || !names.insert(entry.name.clone()) {
            return Err(of_token("another token of the file has the same name or id"));
        }
        let FileEntry { name, sha256, scopes, expires, quota, .. } = entry;
        let (created, revoked) = (None, None);
        let token = TokenInformation { id, name, scopes, quota, created, expires, revoked };
        Ok(Record { sha256, token })
    });
    records.collect()
}

/// Adds a new token to the end of a file, which is created if it does not exist. A server reads it when it reloads.
///
/// # Errors
///
/// [`TokenError`].
pub fn add_token_to_file(
    path: &Path,
    new: NewToken,
) -> Result<(TokenInformation, TokenText), TokenError> {
    let failed = |reason: String| TokenError::File { path: path.to_owned(), reason };
    if path.exists() && read(path)?.iter().any(|record| record.token.name == new.name) {
        return Err(TokenError::NameTaken(new.name));
    }
    let (Record { sha256, token }, text) = new_record(new)?;
    let entry = FileEntry {
        name: token.name.clone(),
        id: token.id.to_string(),
        sha256,
        scopes: token.scopes.clone(),
        expires: token.expires,
        quota: token.quota,
    };
    let added = toml::to_string(&File { tokens: vec![entry] });
    let added = added.map_err(|error| failed(error.to_string()))?;
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| failed(error.to_string()))?;
    // In one write, so that a server that reloads meanwhile sees all of it or nothing.
    file.write_all(format!("\n{added}").as_bytes()).map_err(|error| failed(error.to_string()))?;
    file.sync_all().map_err(|error| failed(error.to_string()))?;
    Ok((token, text))
}
