//! Refused deployments as problem documents.

use crate::deployments::Refusal;
use crate::modules::{ModuleError, max_size};
use crate::problem::Problem;
use crate::store::StoreError;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use wpc_host::{ErrorCode, Sha256Hash};

fn new(status: StatusCode, code: &str, title: &str, detail: impl ToString) -> Problem {
    Problem::new(status, code, title, detail.to_string())
}

pub(super) fn no_data_folder() -> Problem {
    let detail = "no data folder; start the server with `--data DIR`";
    new(StatusCode::CONFLICT, "no_data_folder", "there is no data folder", detail)
}

pub(super) fn internal() -> Problem {
    let detail = "the server failed; its log has the reason";
    new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed", detail)
}

pub(super) fn too_long(name: &str, limit: usize, found: usize) -> Problem {
    Problem::bad_request(format!("`{name}`: expected at most {limit} bytes, found {found}"))
}

pub(super) fn of(refusal: &Refusal) -> Problem {
    let refused =
        |code: &str, title: &str| new(StatusCode::UNPROCESSABLE_ENTITY, code, title, refusal);
    match refusal {
        Refusal::Problems(problems) => refused("deployment_refused", "the deployment is refused")
            .with("problems", listed(problems)),
        Refusal::Missing(hashes) => {
            refused("modules_missing", "modules were not uploaded").with("missing", json!(hashes))
        }
        Refusal::Conflict { active } => {
            let title = "another revision is active";
            new(StatusCode::CONFLICT, "revision_conflict", title, refusal)
                .with("active", json!(active))
        }
        Refusal::NoRevision(_) => {
            let title = "the revision does not exist";
            new(StatusCode::NOT_FOUND, "revision_not_found", title, refusal)
        }
        Refusal::NothingActive | Refusal::NothingBefore { .. } => {
            let title = "there is nothing to roll back to";
            new(StatusCode::CONFLICT, "nothing_to_roll_back", title, refusal)
        }
        Refusal::TooLarge => {
            let title = "the manifest is too large";
            new(StatusCode::PAYLOAD_TOO_LARGE, "manifest_too_large", title, refusal)
        }
        Refusal::Store(error) => of_store(error),
        Refusal::Disk(error) => of_disk(error),
        Refusal::Pool(error) => {
            new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed", error)
        }
    }
}

pub(super) fn of_module(error: &ModuleError) -> Problem {
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    match error {
        ModuleError::Disk(error) => of_disk(error),
        ModuleError::Store(error) => of_store(error),
        ModuleError::Digest { .. } => {
            new(unprocessable, ErrorCode::Sha256Mismatch.as_str(), "the content differs", error)
        }
        ModuleError::Refused(_) => {
            new(unprocessable, "module_refused", "the module cannot be used", error)
        }
        ModuleError::Compile(error) if error.code() == ErrorCode::NotWasm => {
            new(unprocessable, error.code().as_str(), "not a WebAssembly module", error)
        }
        ModuleError::Compile(error) => {
            let title = "the module cannot be compiled at the moment";
            new(StatusCode::SERVICE_UNAVAILABLE, error.code().as_str(), title, error)
        }
    }
}

fn of_store(error: &StoreError) -> Problem {
    tracing::error!(%error, "the store failed");
    let io = match error {
        StoreError::Failed { source, .. } => match &**source {
            redb::Error::Io(error) => Some(error),
            _ => None,
        },
        _ => None,
    };
    match io {
        Some(io) if is_full(io) => full(error),
        _ => new(StatusCode::INTERNAL_SERVER_ERROR, "store_failed", "the store failed", error),
    }
}

fn of_disk(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "the data folder failed");
    if is_full(error) {
        return full(error);
    }
    let title = "the data folder failed";
    new(StatusCode::INTERNAL_SERVER_ERROR, "store_failed", title, error)
}

fn full(error: impl ToString) -> Problem {
    let detail = format!("{}; free space in the data folder and try again", error.to_string());
    let title = "the disk is full";
    new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", title, detail)
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

pub(super) fn module_too_large() -> Problem {
    let detail = format!("the module is larger than the limit of {} bytes", max_size());
    let code = ErrorCode::ModuleTooLarge.as_str();
    new(StatusCode::PAYLOAD_TOO_LARGE, code, "the module is too large", detail)
}

pub(super) fn too_many_uploads() -> Problem {
    let detail = "too many modules are being uploaded; try again when one is finished";
    new(StatusCode::SERVICE_UNAVAILABLE, "too_many_uploads", "too many uploads", detail)
}

pub(super) fn upload_stalled(limit: Duration) -> Problem {
    let detail = format!("no part of the module arrived for {} seconds", limit.as_secs());
    new(StatusCode::REQUEST_TIMEOUT, "upload_incomplete", "the upload is incomplete", detail)
}

pub(super) fn upload_incomplete(error: &axum::Error) -> Problem {
    let detail = format!("the module did not arrive to its end: {error}");
    new(StatusCode::BAD_REQUEST, "upload_incomplete", "the upload is incomplete", detail)
}

pub(super) fn no_module(hash: Sha256Hash) -> Problem {
    let detail = format!("there is no module with the SHA-256 {hash}");
    new(StatusCode::NOT_FOUND, "module_not_found", "the module does not exist", detail)
}

/// Problems of a manifest as members of a document. The path of the file is that of the server, and not shown.
pub(super) fn listed(problems: &[wpc_deploy::Problem]) -> Value {
    let problem = |problem: &wpc_deploy::Problem| json!({ "code": problem.code, "line": problem.line, "message": problem.message });
    problems.iter().map(problem).collect()
}
