//! The administration of tokens: `/v1/tokens`.

use crate::access::{
    AuditRecord, NewToken, Principal, Scope, TokenError, TokenInformation, Tokens,
};
use crate::application::Application;
use crate::problem::{Problem, ServerCode};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use serde::Serialize;

pub(crate) fn routes() -> axum::Router<Application> {
    axum::Router::new()
        .route("/v1/tokens", get(list).post(create))
        .route("/v1/tokens/{token}", delete(revoke))
}

/// A new token with its text, which is not shown again.
#[derive(Serialize)]
struct Created<'a> {
    token: &'a str,
    #[serde(flatten)]
    information: TokenInformation,
}

#[derive(Serialize)]
struct List {
    tokens: Vec<TokenInformation>,
}

async fn list(
    State(application): State<Application>,
    principal: Principal,
) -> Result<Json<List>, Problem> {
    Ok(Json(List { tokens: tokens(&application, &principal)?.list() }))
}

async fn create(
    State(application): State<Application>,
    principal: Principal,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Problem> {
    let tokens = tokens(&application, &principal)?;
    let body = body?;
    let new: NewToken = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not a token: {error}")))?;
    let act = Act { principal, headers, action: "token.create", target: new.name.clone() };
    let create = move || tokens.create(new);
    let (information, text) = act.change(&application, create).await?;
    let created = Created { token: text.as_str(), information };
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, no_store, Json(created)).into_response())
}

async fn revoke(
    State(application): State<Application>,
    principal: Principal,
    Path(target): Path<String>,
    headers: HeaderMap,
) -> Result<Json<TokenInformation>, Problem> {
    let tokens = tokens(&application, &principal)?;
    let act = Act { principal, headers, action: "token.revoke", target: target.clone() };
    let revoke = move || tokens.revoke(&target);
    Ok(Json(act.change(&application, revoke).await?))
}

/// The tokens, for a principal that may administer them.
fn tokens(application: &Application, principal: &Principal) -> Result<Tokens, Problem> {
    principal.require(Scope::Admin)?;
    application.gate().tokens().cloned().ok_or_else(|| {
        let detail =
            "this server has no tokens; its operator can start it with `--data FOLDER` or `--tokens FILE`";
        Problem::new(ServerCode::NoTokens, detail)
    })
}

/// A change to tokens that is recorded in the audit log.
struct Act {
    principal: Principal,
    headers: HeaderMap,
    action: &'static str,
    target: String,
}

impl Act {
    /// Makes the change, and records it with its outcome. Both block, because they wait for the disk.
    async fn change<T: Send + 'static>(
        self,
        application: &Application,
        change: impl FnOnce() -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, Problem> {
        let changed = tokio::task::spawn_blocking(change).await;
        let changed = changed.map_err(|failed| Problem::internal(&failed))?;
        let changed = changed.map_err(|error| problem(&error));
        let outcome = changed.as_ref().err().map_or("ok", |problem| &*problem.details().code);
        let id = self.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        let record = AuditRecord::new(self.principal.name(), self.action, &self.target);
        let record = record.outcome(outcome).request_id(id);
        let recorded = application.gate().record_action(record).await;
        recorded.map_err(|error| Problem::unrecorded(&error))?;
        changed
    }
}

fn problem(error: &TokenError) -> Problem {
    let code = match error {
        TokenError::Invalid(_) => ServerCode::InvalidToken,
        TokenError::NameTaken(_) => ServerCode::NameTaken,
        TokenError::NotFound(_) => ServerCode::TokenNotFound,
        TokenError::TooMany => ServerCode::TooManyTokens,
        TokenError::ReadOnly(_) => ServerCode::ReadOnlyTokens,
        _ => return Problem::internal(error),
    };
    Problem::new(code, error.to_string())
}
