//! Connections and requests that are refused before they reach a handler are reported, and counted by reason.

use crate::harness::Running;
use crate::raw::{Connection, add};
use crate::tokens::new;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use wpc_server::{Application, ConnectionLimits, RefusalReason, Refused, Store, Timestamp, Tokens};

/// A server with tokens in a data folder, and what it refuses.
struct Observed {
    server: Running,
    tokens: Tokens,
    refused: Receiver<Refused>,
    _folder: tempfile::TempDir,
}

fn observe(limits: ConnectionLimits) -> Observed {
    let folder = tempfile::tempdir().unwrap();
    let tokens = Tokens::of_store(Store::open(folder.path()).unwrap()).unwrap();
    // More than a test causes.
    let (sender, refused) = sync_channel(100);
    let server = Running::with(
        |wpc| {
            Application::builder(Arc::new(wpc))
                .tokens(tokens.clone())
                .on_refusal(move |refused| sender.send(refused.clone()).unwrap())
                .build()
        },
        |server| server.limits(limits),
    );
    Observed { server, tokens, refused, _folder: folder }
}

impl Observed {
    fn token(&self, name: &str, expires: Option<Timestamp>) -> String {
        let token = new(name, &["call", "observe"], |token| token.expires = expires);
        self.tokens.create(token).unwrap().1.as_str().to_owned()
    }

    /// The next refusal, which is that of a client of this machine.
    fn next(&self) -> RefusalReason {
        let refused = self.refused.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(refused.client.unwrap().is_loopback(), "{refused:?}");
        refused.reason
    }
}

#[test]
fn refused_requests_are_reported_and_counted_by_their_reason() {
    let observed = observe(ConnectionLimits::default());
    let (valid, revoked) = (observed.token("ada", None), observed.token("bob", None));
    observed.tokens.revoke("bob").unwrap();
    let unknown = observe(ConnectionLimits::default()).token("eve", None);
    let soon = Timestamp::now().after(Duration::from_secs(5));
    let expired = observed.token("cyd", Some(soon));
    let authorized = |token: &str| format!("host: localhost\r\nauthorization: Bearer {token}\r\n");
    while Timestamp::now() < soon {
        std::thread::yield_now();
    }
    for (headers, expected) in [
        ("host: evil.example\r\n".to_owned(), RefusalReason::Host),
        ("host: localhost\r\norigin: https://evil.example\r\n".to_owned(), RefusalReason::Origin),
        ("host: localhost\r\n".to_owned(), RefusalReason::NoToken),
        (authorized("wpc_x"), RefusalReason::MalformedToken),
        (authorized(&unknown), RefusalReason::UnknownToken),
        (authorized(&revoked), RefusalReason::RevokedToken),
        (authorized(&expired), RefusalReason::ExpiredToken),
    ] {
        let mut connection = Connection::open(&observed.server);
        connection.send(add(&headers));
        assert!(connection.answer().0.starts_with("http/1.1 4"), "{headers}");
        assert_eq!(observed.next(), expected, "{headers}");
    }
    let mut connection = Connection::open(&observed.server);
    connection.send(add(&authorized(&valid)));
    assert_eq!(connection.answer().1, "42");
    assert!(observed.refused.try_recv().is_err(), "an accepted request is reported");
    let header = format!("Bearer {valid}");
    let metrics = observed.server.get("/metrics", &[("authorization", &header)]);
    let metrics = String::from_utf8(metrics.body).unwrap();
    for (reason, count) in [("host", 1), ("origin", 1), ("no_token", 1), ("connections", 0)] {
        let line = format!("\nwpc_http_refusals_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn requests_that_cannot_be_parsed_and_slow_headers_are_reported() {
    let observed = observe(ConnectionLimits::default());
    Connection::open(&observed.server).send("hello\r\n\r\n");
    assert_eq!(observed.next(), RefusalReason::InvalidHttp);
    let mut limits = ConnectionLimits::default();
    limits.header_timeout = Duration::from_millis(1);
    let observed = observe(limits);
    let mut slow = Connection::open(&observed.server);
    slow.send("GET / HTTP/1.1\r\n");
    assert_eq!(observed.next(), RefusalReason::SlowHeaders);
}

#[test]
fn refused_connections_and_requests_beyond_the_limits_are_reported() {
    let mut limits = ConnectionLimits::default();
    (limits.max_connections, limits.max_requests) = (3, 1);
    limits.max_connections_per_address = 2;
    let observed = observe(limits);
    let mut busy = Connection::open(&observed.server);
    busy.send(
        "POST /v1/functions/add/call HTTP/1.1\r\nhost: localhost\r\ncontent-length: 7\r\n\r\n",
    );
    observed.server.wait_for_requests(1);
    let mut second = Connection::open(&observed.server);
    second.send(add("host: localhost\r\n"));
    assert!(second.answer().0.starts_with("http/1.1 503 "));
    assert_eq!(observed.next(), RefusalReason::Requests);
    assert!(Connection::open(&observed.server).rest().starts_with("http/1.1 429 "));
    assert_eq!(observed.next(), RefusalReason::ConnectionsOfAddress);
}
