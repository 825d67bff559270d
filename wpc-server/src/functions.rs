//! Information about functions: `GET /v1/functions` and `GET /v1/functions/{name}`.

use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::calls;
use crate::problem::Problem;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use wpc_host::{Error, FunctionInformation};

pub(crate) fn routes() -> axum::Router<Application> {
    axum::Router::new()
        .route("/v1/functions", get(list))
        .route("/v1/functions/{name}", get(information))
}

#[derive(Serialize)]
struct Functions {
    functions: Vec<FunctionInformation>,
}

/// The functions that the client may see: all with the scope `observe`, otherwise those that it may call.
async fn list(
    State(application): State<Application>,
    principal: Principal,
) -> Result<Response, Problem> {
    // The list takes time in proportion to the number of functions, and must not delay calls.
    let list = tokio::task::spawn_blocking(move || {
        let mut functions = application.backend().functions();
        functions.retain(|function| may_see(&principal, &function.name));
        Json(Functions { functions }).into_response()
    });
    list.await.map_err(|_| Problem::internal(&"the functions could not be listed"))
}

async fn information(
    State(application): State<Application>,
    principal: Principal,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(name) = name?;
    if !may_see(&principal, &name) {
        principal.require_call(&name)?;
    }
    let Some(function) = application.backend().function(&name) else {
        let error = Error::function_not_defined(&*name);
        return Err(calls::refused(&application, &principal, &name, &error));
    };
    let tag = format!("\"{}\"", function.function_hash_sha1);
    let mut response = Json(function).into_response();
    // A hash has only hexadecimal digits.
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

fn may_see(principal: &Principal, function: &str) -> bool {
    principal.has(Scope::Observe) || principal.may_call(function)
}
