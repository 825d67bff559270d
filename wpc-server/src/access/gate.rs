//! The checks of a request's host, origin and token, before its handler.

use super::audit::{Audit, AuditRecord};
use super::hosts::{self, Accepted, Hosts};
use super::principal::Principal;
use super::refusal;
use super::tokens::{Rejection, Tokens};
use crate::problem::{Problem, ServerCode};
use crate::refusals::RefusalReason;
use axum::body::{Body, HttpBody as _};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Which requests are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AccessSettings {
    /// The names of the server that clients may use in `Host`, in addition to `localhost` and IP addresses; `*` accepts any
    /// name. Default: none.
    pub allowed_hosts: Vec<String>,
    /// The origins, such as `https://app.example`, whose web pages may send requests, in addition to the server's own.
    /// Default: none.
    pub allowed_origins: Vec<String>,
    /// Whether to serve other machines although no token is required. Default: no.
    pub is_insecure: bool,
}

type OnAction = Box<dyn Fn(&AuditRecord) + Send + Sync>;

/// The checks that every request passes.
pub(crate) struct Gate {
    hosts: Hosts,
    is_insecure: bool,
    tokens: Option<Tokens>,
    audit: Audit,
    on_action: Option<OnAction>,
    reports_successes: bool,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Gate {
    pub(crate) fn new(settings: &AccessSettings) -> Self {
        let hosts = Hosts::new(&settings.allowed_hosts, &settings.allowed_origins);
        let is_insecure = settings.is_insecure;
        let (tokens, audit) = (None, Audit::default());
        Self { hosts, is_insecure, tokens, audit, on_action: None, reports_successes: false }
    }

    /// Takes the settings from another gate.
    pub(crate) fn configure(&mut self, settings: &AccessSettings) {
        self.hosts = Hosts::new(&settings.allowed_hosts, &settings.allowed_origins);
        self.is_insecure = settings.is_insecure;
    }

    pub(crate) fn set_tokens(&mut self, tokens: Tokens) {
        self.tokens = Some(tokens);
    }

    pub(crate) fn set_audit(&mut self, audit: Audit) {
        self.audit = audit;
    }

    /// Adds the principal to responses of requests that succeed as well, for the report of the request.
    pub(crate) fn set_reports_successes(&mut self, reports_successes: bool) {
        self.reports_successes = reports_successes;
    }

    pub(crate) fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    pub(crate) fn set_on_action(&mut self, report: OnAction) {
        self.on_action = Some(report);
    }

    /// Reports an administrative action, and records it in the audit log.
    pub(crate) async fn record_action(&self, record: AuditRecord) -> io::Result<()> {
        if let Some(report) = &self.on_action {
            report(&record);
        }
        self.audit.record_async(record).await
    }

    /// Whether the server may listen on this address: it is a loopback address, tokens are required, or insecure access is allowed.
    pub(crate) fn may_listen_on(&self, address: SocketAddr) -> bool {
        address.ip().to_canonical().is_loopback()
            || self.is_insecure
            || self.tokens.as_ref().is_some_and(Tokens::are_required)
    }

    /// Accepts a request, or returns the response to a refused one.
    pub(super) fn admit(
        &self,
        request: Request<Body>,
    ) -> Result<(Request<Body>, Admitted), Box<Refusal>> {
        let (mut parts, body) = request.into_parts();
        match self.check(&mut parts) {
            Ok(admitted) => Ok((Request::from_parts(parts, body), admitted)),
            Err(answer) => Err(Box::new(Refusal::new(*answer, &parts, body))),
        }
    }

    fn check(&self, parts: &mut Parts) -> Result<Admitted, Box<Response<Body>>> {
        let origin = match self.hosts.check(parts) {
            Ok(Accepted::Same) => None,
            Ok(Accepted::Cross(origin)) => Some(origin),
            Ok(Accepted::Preflight(answer)) => return Err(answer),
            Err(problem) => {
                let is_of_origin = problem.details().code == ServerCode::OriginNotAllowed.as_str();
                let reason = if is_of_origin { RefusalReason::Origin } else { RefusalReason::Host };
                let mut response = problem.into_response();
                response.extensions_mut().insert(reason);
                return Err(Box::new(response));
            }
        };
        let reports_successes = self.reports_successes;
        let mut admitted = Admitted { origin, principal: None, reports_successes };
        match self.authenticate(parts) {
            Ok(None) => {
                if let Some(tokens) = &self.tokens {
                    parts.extensions.insert(tokens.anonymous());
                }
            }
            Ok(Some(principal)) => {
                parts.extensions.insert(principal.clone());
                admitted.principal = Some(principal);
            }
            Err(refused) => {
                let mut response = refused.problem.into_response();
                let challenge = HeaderValue::from_static(refused.challenge);
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                response.extensions_mut().insert(refused.reason);
                admitted.finish(&mut response);
                return Err(Box::new(response));
            }
        }
        Ok(admitted)
    }

    /// The principal of a request; `None` for an anonymous one.
    fn authenticate(&self, request: &Parts) -> Result<Option<Principal>, Refused> {
        let tokens = self.tokens.as_ref().filter(|tokens| tokens.are_required());
        let Some(tokens) = tokens else { return Ok(None) };
        let mut headers = request.headers.get_all(header::AUTHORIZATION).iter();
        let principal = match (headers.next(), headers.next()) {
            (None, _) if is_public(request) => Ok(Principal::unauthenticated()),
            (None, _) => {
                return Err(Refused {
                    problem: refusal::unauthenticated(),
                    challenge: CHALLENGE,
                    reason: RefusalReason::NoToken,
                });
            }
            (Some(header), None) => bearer(header)
                .ok_or(Rejection::Malformed)
                .and_then(|token| tokens.authenticate(token)),
            _ => Err(Rejection::Malformed),
        };
        principal.map(Some).map_err(|rejection| {
            // The token is not recorded: a valid one with a typing mistake is close to a secret.
            let record = AuditRecord::new("unauthenticated", "authenticate", request.uri.path());
            let id = request.headers.get("x-request-id").and_then(|id| id.to_str().ok());
            self.audit.refused_token(record.outcome(rejection.as_str()).request_id(id));
            Refused {
                problem: refusal::token(rejection),
                challenge: CHALLENGE_INVALID,
                reason: match rejection {
                    Rejection::Missing => RefusalReason::NoToken,
                    Rejection::Malformed => RefusalReason::MalformedToken,
                    Rejection::Unknown => RefusalReason::UnknownToken,
                    Rejection::Expired => RefusalReason::ExpiredToken,
                    Rejection::Revoked => RefusalReason::RevokedToken,
                },
            }
        })
    }
}

/// The response to a refused request, and the body of that request. A small body is read before the response is sent, so that the client
/// can use the connection for another request; with a larger one, or one that waits for `100 Continue`, the connection is closed.
#[derive(Debug)]
pub(super) struct Refusal {
    answer: Option<Response<Body>>,
    body: Option<Body>,
}

/// The maximum size of a body that is read, in bytes.
const MAX_DRAINED: u64 = 64 << 10;

impl Refusal {
    fn new(mut answer: Response<Body>, request: &Parts, body: Body) -> Self {
        let size = body.size_hint().upper();
        let is_small = size.is_some_and(|size| size <= MAX_DRAINED);
        if is_small && !request.headers.contains_key(header::EXPECT) {
            return Self { answer: Some(answer), body: Some(body) };
        }
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Self { answer: Some(answer), body: None }
    }

    /// The response, once the body was read.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Response<Body>> {
        while let Some(body) = &mut self.body {
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => self.body = None,
            }
        }
        self.answer.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// A request without a valid token.
struct Refused {
    problem: Problem,
    challenge: &'static str,
    reason: RefusalReason,
}

const CHALLENGE: &str = "Bearer realm=\"wpc\"";
const CHALLENGE_INVALID: &str = "Bearer realm=\"wpc\", error=\"invalid_token\"";
const CHALLENGE_SCOPE: &str = "Bearer realm=\"wpc\", error=\"insufficient_scope\"";

fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_start_matches(' '))
}

/// Whether a request without a token reaches its handler. This applies to the health of the server, to the descriptions of
/// problems, and to the live page without its data.
fn is_public(request: &Parts) -> bool {
    let path = request.uri.path();
    matches!(request.method, Method::GET | Method::HEAD)
        && (matches!(
            path,
            "/" | "/livez" | "/readyz" | "/startupz" | "/healthz" | "/favicon.ico" | "/problems"
        ) || path.starts_with("/problems/"))
}

/// Data for the response to an accepted request.
#[derive(Debug)]
#[must_use]
pub(super) struct Admitted {
    origin: Option<HeaderValue>,
    principal: Option<Principal>,
    reports_successes: bool,
}

impl Admitted {
    /// Adds the headers to the response.
    pub(super) fn finish(self, response: &mut Response<Body>) {
        if let Some(principal) = self.principal {
            let challenge = match response.status() {
                StatusCode::UNAUTHORIZED => Some(CHALLENGE),
                StatusCode::FORBIDDEN => Some(CHALLENGE_SCOPE),
                _ => None,
            };
            let headers = response.headers_mut();
            if let Some(challenge) = challenge {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            if let Some(usage) = principal.usage() {
                usage.describe(headers);
            }
            // For the report of the request. It costs an allocation.
            if self.reports_successes || response.status().as_u16() >= 400 {
                response.extensions_mut().insert(principal);
            }
        }
        if let Some(origin) = self.origin {
            hosts::allow(origin, response.headers_mut());
        }
    }
}
