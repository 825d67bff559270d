//! The response of a call, in the format that its client accepts.

use super::media::Media;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use std::fmt::Write as _;
use wpc_host::{BackendReply, CallId, FunctionHash, ReplyFormat, ReplyValue};

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

/// Adds the call and the module that it runs.
pub(super) fn identify(headers: &mut HeaderMap, id: CallId, hash: FunctionHash) {
    // In one allocation, because every answer has it.
    let mut tag = String::with_capacity(2 + 2 * size_of::<FunctionHash>());
    let _ = write!(tag, "\"{hash}\"");
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(HeaderName::from_static("wpc-call-id"), u64::from(id).into());
}
