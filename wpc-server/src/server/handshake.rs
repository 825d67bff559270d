//! The TLS handshake of a connection.
//!
//! It runs in the task of its connection, so a slow one delays no other, and counts as a connection. `activity` ends one that takes longer
//! than the limit of a request's headers.

use super::activity::{Activity, Order};
use super::certificate::Certificate;
use super::connections::Member;
use super::stream::Watched;
use crate::problem::Problem;
use crate::refusals::RefusalReason;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of a TLS connection: the type of the record with the client's greeting.
const HANDSHAKE_RECORD: u8 = 22;

/// How many bytes of a client without TLS are read, so that it can read the response.
const MAX_DRAINED: usize = 64 << 10;

/// How a handshake ended.
enum Outcome {
    Done(Box<TlsStream<Watched<TcpStream>>>),
    /// The client disconnected before it sent anything, such as a probe of a load balancer.
    Unused,
    /// The client does not use TLS.
    Plain,
    Failed(io::Error),
}

/// Performs the handshake. `None` if it failed, or if the server stops.
pub(super) async fn perform(
    stream: TcpStream,
    member: Member,
    certificate: &Certificate,
) -> Option<Box<TlsStream<Watched<TcpStream>>>> {
    let (connections, activity) = (member.connections().clone(), Arc::clone(member.activity()));
    let client = member.peer();
    activity.handshake_began(connections.now());
    let outcome = until_ordered(&activity, negotiate(stream, member, certificate)).await;
    let reason = match outcome {
        Some(Outcome::Done(stream)) => {
            activity.handshake_ended(connections.now());
            return Some(stream);
        }
        Some(Outcome::Unused) => return None,
        Some(Outcome::Plain) => "the client does not use TLS".to_owned(),
        Some(Outcome::Failed(error)) => error.to_string(),
        None if activity.order() == Order::Finish => return None,
        None => "it took too long".to_owned(),
    };
    connections.traffic().refusals().refuse(RefusalReason::Handshake, client);
    tracing::debug!(reason, "a TLS handshake failed");
    None
}

async fn negotiate(stream: TcpStream, member: Member, certificate: &Certificate) -> Outcome {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(0) | Err(_) => return Outcome::Unused,
        Ok(_) => {}
    }
    let stream = Watched::new(stream, member);
    if first != [HANDSHAKE_RECORD] {
        refuse(stream).await;
        return Outcome::Plain;
    }
    match TlsAcceptor::from(certificate.config()).accept(stream).await {
        Ok(stream) => Outcome::Done(Box::new(stream)),
        Err(error) => Outcome::Failed(error),
    }
}

/// Responds to a client without TLS by HTTP, because it most likely uses HTTP.
async fn refuse(mut stream: Watched<TcpStream>) {
    let problem = Problem::bad_request(
        "this address expects TLS; name the server with `https://` instead of `http://`",
    );
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let length = body.len();
    let head =
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}");
    // A client that has disconnected does not need the response.
    if stream.write_all(answer.as_bytes()).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // The system would discard the response if the connection was closed while bytes of the client are unread.
    let mut buffer = [0; 4096];
    let mut drained = 0;
    while drained < MAX_DRAINED {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => drained += read,
        }
    }
}

/// Runs the future until it completes, or the connection is to end.
async fn until_ordered<T>(activity: &Activity, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        activity.register(context);
        if activity.order() >= Order::Finish {
            return Poll::Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}
