//! The answer of a call, in the format that its client accepts.

use super::arguments::{BYTES, JSON, POSTCARD};
use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wpc_host::{BackendReply, CallId, ReplyFormat, ReplyValue};

/// The format that `Accept` asks for: the first one that is supported. Without the header it is JSON.
pub(super) fn format(headers: &HeaderMap) -> Result<ReplyFormat, Problem> {
    let Some(accept) = headers.get(header::ACCEPT) else { return Ok(ReplyFormat::Json) };
    let accept = accept.to_str().unwrap_or_default();
    for range in accept.split(',') {
        match range.split(';').next().unwrap_or_default().trim() {
            "" | "*/*" | "application/*" | JSON => return Ok(ReplyFormat::Json),
            POSTCARD => return Ok(ReplyFormat::Encoded),
            BYTES => return Ok(ReplyFormat::Bytes),
            _ => {}
        }
    }
    Err(Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        "not_acceptable",
        "the accepted types are not supported",
        format!("the result can be {JSON}, {POSTCARD} or {BYTES}"),
    ))
}

pub(super) fn response(id: CallId, reply: BackendReply) -> Response {
    let (kind, body) = match reply.value {
        // A value has no keys that are not strings.
        ReplyValue::Json(value) => (JSON, serde_json::to_vec(&value).unwrap_or_default()),
        ReplyValue::Encoded(bytes) => (POSTCARD, bytes),
        ReplyValue::Bytes(bytes) => (BYTES, bytes),
        _ => (BYTES, Vec::new()),
    };
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let metadata = reply.metadata;
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", metadata.function_hash_sha1)) {
        headers.insert(header::ETAG, tag);
    }
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert(HeaderName::from_static("wpc-call-id"), id);
    }
    if let Some(fuel) = metadata.fuel_used {
        headers.insert(HeaderName::from_static("wpc-fuel-used"), fuel.into());
    }
    response
}
