//! JSON-RPC 2.0 at `/rpc`, over HTTP and WebSocket. The method is the name of a function.

mod http;
mod request;
mod response;
mod run;
mod websocket;

use crate::access::Principal;
use crate::application::Application;
use crate::calls;
use crate::problem::Problem;
use axum::extract::Request;
use axum::http::header;
use axum::routing::post;
use run::Client;

pub(crate) fn routes() -> axum::Router<Application> {
    axum::Router::new().route("/rpc", post(http::answer).get(websocket::upgrade))
}

impl Client {
    /// The client of a request, with options that apply to all of its calls.
    fn new(
        application: &Application,
        principal: Principal,
        request: &Request,
    ) -> Result<Self, Problem> {
        let headers = request.headers();
        for name in [header::IF_MATCH.as_str(), "idempotency-key"] {
            if headers.contains_key(name) {
                let detail = format!(
                    "`{name}` applies to one function; use /v1/functions/{{name}}/call for it"
                );
                return Err(Problem::bad_request(detail));
            }
        }
        let options = calls::read_options(request.uri(), headers)?;
        Ok(Self { application: application.clone(), principal, options })
    }
}
