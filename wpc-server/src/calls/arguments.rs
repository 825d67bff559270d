//! The arguments of a call, by the content type of its body.

use super::json;
use super::media::Media;
use crate::problem::Problem;
use axum::body::Bytes;
use serde_json::Value;
use wpc_host::CallArguments;

pub(super) fn read(media: Media, body: Bytes) -> Result<CallArguments, Problem> {
    match media {
        Media::Postcard => Ok(CallArguments::Encoded(body.into())),
        Media::Bytes | Media::Text => Ok(CallArguments::Bytes(body.into())),
        _ => from_json(&body),
    }
}

/// An empty body is a call without arguments.
fn from_json(body: &[u8]) -> Result<CallArguments, Problem> {
    if body.is_empty() {
        return Ok(CallArguments::Positional(Vec::new()));
    }
    match json::read(body)? {
        Value::Array(values) => Ok(CallArguments::Positional(values)),
        Value::Object(values) => Ok(CallArguments::Named(values)),
        _ => Err(Problem::bad_request(
            "expected an array of arguments, or an object with arguments by name",
        )),
    }
}
