//! `GET /problems` and `GET /problems/{code}`: what the codes of problems mean.

use super::descriptions::description;
use super::{Problem, ServerCode};
use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::routing::get;
use serde::Serialize;
use wpc_host::ErrorCode;

/// The code of a problem, and what it means.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) code: &'static str,
    /// The HTTP status.
    pub(crate) status: u16,
    pub(crate) json_rpc_code: i32,
    pub(crate) description: &'static str,
}

impl From<ErrorCode> for Entry {
    fn from(code: ErrorCode) -> Self {
        Self {
            code: code.as_str(),
            status: code.http_status(),
            json_rpc_code: code.json_rpc_code(),
            description: description(code),
        }
    }
}

impl From<ServerCode> for Entry {
    fn from(code: ServerCode) -> Self {
        Self {
            code: code.as_str(),
            status: code.status().as_u16(),
            json_rpc_code: code.json_rpc_code(),
            description: code.description(),
        }
    }
}

/// Every code of a problem document.
pub(crate) fn entries() -> impl Iterator<Item = Entry> {
    let of_server = ServerCode::ALL.iter().map(|code| Entry::from(*code));
    of_server.chain(ErrorCode::ALL.iter().map(|code| Entry::from(*code)))
}

pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> axum::Router<S> {
    axum::Router::new().route("/problems", get(list)).route("/problems/{code}", get(show))
}

async fn list() -> Json<Vec<Entry>> {
    Json(entries().collect())
}

async fn show(code: Result<Path<String>, PathRejection>) -> Result<Json<Entry>, Problem> {
    let Path(code) = code?;
    let entry = entries().find(|entry| entry.code == code);
    let unknown = || Problem::new(ServerCode::NotFound, "no problem has this code");
    entry.map(Json).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_unique_and_has_a_description() {
        let mut codes = BTreeSet::new();
        for entry in entries() {
            assert!(codes.insert(entry.code), "{} occurs twice", entry.code);
            assert!(entry.description.ends_with('.'), "{} has no description", entry.code);
            assert!((400..600).contains(&entry.status), "{}", entry.code);
        }
    }

    #[test]
    fn the_manual_lists_every_code() {
        let rows = entries().map(|entry| {
            let Entry { code, status, json_rpc_code, description } = entry;
            format!("| `{code}` | {status} | {json_rpc_code} | {description} |\n")
        });
        let table = format!(
            "| code | HTTP | JSON-RPC | meaning |\n|---|---|---|---|\n{}",
            rows.collect::<String>()
        );
        let manual = include_str!("../../../docs/server.md");
        assert!(manual.contains(&table), "docs/server.md needs this table:\n{table}");
    }
}
