//! The arguments of a call, by the content type of its body.

use crate::problem::Problem;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use wpc_host::CallArguments;

pub(super) const JSON: &str = "application/json";
pub(super) const POSTCARD: &str = "application/vnd.postcard";
pub(super) const BYTES: &str = "application/octet-stream";

/// Reads the body. A body without a content type is JSON.
pub(super) fn read(headers: &HeaderMap, body: Bytes) -> Result<CallArguments, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str());
    let essence = match content_type {
        None => JSON,
        Some(Ok(text)) => text.split(';').next().unwrap_or_default().trim(),
        Some(Err(_)) => "",
    };
    match essence.to_ascii_lowercase().as_str() {
        JSON => json(&body),
        POSTCARD => Ok(CallArguments::Encoded(body.into())),
        BYTES => Ok(CallArguments::Bytes(body.into())),
        other => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the content type is not supported",
            format!("expected {JSON}, {POSTCARD} or {BYTES}, found \"{other}\""),
        )),
    }
}

fn json(body: &[u8]) -> Result<CallArguments, Problem> {
    if body.is_empty() {
        return Ok(CallArguments::Positional(Vec::new()));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Array(values)) => Ok(CallArguments::Positional(values)),
        Ok(Value::Object(values)) => Ok(CallArguments::Named(values)),
        Ok(_) => Err(Problem::bad_request(
            "expected an array of arguments, or an object with arguments by name",
        )),
        Err(error) => Err(Problem::bad_request(format!("the body is not JSON: {error}"))),
    }
}
