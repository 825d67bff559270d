//! Accepts connections.

use super::certificate::Certificate;
use super::connection::{ConnectionState, Endpoint, serve};
use super::connections::{Connections, Member, Refusal};
use super::handshake;
use super::listener::{Accepted, Listener};
use super::stream::Watched;
use super::unrouted;
use crate::refusals::RefusalReason;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How long to wait after a failure to accept a connection, because a failure such as too many open files would occur again
/// at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until it is dropped, and serves each in a task of its own. With a certificate, those of IP use TLS.
pub(super) async fn accept(
    listener: Listener,
    certificate: Option<Certificate>,
    connections: Connections,
    endpoint: Endpoint,
) {
    loop {
        match listener.accept().await {
            Ok(accepted) => begin(accepted, certificate.as_ref(), &connections, &endpoint),
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn begin(
    accepted: Accepted,
    certificate: Option<&Certificate>,
    connections: &Connections,
    endpoint: &Endpoint,
) {
    let address = accepted.address();
    let member = match connections.admit(address.map(|address| address.ip())) {
        Ok(member) => member,
        Err(refusal) => {
            let client = address.map(|address| address.ip());
            connections.traffic().refusals().refuse(refusal.reason(), client);
            // A client with TLS could not read the answer.
            if certificate.is_none() {
                accepted.write(refusal.answer());
            }
            return;
        }
    };
    let endpoint = endpoint.clone();
    match accepted {
        Accepted::Ip(stream, _) => {
            // Responses are written in one piece, so waiting for more bytes would only delay them.
            let _ = stream.set_nodelay(true);
            match certificate.cloned() {
                Some(certificate) => tokio::spawn(secured(stream, member, certificate, endpoint)),
                None => tokio::spawn(plain(stream, member, endpoint)),
            };
        }
        #[cfg(unix)]
        Accepted::Unix(stream) => {
            tokio::spawn(plain(stream, member, endpoint));
        }
    }
}

async fn plain<S>(stream: S, member: Member, endpoint: Endpoint)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = ConnectionState::of(&member, endpoint);
    serve(Watched::new(stream, member), state).await;
}

async fn secured(stream: TcpStream, member: Member, certificate: Certificate, endpoint: Endpoint) {
    let state = ConnectionState::of(&member, endpoint);
    if let Some(stream) = handshake::perform(stream, member, &certificate).await {
        serve(stream, state).await;
    }
}

impl Refusal {
    fn reason(self) -> RefusalReason {
        match self {
            Self::TooMany => RefusalReason::Connections,
            Self::TooManyOfAddress => RefusalReason::ConnectionsOfAddress,
        }
    }

    fn answer(self) -> &'static [u8] {
        match self {
            Self::TooMany => &unrouted::TOO_MANY_CONNECTIONS,
            Self::TooManyOfAddress => &unrouted::TOO_MANY_CONNECTIONS_OF_ADDRESS,
        }
    }
}

/// Whether the error is that of a connection which ended before it was accepted.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
