//! Calls with the header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07).

use super::media::Media;
use crate::access::Principal;
use crate::idempotency::{Begin, Fingerprint, Store, Stored, Ticket};
use crate::problem::{Problem, ServerCode};
use axum::body::{Bytes, to_bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use std::future::Future;
use std::time::Instant;
use wpc_host::CallOutcome;

/// The maximum length of a key in bytes.
const MAX_KEY: usize = 255;

/// A request with a key.
#[derive(Debug)]
pub(super) struct Keyed {
    store: Store,
    key: String,
}

impl Keyed {
    /// The key of a request; `None` if it has none.
    pub(super) fn of(headers: &HeaderMap, store: Option<&Store>) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(None) };
        let store = store.ok_or_else(|| {
            let detail = "`Idempotency-Key` is not enabled on this server; its operator can enable it with `--idempotency`";
            Problem::bad_request(detail)
        })?;
        let text = value.to_str().unwrap_or_default().trim();
        let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let key = quoted.unwrap_or(text);
        let is_single = values.next().is_none();
        if !is_single || key.is_empty() || key.len() > MAX_KEY || key.contains('"') {
            let detail = format!("`Idempotency-Key`: expected one string of 1 to {MAX_KEY} bytes");
            return Err(Problem::bad_request(detail));
        }
        Ok(Some(Self { store: store.clone(), key: key.to_owned() }))
    }

    /// Runs the call, unless it was run before. It runs to its end even if the client disconnects, so that the client can
    /// request the response again.
    pub(super) async fn run(
        self,
        principal: &Principal,
        function: &str,
        request: (&Parts, &Bytes, Media),
        call: impl Future<Output = Result<Response, Problem>> + Send + 'static,
    ) -> Result<Response, Problem> {
        let refused = |code, detail: &str| {
            Err(Problem::new(code, format!("\"{}\": {detail}", self.key)).with_function(function))
        };
        let key = Fingerprint::of([
            principal.name().as_bytes(),
            function.as_bytes(),
            self.key.as_bytes(),
        ]);
        let request = fingerprint(request);
        match self.store.begin(key, request, Instant::now()) {
            Begin::Run(ticket) => {
                let running = tokio::spawn(async move { keep(ticket, call.await).await });
                running.await.unwrap_or_else(|error| {
                    Err(Problem::new(ServerCode::Internal, format!("the request failed: {error}")))
                })
            }
            Begin::Replay(stored) => Ok(replay(stored)),
            Begin::InFlight => refused(
                ServerCode::IdempotencyInFlight,
                "a request with this key is in progress; repeat the request later",
            ),
            Begin::Mismatch => refused(
                ServerCode::IdempotencyMismatch,
                "the key was used for another request; use a new key",
            ),
            Begin::Dropped => refused(
                ServerCode::IdempotencyAnswerDropped,
                "the function has run, but its response was too large to be kept",
            )
            .map_err(|problem| problem.with_outcome(CallOutcome::Finished)),
            Begin::Full => refused(
                ServerCode::IdempotencyStoreFull,
                "too many requests with keys are in progress",
            ),
        }
    }
}

/// A hash of the parts that must be equal in a repeated request.
fn fingerprint((parts, body, answer): (&Parts, &Bytes, Media)) -> Fingerprint {
    let of = |name: HeaderName| parts.headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let (kind, pin) = (of(header::CONTENT_TYPE), of(header::IF_MATCH));
    Fingerprint::of([body, query, kind, pin, answer.header().as_bytes()])
}

/// Keeps the response, or frees the key if the function did not begin.
async fn keep(ticket: Ticket, answer: Result<Response, Problem>) -> Result<Response, Problem> {
    let response = match answer {
        Err(problem) if problem.details().outcome == CallOutcome::NotStarted => {
            drop(ticket);
            return Err(problem);
        }
        Err(problem) => problem.into_response(),
        Ok(response) => response,
    };
    let (parts, body) = response.into_parts();
    // The body is in memory already.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let stored =
        Stored { status: parts.status, headers: parts.headers.clone(), body: body.clone() };
    ticket.finish(stored, Instant::now());
    Ok(Response::from_parts(parts, body.into()))
}

fn replay(stored: Stored) -> Response {
    let Stored { status, headers, body } = stored;
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let replayed = HeaderValue::from_static("true");
    response.headers_mut().insert(HeaderName::from_static("idempotent-replayed"), replayed);
    response
}
