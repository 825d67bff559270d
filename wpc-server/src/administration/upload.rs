//! `/v1/modules`: uploads of modules, which are written while they arrive.

use super::{admit, blocking, problems};
use crate::access::{AuditSubject, Principal, Scope};
use crate::application::Application;
use crate::modules::{ModuleError, Modules, max_size};
use crate::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use axum::{Extension, Json};
use futures::StreamExt as _;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use wpc_host::{ModuleInformation, Sha256Hash};

/// The maximum number of concurrent uploads. Each has a thread that writes it.
static UPLOADS: Semaphore = Semaphore::const_new(8);

/// How long a client may take to send the next part of a module.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn routes() -> axum::Router<Application> {
    axum::Router::new().route("/v1/modules", post(upload)).route("/v1/modules/{sha256}", get(show))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    sha256: Option<Sha256Hash>,
}

enum Part {
    Bytes(Bytes),
    /// The module has arrived completely.
    End,
}

async fn upload(
    State(application): State<Application>,
    principal: Principal,
    query: Result<Query<Expected>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Extension<AuditSubject>, Json<ModuleInformation>), Problem> {
    let deployments = admit(&application, &principal, Scope::Deploy)?;
    let Query(query) = query?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|len| len > max_size()) {
        return Err(problems::module_too_large());
    }
    let _permit = UPLOADS.try_acquire().map_err(|_| problems::too_many_uploads())?;
    let (send, receive) = mpsc::channel(4);
    let modules = deployments.modules().clone();
    let written = tokio::task::spawn_blocking(move || write(&modules, receive, query.sha256));
    // If the upload is incomplete, the thread removes what it has written.
    let sent = send_parts(body, &send).await;
    drop(send);
    let written = written.await.map_err(|_| problems::internal())?;
    sent?;
    match written {
        Ok(Some((module, is_new))) => {
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, Extension(AuditSubject::Sha256(module.hash_sha256)), Json(module)))
        }
        Ok(None) => Err(problems::internal()),
        Err(error) => Err(problems::of_module(&error)),
    }
}

/// Sends a body to the thread that writes it.
async fn send_parts(body: Body, send: &mpsc::Sender<Part>) -> Result<(), Problem> {
    let mut parts = body.into_data_stream();
    let mut size = 0_u64;
    loop {
        let part = tokio::time::timeout(PART_TIMEOUT, parts.next()).await;
        let part = match part.map_err(|_| problems::upload_stalled(PART_TIMEOUT))? {
            None => Part::End,
            Some(Err(error)) => return Err(problems::upload_incomplete(&error)),
            Some(Ok(bytes)) => {
                size += bytes.len() as u64;
                if size > max_size() {
                    return Err(problems::module_too_large());
                }
                Part::Bytes(bytes)
            }
        };
        let is_end = matches!(part, Part::End);
        // The thread has ended if it could not write, which is its result.
        if send.send(part).await.is_err() || is_end {
            return Ok(());
        }
    }
}

/// Writes the parts of a module; `None` if it did not arrive completely.
fn write(
    modules: &Modules,
    mut parts: mpsc::Receiver<Part>,
    expected: Option<Sha256Hash>,
) -> Result<Option<(ModuleInformation, bool)>, ModuleError> {
    let mut upload = modules.begin()?;
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Bytes(bytes) => upload.write(&bytes)?,
            Part::End => return modules.finish(upload, expected).map(Some),
        }
    }
    Ok(None)
}

async fn show(
    State(application): State<Application>,
    principal: Principal,
    hash: Result<Path<Sha256Hash>, PathRejection>,
) -> Result<Json<ModuleInformation>, Problem> {
    let deployments = admit(&application, &principal, Scope::Observe)?;
    let Path(hash) = hash?;
    let found = blocking(move || {
        let is_missing = !deployments.modules().missing(&[hash])?.is_empty();
        Ok(if is_missing { None } else { deployments.modules().information(hash)? })
    });
    found.await?.map(Json).ok_or_else(|| problems::no_module(hash))
}
