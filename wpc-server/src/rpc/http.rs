//! JSON-RPC over HTTP.

use super::run::Client;
use super::{request, response};
use crate::access::Principal;
use crate::application::Application;
use crate::calls;
use crate::problem::{Problem, ServerCode};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

/// Runs the message of a body. Errors of JSON-RPC have the status 200.
pub(super) async fn answer(
    State(application): State<Application>,
    principal: Principal,
    request: Request,
) -> Result<Response, Problem> {
    check_content_type(request.headers())?;
    let client = Client::new(&application, principal, &request)?;
    let (parts, body) = request.into_parts();
    let body = calls::read_body(&application, &parts, body).await?;
    let is_large = body.len() >= calls::LARGE;
    let max_batch = application.settings().max_batch;
    let submit = move || request::read(&body, max_batch).map(|message| client.submit(message));
    let submitted = if is_large { calls::convert_large(submit).await } else { submit() };
    let text = match submitted {
        Ok(submitted) => submitted.answer().await,
        Err(problem) => Some(response::of_message(problem)),
    };
    let Some(text) = text else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    };
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Without the server's consent, a web page of another origin can only send other content types.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let known = ["application/json", "application/json-rpc", "application/jsonrequest"];
    if known.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let detail = format!("expected application/json, found {text:?}");
    Err(Problem::new(ServerCode::UnsupportedMediaType, detail))
}
