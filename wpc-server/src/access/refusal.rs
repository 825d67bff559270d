//! Why access is refused: because of the token, its rights or its quota.

use super::tokens::Rejection;
use super::usage::whole_seconds;
use crate::problem::{Problem, ServerCode};
use std::time::Duration;

/// The request names another server.
pub(super) fn host(name: &str) -> Problem {
    let detail = format!(
        "\"{name}\" is not a name of this server; if it is, its operator can allow it with `--allow-host {name}`"
    );
    Problem::new(ServerCode::HostNotAllowed, detail)
}

/// A web page of another origin sent the request.
pub(super) fn origin(origin: &str) -> Problem {
    let detail = format!(
        "pages of \"{origin}\" may not send requests to this server; its operator can allow them with `--allow-origin {origin}`"
    );
    Problem::new(ServerCode::OriginNotAllowed, detail)
}

/// The request has no token, and its path needs one.
pub(super) fn unauthenticated() -> Problem {
    let detail = "this request needs a token: `Authorization: Bearer wpc_…`".to_owned();
    unauthorized(detail)
}

/// The token is not accepted. The reason has no details that would help to guess a token.
pub(super) fn token(rejection: Rejection) -> Problem {
    let detail = match rejection {
        Rejection::Missing => return unauthenticated(),
        Rejection::Malformed => {
            "`Authorization` does not have a valid token; expected `Bearer wpc_…`, complete and unchanged"
        }
        Rejection::Unknown => "the token is not known to this server",
        Rejection::Expired => "the token has expired; ask the operator for a new one",
        Rejection::Revoked => "the token was revoked; ask the operator for a new one",
    };
    unauthorized(detail.to_owned())
}

fn unauthorized(detail: String) -> Problem {
    Problem::new(ServerCode::Unauthenticated, detail)
}

/// The quota of the token is used up.
pub(super) fn quota(name: &str, what: &str, limit: &str, wait: Duration) -> Problem {
    let detail = format!("\"{name}\" has used up its quota of {what} ({limit})");
    Problem::new(ServerCode::QuotaExceeded, detail).with_retry_after(whole_seconds(wait).max(1))
}
