//! The routes of a server.

use crate::access::Guard;
use crate::application::Application;
use crate::observation::Observation;
use crate::problem::{self, Problem, ServerCode};
use crate::{
    administration, audit_layer, calls, events, functions, health, metrics, nodes, openapi, page,
    rpc, tokens,
};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use std::sync::Arc;

/// Which part of a server a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    /// Everything.
    Whole,
    /// Everything but the administration, which has a listener of its own.
    Public,
    /// Everything, for those who administer the server.
    Administration,
}

/// The routes of a server without a listener, for an application that adds them to its own. The host, origin and token of
/// each request are checked.
pub fn router(application: Application) -> axum::Router {
    router_of(application, Plane::Whole)
}

/// The routes of a listener.
pub(crate) fn router_of(application: Application, plane: Plane) -> axum::Router {
    let record = middleware::from_fn_with_state(application.clone(), audit_layer::record);
    let mut administration = administration::routes().route_layer(record).merge(tokens::routes());
    if plane == Plane::Public {
        administration = administration.route_layer(middleware::from_fn(elsewhere));
    }
    axum::Router::new()
        .merge(calls::routes())
        .merge(rpc::routes())
        .merge(problem::routes())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(functions::routes())
        .merge(nodes::routes())
        .merge(openapi::routes())
        .merge(page::routes())
        .merge(events::routes())
        .merge(administration)
        .fallback(not_found)
        // For all routes above; axum adds the header `Allow`.
        .method_not_allowed_fallback(method_not_allowed)
        // A single layer of the router, because each layer costs two allocations. Requests that the gate refuses are observed
        // too.
        .layer((
            Observation(application.clone()),
            Guard(Arc::clone(application.gate())),
            DefaultBodyLimit::max(application.settings().max_body),
        ))
        .with_state(application)
}

/// The answer to a request for the administration where it is not served.
async fn elsewhere(uri: Uri, _request: Request, _next: Next) -> Problem {
    let detail = format!(
        "\"{}\" is served only at the server's address for administration, which its operator has set with `--admin-listen`",
        shown(uri.path())
    );
    Problem::new(ServerCode::NotFound, detail)
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(ServerCode::NotFound, format!("nothing exists at \"{}\"", shown(uri.path())))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("\"{}\" does not support {}", shown(uri.path()), shown(method.as_str()));
    Problem::new(ServerCode::MethodNotAllowed, detail)
}

/// A part of a request's first line, cut to a length that an error can show.
fn shown(text: &str) -> String {
    const MOST: usize = 200;
    if text.len() <= MOST {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MOST)])
}
