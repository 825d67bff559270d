//! The response of a call, in the format that its client accepts.

use super::media::Media;
use crate::problem::{Problem, ServerCode};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use std::fmt::Write as _;
use wpc_host::{Backend, BackendReply, CallId, ErrorCode, FunctionHash, ReplyFormat, ReplyValue};

/// The format that is requested from the backend.
pub(super) const fn format(media: Media) -> ReplyFormat {
    match media {
        Media::Bytes | Media::Text => ReplyFormat::Bytes,
        Media::Postcard => ReplyFormat::Encoded,
        Media::Json | Media::EventStream | Media::JsonLines | Media::NdJson => {
            ReplyFormat::JsonText
        }
    }
}

/// Whether the result of the function can have this format. It is `true` for an unknown function, so that the call is refused with
/// `function_not_defined`.
#[cold]
pub(super) fn can_have(media: Media, backend: &dyn Backend, function: &str) -> bool {
    let Some(information) = backend.function(function) else { return true };
    let result = information.signature.and_then(|signature| signature.result);
    match format(media) {
        ReplyFormat::Bytes => result.is_some_and(|ty| ty.is_bytes()),
        ReplyFormat::Encoded => true,
        _ => result.is_some(),
    }
}

pub(super) fn response(id: CallId, media: Media, reply: BackendReply) -> Response {
    let (media, body) = match reply.value {
        ReplyValue::JsonText(text) => (Media::Json, text),
        ReplyValue::Encoded(bytes) => (Media::Postcard, bytes),
        // A function may also return bytes that are not text.
        ReplyValue::Bytes(bytes) if media == Media::Text && std::str::from_utf8(&bytes).is_ok() => {
            (Media::Text, bytes)
        }
        ReplyValue::Bytes(bytes) => (Media::Bytes, bytes),
        _ => (Media::Bytes, Vec::new()),
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media.header());
    identify(headers, id, reply.metadata.function_hash_sha1);
    if let Some(fuel) = reply.metadata.fuel_used {
        headers.insert(HeaderName::from_static("wpc-fuel-used"), fuel.into());
    }
    response
}

/// The problem of a call. If the result cannot have the format that the client accepts, the backend, which does not know the header
/// `Accept`, reports `bad_arguments`; here it becomes `not_acceptable`.
#[cold]
pub(super) fn refused(
    problem: Problem,
    backend: &dyn Backend,
    function: &str,
    media: Media,
) -> Problem {
    let is_bytes = format(media) == ReplyFormat::Bytes;
    if !is_bytes || problem.details().code != ErrorCode::BadArguments.as_str() {
        return problem;
    }
    let Some(information) = backend.function(function) else { return problem };
    let result = information.signature.and_then(|signature| signature.result);
    let detail = match result {
        Some(ty) if ty.is_bytes() => return problem,
        Some(ty) => format!(
            "the result of function \"{function}\" is `{ty}`, and only a byte sequence or a string can be sent as text or bytes; accept `application/json`"
        ),
        None => format!(
            "the module does not declare the type of the result of function \"{function}\"; accept `application/vnd.postcard`"
        ),
    };
    Problem::new(ServerCode::NotAcceptable, detail).with_function(function)
}

/// Adds the headers `Wpc-Call-Id` and `ETag`.
pub(super) fn identify(headers: &mut HeaderMap, id: CallId, hash: FunctionHash) {
    // In one allocation, because every answer has it.
    let mut tag = String::with_capacity(2 + 2 * size_of::<FunctionHash>());
    let _ = write!(tag, "\"{hash}\"");
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(HeaderName::from_static("wpc-call-id"), u64::from(id).into());
}
