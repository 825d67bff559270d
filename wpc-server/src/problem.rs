//! Errors as problem documents of RFC 9457.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use wpc_host::{CallId, CallOutcome, Error, FunctionHash};

/// An error as a problem document of RFC 9457, `application/problem+json`.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<ProblemDetails>);

/// The members of a [`Problem`]. Their names and codes are stable; `detail` and `title` are texts for people.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ProblemDetails {
    /// A reference that identifies the kind of problem: `/problems/` and its code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong.
    pub detail: String,
    /// The code of the kind: an [`ErrorCode`](wpc_host::ErrorCode), or a code of the server.
    pub code: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What is known about the execution of the call.
    pub outcome: CallOutcome,
    /// The call's number in events and logs; `None` if the call was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wpc_call_id: Option<CallId>,
    /// The function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The SHA-1 of the function's module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_hash_sha1: Option<FunctionHash>,
    /// The error that the function returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest: Option<Value>,
    /// Further members of this kind of problem.
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
    /// Seconds after which to try again.
    #[serde(skip)]
    pub(crate) retry_after: Option<u64>,
}

impl Problem {
    /// A problem of a request that no call was made for.
    pub(crate) fn new(status: StatusCode, code: &str, title: &str, detail: String) -> Self {
        Self(Box::new(ProblemDetails {
            kind: format!("/problems/{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
            code: code.to_owned(),
            retryable: false,
            outcome: CallOutcome::NotStarted,
            wpc_call_id: None,
            function: None,
            function_hash_sha1: None,
            guest: None,
            extensions: Map::new(),
            retry_after: None,
        }))
    }

    /// Adds a member.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.0.extensions.insert(name.to_owned(), value);
        self
    }

    /// Its members.
    #[must_use]
    pub fn details(&self) -> &ProblemDetails {
        &self.0
    }

    /// The request cannot be understood.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", "invalid request", detail.into())
    }

    /// The client did not send its request in time.
    pub(crate) fn request_timeout() -> Self {
        let detail = "the body of the request arrived too slowly".to_owned();
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request timed out", detail)
            .with_retry_after(RETRY_AFTER)
    }

    /// The server has no capacity for the request at the moment.
    pub(crate) fn overloaded(detail: &str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "overloaded", "the server is overloaded", detail.to_owned())
            .with_retry_after(RETRY_AFTER)
    }

    /// The same request may succeed after this number of seconds.
    pub(crate) fn with_retry_after(mut self, seconds: u64) -> Self {
        (self.0.retryable, self.0.retry_after) = (true, Some(seconds));
        self
    }

    /// The client may not do that.
    pub(crate) fn forbidden(name: &str, scope: &str) -> Self {
        let detail = format!("\"{name}\" does not have the scope `{scope}`");
        Self::new(StatusCode::FORBIDDEN, "forbidden", "the scope is missing", detail)
    }

    /// The error of a call.
    pub(crate) fn of_call(error: &Error, function: &str) -> Self {
        let code = error.code();
        let status = StatusCode::from_u16(code.http_status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let title = code.as_str().replace('_', " ");
        let mut problem = Self::new(status, code.as_str(), &title, error.to_string());
        let details = &mut problem.0;
        details.retryable = error.retry_can_help();
        details.outcome = error.outcome();
        details.function = Some(function.to_owned());
        if let Error::Guest { error: guest, .. } = error {
            let mut value = json!({ "name": guest.name, "message": guest.message });
            if !guest.variant.is_empty() {
                value["variant"] = guest.variant.as_str().into();
            }
            // A payload that does not match its declared type is omitted; the rest of the error is shown.
            if let Some(payload) = error.guest_payload_json().ok().flatten() {
                value["payload"] = payload;
            }
            details.guest = Some(value);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            details.retry_after = Some(RETRY_AFTER);
        }
        problem
    }

    /// Adds the call and the module that it ran.
    pub(crate) fn with_call(mut self, id: CallId, hash: FunctionHash) -> Self {
        (self.0.wpc_call_id, self.0.function_hash_sha1) = (Some(id), Some(hash));
        self
    }
}

/// How long a client should wait before it tries again, in seconds: the shortest time that the header can state.
const RETRY_AFTER: u64 = 1;

/// The code of a problem, in the extensions of its response.
#[derive(Debug, Clone)]
pub(crate) struct ProblemCode(pub(crate) Arc<str>);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(id) = self.0.wpc_call_id
            && let Ok(id) = HeaderValue::try_from(id.to_string())
        {
            headers.insert(HeaderName::from_static("wpc-call-id"), id);
        }
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(ProblemCode(self.0.code.into()));
        response
    }
}
