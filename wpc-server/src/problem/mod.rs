//! Errors as problem documents of RFC 9457.

mod catalogue;
mod descriptions;
mod rejections;
mod server_code;
mod settings;

pub(crate) use catalogue::routes;
pub(crate) use server_code::ServerCode;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::io;
use wpc_host::{CallId, CallOutcome, Error, ErrorCode, FunctionHash};

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
    pub code: Cow<'static, str>,
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
    /// The number of items that were delivered before a stream failed; `None` if the call is not a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<u64>,
    /// Further members of this kind of problem.
    #[serde(flatten)]
    pub extensions: Map<String, Value>,
    /// Seconds after which to try again.
    #[serde(skip)]
    pub(crate) retry_after: Option<u64>,
    #[serde(skip)]
    pub(crate) json_rpc_code: i32,
}

impl Problem {
    /// A problem that the server found before a call began.
    pub(crate) fn new(code: ServerCode, detail: impl Into<String>) -> Self {
        let mut problem =
            Self::of_code(code.as_str(), code.title().to_owned(), code.status(), detail.into());
        problem.0.json_rpc_code = code.json_rpc_code();
        problem.0.retryable = code.retry_can_help();
        problem
    }

    fn of_code(code: &'static str, title: String, status: StatusCode, detail: String) -> Self {
        let is_unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        Self(Box::new(ProblemDetails {
            kind: format!("/problems/{code}"),
            title,
            status: status.as_u16(),
            detail,
            code: code.into(),
            retryable: false,
            outcome: CallOutcome::NotStarted,
            wpc_call_id: None,
            function: None,
            function_hash_sha1: None,
            guest: None,
            extensions: Map::new(),
            items: None,
            retry_after: is_unavailable.then_some(RETRY_AFTER),
            json_rpc_code: 0,
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

    /// The code of a JSON-RPC error that reports it.
    pub(crate) fn json_rpc_code(&self) -> i32 {
        self.0.json_rpc_code
    }

    /// The request cannot be understood.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ServerCode::BadRequest, detail)
    }

    /// The client did not send its request in time.
    pub(crate) fn request_timeout(part: &str) -> Self {
        Self::new(
            ServerCode::RequestTimeout,
            format!("the {part} of the request arrived too slowly"),
        )
        .with_retry_after(RETRY_AFTER)
    }

    /// The server failed, for example because the disk is full.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        Self::new(ServerCode::Internal, error.to_string())
    }

    /// The audit log could not be written after an action.
    pub(crate) fn unrecorded(error: &io::Error) -> Self {
        let detail = format!(
            "the action may have been performed, but was not recorded in the audit log: {error}; free or repair the disk of the data \
             folder, and check the state before you repeat the action"
        );
        let code = if is_full(error) { ServerCode::DiskFull } else { ServerCode::Internal };
        Self::new(code, detail).with_outcome(CallOutcome::Unknown)
    }

    /// The server has no capacity for the request at the moment.
    pub(crate) fn overloaded(detail: &str) -> Self {
        Self::new(ServerCode::Overloaded, detail)
    }

    /// The same request may succeed after this number of seconds.
    pub(crate) fn with_retry_after(mut self, seconds: u64) -> Self {
        (self.0.retryable, self.0.retry_after) = (true, Some(seconds));
        self
    }

    /// The client does not have the scope.
    pub(crate) fn forbidden(name: &str, scope: &str) -> Self {
        Self::new(ServerCode::Forbidden, format!("\"{name}\" does not have the scope `{scope}`"))
    }

    /// A problem with a code of calls that the server found before the call was submitted.
    pub(crate) fn of_code_of_calls(code: ErrorCode, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.http_status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let title = code.as_str().replace('_', " ");
        let mut problem = Self::of_code(code.as_str(), title, status, detail.into());
        problem.0.json_rpc_code = code.json_rpc_code();
        problem
    }

    /// The error of a call.
    pub(crate) fn of_call(error: &Error, function: &str) -> Self {
        let mut detail = wpc_deploy::remedy::text_with(error, settings::NAMES);
        if matches!(error, Error::YieldsItems { .. }) {
            detail += "; call it at `/v1/functions/NAME/call` with `Accept: text/event-stream` or `Accept: application/jsonl`";
        }
        let mut problem = Self::of_code_of_calls(error.code(), detail);
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
        problem
    }

    /// Adds the call and the module that it ran.
    pub(crate) fn with_call(mut self, id: CallId, hash: FunctionHash) -> Self {
        (self.0.wpc_call_id, self.0.function_hash_sha1) = (Some(id), Some(hash));
        self
    }

    /// Adds the function that the request named.
    pub(crate) fn with_function(mut self, function: &str) -> Self {
        self.0.function = Some(function.to_owned());
        self
    }

    /// Adds how many items were delivered before.
    pub(crate) fn with_items(mut self, delivered: u64) -> Self {
        self.0.items = Some(delivered);
        self
    }

    /// Reports it with a status other than that of its code.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self.0.retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER);
        self
    }

    /// States what is known about the execution of the call.
    pub(crate) fn with_outcome(mut self, outcome: CallOutcome) -> Self {
        self.0.outcome = outcome;
        self
    }

    /// Appends a suggestion to the detail.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.0.detail.push_str(hint);
        self
    }
}

/// Whether an operation failed because the disk is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// How long a client should wait before a retry, in seconds: the shortest time that the header can express.
const RETRY_AFTER: u64 = 1;

/// The code of a problem, in the extensions of its response.
#[derive(Debug, Clone)]
pub(crate) struct ProblemCode(pub(crate) Cow<'static, str>);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(id) = self.0.wpc_call_id {
            headers.insert(HeaderName::from_static("wpc-call-id"), u64::from(id).into());
        }
        response.extensions_mut().insert(ProblemCode(self.0.code));
        response
    }
}
