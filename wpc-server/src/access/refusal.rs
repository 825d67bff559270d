//! Why a request is refused before its handler sees it.

use crate::problem::{Problem, ServerCode};

/// The request names another server.
pub(super) fn host(name: &str) -> Problem {
    let detail = format!(
        "\"{name}\" is not a name of this server; if it is, start the server with `--allow-host {name}`"
    );
    Problem::new(ServerCode::HostNotAllowed, detail)
}

/// A web page of another origin sent the request.
pub(super) fn origin(origin: &str) -> Problem {
    let detail = format!(
        "pages of \"{origin}\" may not send requests to this server; to allow it, start the server with `--allow-origin {origin}`"
    );
    Problem::new(ServerCode::OriginNotAllowed, detail)
}
