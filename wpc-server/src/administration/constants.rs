//! `/v1/constants`: constants of the active revision, changed without repeating its manifest.

use super::revisions::{Activated, activated, check_note, present};
use super::{admit, blocking};
use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::deployments::{Change, ConstantChange, Deployments};
use crate::problem::Problem;
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use wpc_deploy::ConstantEntry;

type Name = Result<Path<String>, PathRejection>;

/// The constants as the active revision states them. A secret is only referred to.
pub(super) async fn list(
    State(application): State<Application>,
    principal: Principal,
) -> Result<Json<Value>, Problem> {
    let deployments = admit(&application, &principal, Scope::Observe)?;
    let answer = blocking(move || {
        let (active, constants) = deployments.constants()?;
        let shown: Vec<_> = constants.iter().map(|(name, entry)| shown(name, entry)).collect();
        Ok(json!({ "active": active, "constants": shown }))
    });
    answer.await.map(Json)
}

fn shown(name: &str, entry: &ConstantEntry) -> Value {
    match entry {
        ConstantEntry::Secret(reference) => json!({ "name": name, "secret": reference }),
        ConstantEntry::Value { value, ty: Some(ty), .. } => {
            json!({ "name": name, "type": ty, "value": value })
        }
        ConstantEntry::Value { value, .. } => json!({ "name": name, "value": value }),
        _ => json!({ "name": name }),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToSet {
    #[serde(default, deserialize_with = "some")]
    value: Option<Value>,
    #[serde(rename = "type")]
    ty: Option<String>,
    secret: Option<String>,
    /// The revision that must be active; `null` if none.
    #[serde(deserialize_with = "present")]
    expected: Option<u64>,
    note: Option<String>,
}

/// A member that is present, even if it is `null`.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl ToSet {
    fn entry(&mut self) -> Result<ConstantEntry, Problem> {
        match (self.value.take(), self.ty.take(), self.secret.take()) {
            (Some(value), ty, None) => Ok(ConstantEntry::value(value, ty)),
            (None, None, Some(reference)) => Ok(ConstantEntry::Secret(reference)),
            _ => Err(Problem::bad_request("expected either `value`, or `secret` without `type`")),
        }
    }
}

pub(super) async fn set(
    State(application): State<Application>,
    principal: Principal,
    name: Name,
    body: Result<Json<ToSet>, JsonRejection>,
) -> Result<Activated, Problem> {
    let deployments = admit(&application, &principal, Scope::Deploy)?;
    let (Path(name), Json(mut body)) = (name?, body?);
    let entry = body.entry()?;
    change(deployments, principal, name, Some(entry), body.expected, body.note).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToRemove {
    /// The revision that must be active.
    expected: u64,
    note: Option<String>,
}

pub(super) async fn remove(
    State(application): State<Application>,
    principal: Principal,
    name: Name,
    query: Result<Query<ToRemove>, QueryRejection>,
) -> Result<Activated, Problem> {
    let deployments = admit(&application, &principal, Scope::Deploy)?;
    let (Path(name), Query(query)) = (name?, query?);
    change(deployments, principal, name, None, Some(query.expected), query.note).await
}

async fn change(
    deployments: Deployments,
    principal: Principal,
    name: String,
    entry: Option<ConstantEntry>,
    expected: Option<u64>,
    note: Option<String>,
) -> Result<Activated, Problem> {
    check_note(note.as_ref())?;
    let change = blocking(move || {
        deployments.change_constant(&ConstantChange {
            author: principal.name(),
            name: &name,
            entry: entry.as_ref(),
            expected,
            note: note.as_deref(),
        })
    });
    change.await.map(|change: Change| activated(&change))
}
