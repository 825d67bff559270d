//! The exporters' HTTP client. They use it on threads of their own, so it may block.

use axum::body::Bytes;
use axum::http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use ureq::tls::TlsConfig;

/// The maximum time of an export.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum size of a collector's response, which contains only errors.
const MAX_ANSWER: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Client(ureq::Agent);

impl Client {
    /// A client that uses these TLS settings.
    pub(super) fn new(tls: TlsConfig) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .tls_config(tls)
            .build();
        Self(agent.into())
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let mut answer = self.0.run(Request::from_parts(parts, &body[..]))?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
        let (parts, _) = answer.into_parts();
        Ok(Response::from_parts(parts, body.into()))
    }
}

impl HttpClient for Client {
    fn send_bytes<'client, 'future>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'client: 'future,
        Self: 'future,
    {
        Box::pin(std::future::ready(self.send(request)))
    }
}
