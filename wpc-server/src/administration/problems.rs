//! Refused deployments as problem documents.

use crate::deployments::Refusal;
use crate::modules::{ModuleError, max_size};
use crate::problem::{Problem, ServerCode, is_full};
use crate::store::StoreError;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use wpc_host::{ErrorCode, Sha256Hash};

fn new(code: ServerCode, detail: impl ToString) -> Problem {
    Problem::new(code, detail.to_string())
}

/// Why a server without deployments of its own has none.
pub(super) fn no_data_folder(is_of_cluster: bool) -> Problem {
    let detail = if is_of_cluster {
        "this server is a node of a cluster, whose registry has the deployments; use `--cluster URL` instead of `--server`"
    } else {
        "the server has no data folder; its operator can start it with `--data FOLDER`"
    };
    new(ServerCode::NoDataFolder, detail)
}

pub(super) fn internal() -> Problem {
    new(ServerCode::Internal, "the server failed; its log has the reason")
}

pub(super) fn too_long(name: &str, limit: usize, found: usize) -> Problem {
    Problem::bad_request(format!("`{name}`: expected at most {limit} bytes, found {found}"))
}

pub(super) fn of(refusal: &Refusal) -> Problem {
    let refused = |code| new(code, refusal);
    match refusal {
        Refusal::Problems(problems) => {
            let problem = new(ServerCode::DeploymentRefused, lines(problems));
            problem.with("problems", listed(problems))
        }
        Refusal::Missing(hashes) => {
            refused(ServerCode::ModulesMissing).with("missing", json!(hashes))
        }
        Refusal::Conflict { active } => {
            refused(ServerCode::RevisionConflict).with("active", json!(active))
        }
        Refusal::NoConstant(_) => refused(ServerCode::ConstantNotFound),
        Refusal::NoRevision(_) => refused(ServerCode::RevisionNotFound),
        Refusal::NothingActive | Refusal::NothingBefore { .. } => {
            refused(ServerCode::NothingToRollBack)
        }
        Refusal::TooLarge => refused(ServerCode::ManifestTooLarge),
        Refusal::Store(error) => of_store(error),
        Refusal::Disk(error) => of_disk(error),
        Refusal::Pool(error) => new(ServerCode::Internal, error),
    }
}

pub(super) fn of_module(error: &ModuleError) -> Problem {
    match error {
        ModuleError::Disk(error) => of_disk(error),
        ModuleError::Store(error) => of_store(error),
        ModuleError::Digest { .. } => {
            Problem::of_code_of_calls(ErrorCode::Sha256Mismatch, error.to_string())
        }
        ModuleError::Refused(_) => new(ServerCode::ModuleRefused, error),
        ModuleError::Compile(error) if error.code() == ErrorCode::NotWasm => {
            Problem::of_code_of_calls(error.code(), error.to_string())
        }
        // The module cannot be compiled at the moment.
        ModuleError::Compile(error) => {
            let problem = Problem::of_code_of_calls(error.code(), error.to_string());
            problem.with_status(StatusCode::SERVICE_UNAVAILABLE)
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
        _ => new(ServerCode::StoreFailed, error),
    }
}

fn of_disk(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "the data folder failed");
    if is_full(error) { full(error) } else { new(ServerCode::StoreFailed, error) }
}

fn full(error: impl ToString) -> Problem {
    let detail = format!("{}; free space in the data folder and try again", error.to_string());
    new(ServerCode::DiskFull, detail)
}

pub(super) fn module_too_large() -> Problem {
    let detail = format!("the module is larger than the limit of {} bytes", max_size());
    let problem = Problem::of_code_of_calls(ErrorCode::ModuleTooLarge, detail);
    problem.with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

pub(super) fn too_many_uploads() -> Problem {
    let detail = "too many modules are being uploaded; try again when one is finished";
    new(ServerCode::TooManyUploads, detail)
}

pub(super) fn upload_stalled(limit: Duration) -> Problem {
    let detail = format!("no part of the module arrived for {} seconds", limit.as_secs());
    new(ServerCode::UploadIncomplete, detail).with_status(StatusCode::REQUEST_TIMEOUT)
}

pub(super) fn upload_incomplete(error: &axum::Error) -> Problem {
    new(ServerCode::UploadIncomplete, format!("the module did not arrive completely: {error}"))
}

pub(super) fn no_module(hash: Sha256Hash) -> Problem {
    new(ServerCode::ModuleNotFound, format!("no module with the SHA-256 {hash} is stored"))
}

/// Problems of a manifest as text, one per line. The path of the file is that of the server, and not shown.
fn lines(problems: &[wpc_deploy::Problem]) -> String {
    let lines = problems.iter().map(|problem| match problem.line {
        Some(line) => format!("line {line}: {}", problem.message),
        None => problem.message.clone(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Problems of a manifest as members of a document. The path of the file is that of the server, and not shown.
pub(super) fn listed(problems: &[wpc_deploy::Problem]) -> Value {
    let problem = |problem: &wpc_deploy::Problem| json!({ "code": problem.code, "line": problem.line, "message": problem.message });
    problems.iter().map(problem).collect()
}
