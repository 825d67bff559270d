//! The body of a request, bounded.

use crate::application::Application;
use crate::problem::{Problem, ServerCode};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header;
use axum::http::request::Parts;
use http_body_util::LengthLimitError;
use std::error::Error as _;

/// Reads the body, which is not compressed. One that announces more bytes than the limit is not read.
pub(crate) async fn read(
    application: &Application,
    parts: &Parts,
    body: Body,
) -> Result<Bytes, Problem> {
    if let Some(coding) = parts.headers.get(header::CONTENT_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        let detail = format!("expected a body without `Content-Encoding`, found {coding:?}");
        return Err(Problem::new(ServerCode::UnsupportedMediaType, detail));
    }
    let limit = application.settings().max_body;
    let too_large = || {
        let detail = format!("the body is larger than {limit} bytes");
        Problem::new(ServerCode::BodyTooLarge, detail)
    };
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    to_bytes(body, limit).await.map_err(|error| {
        if error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
            return too_large();
        }
        Problem::bad_request(format!("the body cannot be read: {error}"))
    })
}
