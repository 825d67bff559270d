//! The routes of a server.

use crate::administration;
use crate::application::Application;
use crate::observation::Observation;
use crate::problem::{self, Problem, ServerCode};
use crate::{calls, functions, health, metrics, openapi, page, rpc};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;

/// The routes of a server, without a listener: for an application that adds them to its own. Each request passes the same checks
/// of its host, origin and token as with a [`Server`](crate::Server).
pub fn router(application: Application) -> axum::Router {
    routes(application.clone()).layer(middleware::from_fn_with_state(application, check))
}

/// The routes without those checks, which a server makes itself: a middleware would cost each request an allocation.
pub(crate) fn routes(application: Application) -> axum::Router {
    axum::Router::new()
        .merge(calls::routes())
        .merge(rpc::routes())
        .merge(problem::routes())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(functions::routes())
        .merge(openapi::routes())
        .merge(page::routes())
        .merge(administration::routes())
        .fallback(not_found)
        // For all routes above; axum adds the header `Allow`.
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(application.settings().max_body))
        .layer(Observation(application.clone()))
        .with_state(application)
}

async fn check(State(application): State<Application>, request: Request, next: Next) -> Response {
    match application.gate().admit(request) {
        Ok((request, admitted)) => {
            let mut response = next.run(request).await;
            admitted.finish(&mut response);
            response
        }
        Err(refused) => *refused,
    }
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
