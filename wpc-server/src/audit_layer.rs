//! Records the administrative actions of routes in the audit log.

use crate::access::{AuditRecord, AuditSubject, Principal};
use crate::application::Application;
use crate::problem::{Problem, ProblemCode};
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::uri::PathAndQuery;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// A middleware for routes that change something: records each request that is not read-only, before it is answered.
pub(crate) async fn record(
    State(application): State<Application>,
    principal: Principal,
    request: Request,
    next: Next,
) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let action = format!("{} {route}", request.method());
    // Bounded, because a client chooses it.
    let target: String = request
        .uri()
        .path_and_query()
        .map_or("/", PathAndQuery::as_str)
        .chars()
        .take(256)
        .collect();
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    let record = AuditRecord::new(principal.name(), &action, &target).request_id(id);
    let response = next.run(request).await;
    let outcome = match response.extensions().get::<ProblemCode>() {
        Some(code) => code.0.to_string(),
        None if response.status().is_success() => "ok".to_owned(),
        None => response.status().as_str().to_owned(),
    };
    let subject = response.extensions().get::<AuditSubject>().copied();
    match application.gate().record_action(record.outcome(&outcome).subject(subject)).await {
        Ok(()) => response,
        Err(error) => {
            tracing::error!(%error, "failed to write the audit log");
            Problem::unrecorded(&error).into_response()
        }
    }
}
