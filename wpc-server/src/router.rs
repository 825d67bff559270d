//! The routes of a server.

use crate::application::Application;
use crate::observation::Observation;
use crate::problem::Problem;
use crate::{calls, health, metrics, openapi};
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};

/// The routes of a server, without a listener: for an application that adds them to its own.
pub fn router(application: Application) -> axum::Router {
    axum::Router::new()
        .merge(calls::routes())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(openapi::routes())
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(application.settings().max_body))
        .layer(Observation(application.clone()))
        .with_state(application)
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!("there is nothing at \"{}\"", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "not_found", "not found", detail)
}
