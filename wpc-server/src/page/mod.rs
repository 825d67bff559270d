//! The live page: a document at `/`, and its data at `/v1/snapshot` and `/v1/live`.

mod document;
mod frame;
mod nodes;
mod query;
mod stream;

use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::problem::{Problem, ServerCode};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use frame::{Cursor, frame};
use query::Parameters;

pub(crate) fn routes() -> axum::Router<Application> {
    axum::Router::new()
        .route("/", get(document::page))
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/live", get(stream::live))
}

/// The data of the page, once.
async fn snapshot(
    State(application): State<Application>,
    principal: Principal,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let parameters = read(&principal, parameters)?;
    application.live().collect(&**application.shared_backend());
    let sample = application.live().sample(application.shared_backend()).await;
    let sample = sample.ok_or_else(stopping)?;
    let mut cursor = Cursor::new(&parameters);
    let body = frame(&application, &principal, &parameters, &sample, &mut cursor);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

/// The parameters of a client that may watch.
fn read(
    principal: &Principal,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Parameters, Problem> {
    principal.require(Scope::Observe)?;
    let Query(parameters) = parameters?;
    parameters.check()?;
    Ok(parameters)
}

fn stopping() -> Problem {
    Problem::new(ServerCode::Stopping, "the server is stopping")
}
