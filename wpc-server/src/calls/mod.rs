//! Calls over HTTP: `POST /v1/functions/{name}/call`.

mod arguments;
mod options;
mod reply;

use crate::access::Principal;
use crate::application::Application;
use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use options::Parameters;

pub(crate) fn routes() -> axum::Router<Application> {
    axum::Router::new().route("/v1/functions/{name}/call", post(call))
}

async fn call(
    State(application): State<Application>,
    principal: Principal,
    Path(name): Path<String>,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Problem> {
    principal.require_call(&name)?;
    let Query(parameters) =
        parameters.map_err(|rejected| Problem::bad_request(rejected.body_text()))?;
    let body = body.map_err(|rejected| Problem::bad_request(rejected.body_text()))?;
    let arguments = arguments::read(&headers, body)?;
    let format = reply::format(&headers)?;
    let options = options::read(&headers, &parameters)?;
    let refused = |error| Problem::of_call(&error, &name);
    let call = application.backend().submit(&name, arguments, format, &options).map_err(refused)?;
    let (id, hash) = (call.id(), call.function_hash_sha1());
    // If the client disconnects, this future is dropped, which cancels the call.
    let answer = call.await.map_err(|error| Problem::of_call(&error, &name).with_call(id, hash))?;
    Ok(reply::response(id, answer))
}
