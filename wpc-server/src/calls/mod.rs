//! Calls over HTTP: `POST /v1/functions/{name}/call`.

mod arguments;
mod body;
mod conversion;
mod idempotent;
mod json;
mod media;
mod options;
mod reply;
mod stream;
mod submission;

pub(crate) use body::read as read_body;
pub(crate) use conversion::{LARGE, run as convert_large};
pub(crate) use json::{Path as JsonPath, Strict as StrictJson};
pub(crate) use options::read as read_options;
pub(crate) use submission::{refused, submit};

use crate::access::Principal;
use crate::application::Application;
use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::Response;
use axum::routing::post;
use idempotent::Keyed;
use media::Media;
use wpc_host::{CallOptions, StreamOptions};

pub(crate) fn routes() -> axum::Router<Application> {
    axum::Router::new().route("/v1/functions/{name}/call", post(call))
}

async fn call(
    State(application): State<Application>,
    principal: Principal,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path(name) = name?;
    // Before the body is read: a client without the right does not occupy memory.
    principal.require_call(&name)?;
    let headers = request.headers();
    let can_answer = |media| reply::can_have(media, application.backend(), &name);
    let (body_media, media) = (Media::of_body(headers)?, Media::accepted(headers, can_answer)?);
    let mut options = options::read(request.uri(), headers)?;
    if headers.contains_key(header::IF_MATCH)
        && let Some(current) = application.backend().function_hash(&name)
    {
        let pin = options::pin(headers, current);
        if let Some(hash) = pin.map_err(|problem| problem.with_function(&name))? {
            options = options.pin(hash);
        }
    }
    let keyed = Keyed::of(headers, application.idempotency())?;
    if keyed.is_some() && media.is_stream() {
        return Err(Problem::bad_request("a stream cannot have an `Idempotency-Key`"));
    }
    let (parts, body) = request.into_parts();
    let body = body::read(&application, &parts, body).await?;
    let Some(keyed) = keyed else {
        return respond(application, principal, name, (body_media, body), media, options).await;
    };
    let arguments = (body_media, body.clone());
    let call = respond(application, principal.clone(), name.clone(), arguments, media, options);
    // Boxed, because few requests have a key and every request's future would be moved with this one in it.
    Box::pin(keyed.run(&principal, &name, (&parts, &body, media), call)).await
}

/// Makes the call. If the client disconnects, the future or the response's body is dropped, which cancels the call.
async fn respond(
    application: Application,
    principal: Principal,
    name: String,
    (body_media, body): (Media, Bytes),
    media: Media,
    options: CallOptions,
) -> Result<Response, Problem> {
    let is_large = body.len() >= LARGE;
    let arguments = || {
        let arguments = arguments::read(body_media, body);
        arguments.map_err(|problem| problem.with_function(&name))
    };
    if media.is_stream() {
        let options = StreamOptions::new().call(options);
        let submit = || submission::stream(&application, &principal, &name, arguments()?, &options);
        let items = if is_large { Box::pin(convert_large(submit)).await? } else { submit()? };
        return Ok(stream::response(media, &principal, name, items));
    }
    let format = reply::format(media);
    let submit =
        || submission::submit(&application, &principal, &name, arguments()?, format, &options);
    // Boxed, because few bodies are large.
    let submitted = if is_large { Box::pin(convert_large(submit)).await } else { submit() };
    let refused = |problem| reply::refused(problem, application.backend(), &name, media);
    let call = submitted.map_err(refused)?;
    let (id, hash) = (call.id(), call.function_hash_sha1());
    // A short call is answered while this thread serves other connections. It is then found here, so its worker need not wake this thread,
    // which costs more than the call.
    tokio::task::yield_now().await;
    let failed = |error| refused(Problem::of_call(&error, &name).with_call(id, hash));
    let answer = call.await.map_err(failed)?;
    Ok(reply::response(id, media, answer))
}
