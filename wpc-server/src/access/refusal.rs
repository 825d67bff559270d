//! Why a request is refused before its handler sees it.

use crate::problem::Problem;
use axum::http::StatusCode;

/// The request names another server.
pub(super) fn host(name: &str) -> Problem {
    let detail = format!(
        "\"{name}\" is not a name of this server; if it is, start the server with `--allow-host {name}`"
    );
    let title = "the host is not allowed";
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "host_not_allowed", title, detail)
}

/// A web page of another origin sent the request.
pub(super) fn origin(origin: &str) -> Problem {
    let detail = format!(
        "pages of \"{origin}\" may not send requests to this server; to allow it, start the server with `--allow-origin {origin}`"
    );
    let title = "the origin is not allowed";
    Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", title, detail)
}
