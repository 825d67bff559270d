//! `/v1/revisions`, `/v1/active` and `/v1/rollback`.

use super::{admit, blocking, problems};
use crate::access::{AuditSubject, Principal, Scope};
use crate::application::Application;
use crate::deployments::{Change, Registration, Rollback};
use crate::problem::Problem;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest as _, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http_body::Body as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// How many revisions a response lists.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1000;

/// The maximum length of a note in bytes.
const MAX_NOTE: usize = 4096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    before: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(application): State<Application>,
    principal: Principal,
    query: Result<Query<Listing>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let deployments = admit(&application, &principal, Scope::Observe)?;
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let answer = blocking(move || {
        let revisions = deployments.revisions().list(query.before.unwrap_or(u64::MAX), limit)?;
        let activations = deployments.revisions().activations(limit)?;
        let active = deployments.state().active;
        Ok(json!({ "active": active, "revisions": revisions, "activations": activations }))
    });
    answer.await.map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mode {
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToRegister {
    manifest: String,
    base: Option<u64>,
    note: Option<String>,
}

pub(super) async fn register(
    State(application): State<Application>,
    principal: Principal,
    mode: Result<Query<Mode>, QueryRejection>,
    body: Result<Json<ToRegister>, JsonRejection>,
) -> Result<Response, Problem> {
    let deployments = admit(&application, &principal, Scope::Deploy)?;
    let Query(mode) = mode?;
    let Json(body) = body?;
    check_note(body.note.as_ref())?;
    let answer = blocking(move || {
        let note = body.note.as_deref();
        let author = principal.name();
        let registration = Registration { author, text: body.manifest, base: body.base, note };
        let registered = deployments.register(registration, mode.dry_run)?;
        let status = if registered.is_new { StatusCode::CREATED } else { StatusCode::OK };
        let subject = registered.revision.as_ref();
        let subject = subject.map(|revision| Extension(AuditSubject::Revision(revision.number)));
        let registered = json!({
            "revision": registered.revision,
            "changes": registered.differences,
            "pool_outdated": registered.is_pool_outdated,
        });
        Ok((status, subject, Json(registered)))
    });
    answer.await.map(IntoResponse::into_response)
}

pub(super) async fn show(
    State(application): State<Application>,
    principal: Principal,
    number: Result<Path<u64>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let deployments = admit(&application, &principal, Scope::Observe)?;
    let Path(number) = number?;
    let answer = blocking(move || {
        let (revision, manifest) = deployments.revision(number)?;
        Ok(json!({ "revision": revision, "manifest": manifest }))
    });
    answer.await.map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// The revision to compare with; without one, the revision's parent.
    from: Option<u64>,
}

pub(super) async fn difference(
    State(application): State<Application>,
    principal: Principal,
    number: Result<Path<u64>, PathRejection>,
    query: Result<Query<From>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let deployments = admit(&application, &principal, Scope::Observe)?;
    let Path(number) = number?;
    let Query(query) = query?;
    let answer = blocking(move || {
        let (revision, after) = deployments.revision(number)?;
        let from = query.from.or(revision.parent);
        let before = match from {
            Some(from) => deployments.revision(from)?.1,
            None => String::new(),
        };
        let changes = deployments.differences(&before, &after)?;
        Ok(json!({ "from": from, "to": number, "changes": changes }))
    });
    answer.await.map(Json)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToActivate {
    revision: u64,
    /// The revision that must be active; `null` if none.
    #[serde(deserialize_with = "present")]
    expected: Option<u64>,
}

/// A member that may be `null` but not absent.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Option::deserialize(deserializer)
}

pub(super) async fn activate(
    State(application): State<Application>,
    principal: Principal,
    body: Result<Json<ToActivate>, JsonRejection>,
) -> Result<Activated, Problem> {
    let deployments = admit(&application, &principal, Scope::Deploy)?;
    let Json(body) = body?;
    let answer =
        blocking(move || deployments.activate(principal.name(), body.revision, body.expected));
    answer.await.map(|change| activated(&change))
}

/// All members are optional, and so is the body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToRollBack {
    to: Option<u64>,
    function: Option<String>,
    expected: Option<u64>,
    note: Option<String>,
}

pub(super) async fn roll_back(
    State(application): State<Application>,
    principal: Principal,
    request: Request,
) -> Result<Activated, Problem> {
    let deployments = admit(&application, &principal, Scope::Deploy)?;
    let body = if request.body().is_end_stream() {
        ToRollBack::default()
    } else {
        Json::<ToRollBack>::from_request(request, &()).await?.0
    };
    check_note(body.note.as_ref())?;
    let answer = blocking(move || {
        let rollback = Rollback {
            author: principal.name(),
            to: body.to,
            function: body.function.as_deref(),
            expected: body.expected,
            note: body.note.as_deref(),
        };
        deployments.roll_back(&rollback)
    });
    answer.await.map(|change| activated(&change))
}

/// The response to an activation.
pub(super) type Activated = (Extension<AuditSubject>, Json<Value>);

pub(super) fn activated(change: &Change) -> Activated {
    let names = |items: &[wpc_deploy::Item]| -> Vec<String> {
        items.iter().map(ToString::to_string).collect()
    };
    let activated = json!({
        "active": change.active,
        "previous": change.previous,
        "defined": names(&change.report.defined),
        "removed": names(&change.report.removed),
        "pool_outdated": change.report.is_pool_outdated,
    });
    (Extension(AuditSubject::Revision(change.active)), Json(activated))
}

pub(super) fn check_note(note: Option<&String>) -> Result<(), Problem> {
    match note {
        Some(note) if note.len() > MAX_NOTE => {
            Err(problems::too_long("note", MAX_NOTE, note.len()))
        }
        _ => Ok(()),
    }
}
