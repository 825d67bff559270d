//! Probes: `/livez`, `/startupz`, `/readyz` and its alias `/healthz`.

mod cluster;
mod report;

use crate::accept;
use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::lifecycle::Stage;
use crate::problem::Problem;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use report::Report;
use serde::Deserialize;

pub(crate) fn routes() -> axum::Router<Application> {
    axum::Router::new()
        .route("/livez", get(live))
        .route("/startupz", get(started))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
}

/// Whether the process handles requests. Nothing else is checked, because a restart would not repair anything else.
async fn live(headers: HeaderMap) -> Response {
    answer(&headers, StatusCode::OK, &Report::live())
}

/// Whether the functions have been defined, and requests are served since then.
async fn started(State(application): State<Application>, headers: HeaderMap) -> Response {
    let report = Report::started(application.lifecycle().stage() != Stage::Starting);
    answer(&headers, report.status(), &report)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// A flag, `?verbose`, or a value other than `false` or `0`.
    verbose: Option<String>,
}

async fn ready(
    State(application): State<Application>,
    principal: Principal,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(parameters) = parameters?;
    let is_verbose = parameters.verbose.is_some_and(|value| value != "false" && value != "0");
    let mut report = Report::ready(&application);
    if !is_verbose {
        return Ok(answer(&headers, report.status(), &report));
    }
    principal.require(Scope::Observe)?;
    // The details take time in proportion to the number of functions, and must not delay calls.
    let detailed = tokio::task::spawn_blocking(move || {
        report.add_details(&application);
        answer(&headers, report.status(), &report)
    });
    detailed.await.map_err(|_| Problem::internal(&"the functions could not be listed"))
}

/// The report as JSON if the client prefers that, and otherwise as text.
fn answer(headers: &HeaderMap, status: StatusCode, report: &Report) -> Response {
    let prefers_json = accept::prefers(headers, ("application", "json"), ("text", "plain"));
    let cache = (header::CACHE_CONTROL, "no-store");
    if prefers_json {
        (status, [cache], axum::Json(report)).into_response()
    } else {
        (status, [cache], report.text()).into_response()
    }
}
