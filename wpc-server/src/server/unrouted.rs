//! Responses to clients whose requests do not reach the router.

use crate::problem::{Problem, ServerCode};
use axum::http::StatusCode;
use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// The response to a connection beyond the limit.
pub(super) static TOO_MANY_CONNECTIONS: LazyLock<Vec<u8>> =
    LazyLock::new(|| response(&Problem::overloaded("too many connections are open")));

/// The response to a connection of an address beyond its limit.
pub(super) static TOO_MANY_CONNECTIONS_OF_ADDRESS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let problem = Problem::overloaded("too many connections of the client's address are open");
    response(&problem.with_status(StatusCode::TOO_MANY_REQUESTS).with_retry_after(1))
});

/// The response to a client whose headers arrived too slowly.
pub(super) static SLOW_HEADERS: LazyLock<Vec<u8>> =
    LazyLock::new(|| response(&Problem::request_timeout("headers")));

/// The response to bytes that are not a request of HTTP/1.1.
pub(super) static NOT_HTTP: LazyLock<Vec<u8>> = LazyLock::new(|| response(&not_http()));

fn not_http() -> Problem {
    Problem::bad_request("the request is not valid HTTP/1.1")
}

/// A problem as a complete HTTP response, after which the connection is closed.
fn response(problem: &Problem) -> Vec<u8> {
    let details = problem.details();
    let status = StatusCode::from_u16(details.status).unwrap_or_default();
    let body = serde_json::to_string(problem).unwrap_or_default();
    let mut head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    );
    if let Some(seconds) = details.retry_after {
        // Writing to a string does not fail.
        let _ = write!(head, "retry-after: {seconds}\r\n");
    }
    (head + "\r\n" + &body).into_bytes()
}

/// What is written in place of the response of the HTTP library to a request that it cannot parse, because that response has no body.
#[derive(Debug)]
pub(super) struct ParserResponse {
    bytes: Vec<u8>,
    written: usize,
}

impl ParserResponse {
    /// If bytes that are written between two requests are such a response, what to write instead.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let [b'0' | b'1', b' ', status @ ..] = head.strip_prefix(b"HTTP/1.")? else { return None };
        let status = status.get(..3)?;
        let problem = match status {
            b"400" => not_http(),
            b"414" => {
                let detail = "the path and query of the request are too long";
                Problem::new(ServerCode::HeadersTooLarge, detail)
                    .with_status(StatusCode::URI_TOO_LONG)
            }
            b"431" => {
                let detail = "the line and headers of the request, or the length that they state, are too large";
                Problem::new(ServerCode::HeadersTooLarge, detail)
            }
            _ => return None,
        };
        Some(Self { bytes: response(&problem), written: 0 })
    }

    /// Writes the rest of it.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.bytes.get(self.written..) {
            let written = ready!(Pin::new(&mut *stream).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        Poll::Ready(Ok(()))
    }
}
