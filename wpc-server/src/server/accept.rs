//! Accepts connections.

use super::connection::{Served, serve};
use super::connections::{Connections, Refusal};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long to wait after a failure to accept a connection, because a failure such as too many open files would occur again
/// at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until it is dropped, and serves each in a task of its own.
pub(super) async fn accept(listener: TcpListener, connections: Connections, served: Served) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => begin(stream, address, &connections, &served),
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn begin(stream: TcpStream, address: SocketAddr, connections: &Connections, served: &Served) {
    match connections.admit(Some(address.ip())) {
        Ok(member) => {
            // Responses are written in one piece, so waiting for more bytes would only delay them.
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream, member, served.clone()));
        }
        Err(refusal) => {
            connections.traffic().connection_refused();
            tracing::debug!(%address, ?refusal, "refused a connection");
            // Without waiting: a new connection has an empty buffer.
            let _ = stream.try_write(refusal.answer());
        }
    }
}

impl Refusal {
    fn answer(self) -> &'static [u8] {
        match self {
            Self::TooMany => {
                b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            }
            Self::TooManyOfAddress => {
                b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            }
        }
    }
}

/// Whether the error is that of a connection which ended before it was accepted.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
