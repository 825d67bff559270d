//! The state of a function on the workers: `POST /v1/functions/{name}/revive` and `POST /v1/functions/{name}/warm`.

use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::calls::refused;
use crate::problem::Problem;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde_json::{Value, json};

type Name = Result<Path<String>, PathRejection>;

/// Closes the circuit breaker of a function, and ends its backoff.
pub(super) async fn revive(
    State(application): State<Application>,
    principal: Principal,
    name: Name,
) -> Result<Json<Value>, Problem> {
    let name = admitted(&principal, name)?;
    let revived = application.backend().revive(&name);
    let revived = revived.map_err(|error| refused(&application, &principal, &name, &error))?;
    Ok(Json(json!({ "function": name, "revived": revived })))
}

/// Creates a sandbox of a function on each worker, so that its next calls find one.
pub(super) async fn warm(
    State(application): State<Application>,
    principal: Principal,
    name: Name,
) -> Result<Json<Value>, Problem> {
    let name = admitted(&principal, name)?;
    let warmed = application.backend().warm(&name).await;
    warmed.map_err(|error| refused(&application, &principal, &name, &error))?;
    Ok(Json(json!({ "function": name, "warmed": true })))
}

fn admitted(principal: &Principal, name: Name) -> Result<String, Problem> {
    principal.require(Scope::Deploy)?;
    let Path(name) = name?;
    Ok(name)
}
