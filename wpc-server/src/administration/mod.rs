//! The administration over HTTP: modules, revisions, constants, activation, the state of functions,
//! and whether calls are accepted.

mod constants;
mod drain;
mod functions;
mod problems;
mod revisions;
mod upload;

use crate::access::{Principal, Scope};
use crate::application::Application;
use crate::deployments::{Deployments, Refusal};
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::routing::{get, post, put};
use serde_json::{Value, json};

pub(crate) fn routes() -> axum::Router<Application> {
    axum::Router::new()
        .route("/v1/deployment", get(deployment))
        .merge(upload::routes())
        .route("/v1/revisions", get(revisions::list).post(revisions::register))
        .route("/v1/revisions/{number}", get(revisions::show))
        .route("/v1/revisions/{number}/diff", get(revisions::difference))
        .route("/v1/functions/{name}/revive", post(functions::revive))
        .route("/v1/functions/{name}/warm", post(functions::warm))
        .route("/v1/constants", get(constants::list))
        .route("/v1/constants/{name}", put(constants::set).delete(constants::remove))
        .route("/v1/drain", get(drain::show).post(drain::begin).delete(drain::end))
        .route("/v1/active", post(revisions::activate))
        .route("/v1/rollback", post(revisions::roll_back))
}

/// `GET /v1/deployment`: the active revision, and its items that are not served.
async fn deployment(
    State(application): State<Application>,
    principal: Principal,
) -> Result<Json<Value>, Problem> {
    let deployments = admit(&application, &principal, Scope::Observe)?;
    let answer = blocking(move || {
        let state = deployments.state();
        let revision = match state.active {
            Some(number) => Some(deployments.revision(number)?.0),
            None => None,
        };
        Ok(json!({
            "active": state.active,
            "revision": revision,
            "not_served": state.not_served,
            "problems": problems::listed(&state.problems),
            "pool_outdated": state.is_pool_outdated,
        }))
    });
    answer.await.map(Json)
}

/// The deployments, if the client has the scope and there is a data folder.
fn admit(
    application: &Application,
    principal: &Principal,
    scope: Scope,
) -> Result<Deployments, Problem> {
    principal.require(scope)?;
    let is_of_cluster = || application.backend().cluster().is_some();
    let absent = || problems::no_data_folder(is_of_cluster());
    application.deployments().cloned().ok_or_else(absent)
}

/// Runs a blocking operation on a thread for blocking work.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(run).await {
        Ok(result) => result.map_err(|refusal| problems::of(&refusal)),
        Err(_) => Err(problems::internal()),
    }
}
