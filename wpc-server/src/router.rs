//! The routes of a server.

use crate::access::Guard;
use crate::application::Application;
use crate::observation::Observation;
use crate::problem::{self, Problem, ServerCode};
use crate::{
    administration, audit_layer, calls, events, functions, health, metrics, openapi, page, rpc,
    tokens,
};
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware;
use std::sync::Arc;

/// The routes of a server without a listener, for an application that adds them to its own. The host, origin and token of
/// each request are checked.
pub fn router(application: Application) -> axum::Router {
    let record = middleware::from_fn_with_state(application.clone(), audit_layer::record);
    axum::Router::new()
        .merge(calls::routes())
        .merge(rpc::routes())
        .merge(problem::routes())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(functions::routes())
        .merge(openapi::routes())
        .merge(page::routes())
        .merge(events::routes())
        .merge(administration::routes().route_layer(record))
        .merge(tokens::routes())
        .fallback(not_found)
        // For all routes above; axum adds the header `Allow`.
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(application.settings().max_body))
        // A single layer of the router, because each layer costs an allocation. Requests that the guard refuses are observed
        // too.
        .layer((Observation(application.clone()), Guard(Arc::clone(application.gate()))))
        .with_state(application)
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(ServerCode::NotFound, format!("nothing exists at \"{}\"", shown(&uri)))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("\"{}\" does not support {method}", shown(&uri));
    Problem::new(ServerCode::MethodNotAllowed, detail)
}

/// The path of a request, cut to a length that an error can show.
fn shown(uri: &Uri) -> String {
    const MOST: usize = 200;
    let path = uri.path();
    if path.len() <= MOST {
        return path.to_owned();
    }
    format!("{}…", &path[..path.floor_char_boundary(MOST)])
}
