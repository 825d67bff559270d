//! `/v1/drain`: stops and resumes the acceptance of calls.

use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

/// Whether the server is draining, and how many calls are in progress.
pub(super) async fn show(
    State(application): State<Application>,
    principal: Principal,
) -> Result<Json<Value>, Problem> {
    principal.require(Scope::Observe)?;
    Ok(state(&application))
}

/// Refuses new calls; those in progress finish.
pub(super) async fn begin(
    State(application): State<Application>,
    principal: Principal,
) -> Result<Json<Value>, Problem> {
    set(&application, &principal, true)
}

/// Accepts calls again.
pub(super) async fn end(
    State(application): State<Application>,
    principal: Principal,
) -> Result<Json<Value>, Problem> {
    set(&application, &principal, false)
}

fn set(
    application: &Application,
    principal: &Principal,
    is_draining: bool,
) -> Result<Json<Value>, Problem> {
    principal.require(Scope::Deploy)?;
    application.intake().set_draining(is_draining);
    application.backend().set_draining(is_draining);
    Ok(state(application))
}

fn state(application: &Application) -> Json<Value> {
    let health = application.backend().health();
    let calls = health.pending_calls + health.waiting_calls;
    Json(json!({ "draining": application.intake().is_draining(), "calls": calls }))
}
