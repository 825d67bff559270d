//! What every request passes before its handler: the checks of host and origin.

use super::hosts::{self, Accepted, Hosts};
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response};
use axum::response::IntoResponse as _;
use std::net::SocketAddr;

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

/// The checks that every request passes.
#[derive(Debug)]
pub(crate) struct Gate {
    hosts: Hosts,
    is_insecure: bool,
}

impl Gate {
    pub(crate) fn new(settings: &AccessSettings) -> Self {
        let hosts = Hosts::new(&settings.allowed_hosts, &settings.allowed_origins);
        Self { hosts, is_insecure: settings.is_insecure }
    }

    /// Whether only clients that may do so can reach the server at this address.
    pub(crate) fn may_listen_on(&self, address: SocketAddr) -> bool {
        address.ip().to_canonical().is_loopback() || self.is_insecure
    }

    /// Accepts a request, or returns the answer to a refused one.
    pub(crate) fn admit(
        &self,
        request: Request<Body>,
    ) -> Result<(Request<Body>, Admitted), Box<Response<Body>>> {
        let (parts, body) = request.into_parts();
        let origin = match self.hosts.check(&parts) {
            Ok(Accepted::Same) => None,
            Ok(Accepted::Cross(origin)) => Some(origin),
            Ok(Accepted::Preflight(answer)) => return Err(answer),
            Err(problem) => return Err(Box::new(problem.into_response())),
        };
        let admitted = Admitted { origin };
        Ok((Request::from_parts(parts, body), admitted))
    }
}

/// What the answer of an accepted request needs.
#[derive(Debug)]
#[must_use]
pub(crate) struct Admitted {
    origin: Option<HeaderValue>,
}

impl Admitted {
    /// Completes the answer.
    pub(crate) fn finish(self, response: &mut Response<Body>) {
        if let Some(origin) = self.origin {
            hosts::allow(origin, response.headers_mut());
        }
    }
}
