//! The nodes of the cluster: `GET /v1/cluster`.

use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::cluster::ReportedCluster;
use crate::problem::{Problem, ServerCode};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

pub(crate) fn routes() -> axum::Router<Application> {
    axum::Router::new().route("/v1/cluster", get(cluster))
}

async fn cluster(
    State(application): State<Application>,
    principal: Principal,
) -> Result<Response, Problem> {
    principal.require(Scope::Observe)?;
    let Some(cluster) = application.backend().cluster() else {
        let detail = "the server runs its functions alone: it is not part of a cluster";
        return Err(Problem::new(ServerCode::NoCluster, detail));
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(ReportedCluster(cluster))).into_response())
}
