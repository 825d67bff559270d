//! Connections of slow, greedy and hostile clients.

use crate::harness::{Running, eventually};
use crate::raw::{Connection, add};
use serde_json::json;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use wpc_server::{Application, ConnectionLimits, FinishedRequest, ReportedRequests};

const HOST: &str = "host: localhost\r\n";

/// A server with the limits that `set` lowers, so that a test reaches them soon. The other limits are the defaults.
fn limited(set: impl FnOnce(&mut ConnectionLimits)) -> Running {
    let mut limits = ConnectionLimits::default();
    set(&mut limits);
    Running::with(|wpc| Application::new(Arc::new(wpc)), |server| server.limits(limits))
}

/// Another client is served.
fn serves(server: &Running) {
    assert_eq!(server.call("add", &json!([40, 2])).json(), 42);
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let server = Running::start();
    let mut connection = Connection::open(&server);
    for _ in 0..3 {
        connection.send(add(HOST));
        let (head, body) = connection.answer();
        assert!(head.starts_with("http/1.1 200 ") && body == "42", "{head}{body}");
    }
    // Pipelined.
    connection.send(add(HOST).repeat(3));
    for _ in 0..3 {
        assert_eq!(connection.answer().1, "42");
    }
}

#[test]
fn a_client_that_never_completes_its_headers_is_disconnected() {
    let server = limited(|limits| limits.header_timeout = Duration::from_millis(1));
    let mut slow = Connection::open(&server);
    slow.send("POST / HTTP/1.1\r\nx-slow: ");
    let rest = slow.rest();
    assert!(rest.starts_with("http/1.1 408 ") && rest.contains("\"request_timeout\""), "{rest}");
    serves(&server);
}

#[test]
fn a_connection_without_requests_is_closed_at_its_limit() {
    let server = limited(|limits| limits.idle_timeout = Duration::from_millis(1));
    assert_eq!(Connection::open(&server).rest(), "");
    // The limit may end a connection before its request arrives.
    eventually("an answer before the limit", || {
        let mut used = Connection::open(&server);
        used.send(add(HOST));
        let rest = used.rest();
        rest.starts_with("http/1.1 200 ") && rest.ends_with("\r\n\r\n42")
    });
}

#[test]
fn a_body_that_arrives_too_slowly_is_refused() {
    let (sender, requests) = std::sync::mpsc::sync_channel(8);
    let report = move |request: &FinishedRequest| {
        let _ = sender.send((request.status, request.code.clone()));
    };
    let mut limits = ConnectionLimits::default();
    limits.body_timeout = Duration::from_millis(1);
    let server = Running::with(
        |wpc| {
            let application = Application::builder(Arc::new(wpc));
            application.on_request(ReportedRequests::Failed, report).build()
        },
        |server| server.limits(limits),
    );
    let mut slow = Connection::open(&server);
    slow.send(format!(
        "POST /v1/functions/add/call HTTP/1.1\r\n{HOST}content-length: 7\r\n\r\n[40"
    ));
    let rest = slow.rest();
    assert!(rest.starts_with("http/1.1 408 "), "{rest}");
    assert!(rest.contains("connection: close"), "{rest}");
    assert!(rest.contains("\"code\":\"request_timeout\""), "{rest}");
    // It is reported and counted as it was answered, not as a client that disconnected.
    let reported = requests.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(reported, (Some(408), Some("request_timeout".to_owned())));
    let metrics = String::from_utf8(server.get("/metrics", &[]).body).unwrap();
    let counted = |class: &str| {
        let status = format!("status=\"{class}\"");
        let mut lines = metrics.lines().filter(|line| {
            line.starts_with("wpc_http_requests_total{")
                && line.contains("/call\"")
                && line.contains(&status)
        });
        lines.any(|line| !line.ends_with(" 0"))
    };
    assert!(counted("4xx") && !counted("aborted"), "{metrics}");
    // Another client is served, whose whole request arrives at once.
    let mut other = Connection::open(&server);
    other.send(add(HOST));
    assert_eq!(other.answer().1, "42");
}

#[test]
fn a_client_that_does_not_read_its_response_is_disconnected() {
    let server = limited(|limits| limits.write_timeout = Duration::from_millis(1));
    let mut deaf = Connection::open(&server);
    let body = "x".repeat(15 << 20);
    let kind = "content-type: application/octet-stream\r\naccept: application/octet-stream\r\n";
    let length = body.len();
    deaf.send(format!(
        "POST /v1/functions/echo_bytes/call HTTP/1.1\r\n{HOST}{kind}content-length: {length}\r\n\r\n{body}"
    ));
    // The end of the connection, not of the answer.
    server.wait_for_connections(0);
    let rest = deaf.rest();
    assert!(rest.starts_with("http/1.1 200 ") && rest.len() < length, "{}", rest.len());
    serves(&server);
}

#[test]
fn floods_of_headers_are_refused() {
    let server = Running::start();
    let many: String = (0..200).map(|at| format!("x-{at}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(64 << 10));
    for headers in [many, long] {
        let mut connection = Connection::open(&server);
        connection.send(format!("GET / HTTP/1.1\r\n{HOST}{headers}\r\n"));
        let rest = connection.rest();
        assert!(rest.starts_with("http/1.1 431 "), "{rest}");
        assert!(rest.contains("\"code\":\"headers_too_large\""), "{rest}");
        serves(&server);
    }
}

#[test]
fn requests_that_are_not_http_are_refused() {
    let server = Running::start();
    for bytes in [
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}hello hello hello\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : localhost\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: x\r\n\r\n",
    ] {
        let mut connection = Connection::open(&server);
        connection.send(bytes);
        let rest = connection.rest();
        assert!(rest.starts_with("http/1.1 4"), "{bytes}: {rest}");
        assert!(rest.contains("\"code\":\""), "{bytes}: {rest}");
        serves(&server);
    }
}

#[test]
fn a_response_of_the_parser_to_a_client_of_http_1_0_is_a_problem_document() {
    let server = Running::start();
    let mut connection = Connection::open(&server);
    let keep = "connection: keep-alive\r\n";
    connection.send(format!("GET /livez HTTP/1.0\r\n{HOST}{keep}\r\n"));
    assert!(connection.answer().0.contains(" 200 "));
    connection.send("GET / HTTP/1.1\r\nfoo\r\n\r\n");
    let rest = connection.rest();
    assert!(rest.contains(" 400 ") && rest.contains("\"code\":\"bad_request\""), "{rest}");
}

#[test]
fn bytes_after_a_response_that_begin_no_request_have_no_time_limit_of_headers() {
    let server = limited(|limits| limits.header_timeout = Duration::from_millis(1));
    // The body of a request that was answered without it, and the line end that some clients send after a body.
    for rest in ["hello", "\r\n"] {
        let length = if rest == "hello" { 5 } else { 0 };
        let mut connection = Connection::open(&server);
        connection.send(format!("PUT /livez HTTP/1.1\r\n{HOST}content-length: {length}\r\n\r\n"));
        assert!(connection.answer().0.starts_with("http/1.1 405 "));
        connection.send(rest);
        // The limit ends this connection, which begins later.
        let mut slow = Connection::open(&server);
        slow.send("GET / HTTP/1.1\r\n");
        assert!(slow.rest().starts_with("http/1.1 408 "));
        connection.send(add(HOST));
        assert_eq!(connection.answer().1, "42", "{rest:?}");
    }
}

#[test]
fn connections_beyond_the_limit_are_refused() {
    let server = limited(|limits| limits.max_connections = 1);
    let mut first = Connection::open(&server);
    first.send(add(HOST));
    assert_eq!(first.answer().1, "42");
    let refused = Connection::open(&server).rest();
    assert!(refused.starts_with("http/1.1 503 ") && refused.contains("retry-after"), "{refused}");
    assert!(refused.contains("\"code\":\"overloaded\""), "{refused}");
    drop(first);
    server.wait_for_connections(0);
    serves(&server);
}

#[test]
fn connections_of_one_address_beyond_its_limit_are_refused() {
    let server = limited(|limits| limits.max_connections_per_address = 1);
    let mut first = Connection::open(&server);
    first.send(add(HOST));
    assert_eq!(first.answer().1, "42");
    let refused = Connection::open(&server).rest();
    assert!(refused.starts_with("http/1.1 429 "), "{refused}");
    first.send(add(HOST));
    assert_eq!(first.answer().1, "42");
}

#[test]
fn requests_beyond_the_limit_are_answered_with_503() {
    let server = limited(|limits| limits.max_requests = 1);
    let mut first = Connection::open(&server);
    // The handler waits for the rest of the body.
    first.send(format!("POST /v1/functions/add/call HTTP/1.1\r\n{HOST}content-length: 7\r\n\r\n"));
    server.wait_for_requests(1);
    let answer = server.call("add", &json!([40, 2]));
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
    assert_eq!(answer.json()["code"], "overloaded");
    first.send("[40, 2]");
    assert_eq!(first.answer().1, "42");
    server.wait_for_requests(0);
    serves(&server);
}

#[test]
fn bodies_that_take_too_much_memory_together_are_refused() {
    let server = limited(|limits| limits.max_body_memory = 10);
    let head = |length| {
        format!("POST /v1/functions/add/call HTTP/1.1\r\n{HOST}content-length: {length}\r\n\r\n")
    };
    let mut first = Connection::open(&server);
    first.send(head(7) + "[40, ");
    eventually("the first part of a body", || server.traffic.body_bytes() == 5);
    let mut second = Connection::open(&server);
    second.send(head(7) + "[40, 2]");
    let rest = second.rest();
    assert!(rest.starts_with("http/1.1 503 ") && rest.contains("retry-after: "), "{rest}");
    assert!(rest.contains("connection: close") && rest.contains("\"overloaded\""), "{rest}");
    assert_eq!((server.traffic.body_bytes(), server.traffic.refused_bodies()), (5, 1));
    // A body without an announced length, in two parts of which the second does not fit.
    let mut chunked = Connection::open(&server);
    let head = format!("POST /rpc HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n");
    chunked.send(head + "4\r\n[   \r\n");
    eventually("the first part of the other body", || server.traffic.body_bytes() == 9);
    chunked.send("2\r\n  \r\n");
    assert!(chunked.rest().starts_with("http/1.1 503 "));
    eventually("the end of the refused request", || server.traffic.body_bytes() == 5);
    first.send("2]");
    assert_eq!(first.answer().1, "42");
    eventually("the end of the request", || server.traffic.body_bytes() == 0);
    serves(&server);
}

#[test]
fn responses_that_take_too_much_memory_together_are_refused() {
    let server = limited(|limits| limits.max_body_memory = 250 << 10);
    let content = "x".repeat(100 << 10);
    let headers = [("content-type", "text/plain"), ("accept", "application/octet-stream")];
    let echo = || server.post("/v1/functions/echo_bytes/call", &headers, content.as_bytes());
    assert_eq!(echo().status, 200);
    let mut other = Connection::open(&server);
    let length = 80 << 10;
    other.send(format!(
        "POST /v1/functions/add/call HTTP/1.1\r\n{HOST}content-length: {length}\r\n\r\n{}",
        " ".repeat(length - 1)
    ));
    eventually("the other body", || server.traffic.body_bytes() == length - 1);
    let answer = echo();
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (503, &json!("overloaded")), "{problem}");
    assert_eq!(problem["outcome"], "finished");
    drop(other);
    eventually("the end of the other request", || server.traffic.body_bytes() == 0);
    assert_eq!(echo().status, 200);
}

#[test]
fn a_response_takes_memory_until_its_client_has_read_it() {
    let server = Running::start();
    let body = "x".repeat(15 << 20);
    let length = body.len();
    let kind = "content-type: application/octet-stream\r\naccept: application/octet-stream\r\n";
    let mut slow = Connection::open(&server);
    slow.send(format!(
        "POST /v1/functions/echo_bytes/call HTTP/1.1\r\n{HOST}{kind}content-length: {length}\r\n\r\n{body}"
    ));
    // The call has ended, and its response counts in addition to the body of the request.
    eventually("the response", || server.traffic.body_bytes() == 2 * length);
    serves(&server);
    assert_eq!((server.traffic.requests(), server.traffic.body_bytes()), (1, 2 * length));
    let (head, answer) = slow.answer();
    assert!(head.starts_with("http/1.1 200 ") && answer == body, "{head}");
    eventually("the end of the response", || server.traffic.body_bytes() == 0);
    server.wait_for_requests(0);
}

#[test]
fn an_ambiguous_length_does_not_hide_a_request() {
    let server = Running::start();
    let head = "POST /v1/functions/add/call HTTP/1.1\r\nhost: localhost\r\n";
    let body = "7\r\n[40, 2]\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for lengths in [
        "content-length: 7\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
    ] {
        let mut connection = Connection::open(&server);
        connection.send(format!("{head}{lengths}\r\n{body}"));
        let rest = connection.rest();
        // One answer, and the connection is closed.
        assert_eq!(rest.matches("http/1.1 ").count(), 1, "{rest}");
        serves(&server);
    }
}

#[test]
fn a_large_body_delays_no_other_client() {
    let server = Running::start();
    let body = format!("[{}0]", "0,".repeat(8_000_000));
    let length = body.len();
    let request = format!(
        "POST /v1/functions/add/call HTTP/1.1\r\n{HOST}content-length: {length}\r\n\r\n{body}"
    );
    // A test that waits for a core may ask too late, and asks again.
    let is_served_meanwhile = (0..20).any(|_| {
        let mut large = Connection::open(&server);
        large.send(&request);
        // It is converted as soon as it is complete, which takes far longer than a call.
        eventually("the whole body or its answer", || {
            server.traffic.body_bytes() == length || peek(&large).is_ok()
        });
        serves(&server);
        let early = peek(&large);
        assert!(large.answer().0.starts_with("http/1.1 422 "));
        early == Err(ErrorKind::WouldBlock)
    });
    assert!(is_served_meanwhile);
}

/// The number of bytes of an answer that have arrived, which is at most one.
fn peek(connection: &Connection) -> Result<usize, ErrorKind> {
    connection.0.set_nonblocking(true).unwrap();
    let found = connection.0.peek(&mut [0]).map_err(|error| error.kind());
    connection.0.set_nonblocking(false).unwrap();
    found
}

#[test]
fn a_client_that_disconnects_cancels_its_call() {
    let server = Running::start();
    let mut gone = Connection::open(&server);
    gone.send(format!("POST /v1/functions/spins/call HTTP/1.1\r\n{HOST}content-length: 0\r\n\r\n"));
    server.wait_for_requests(1);
    drop(gone);
    server.wait_for_requests(0);
    server.wait_for_connections(0);
    serves(&server);
}

#[test]
fn a_refused_request_keeps_its_connection_unless_its_body_is_large() {
    let server = Running::start();
    let mut connection = Connection::open(&server);
    let head = "POST /v1/functions/add/call HTTP/1.1\r\nhost: evil.example\r\n";
    for _ in 0..2 {
        connection.send(format!("{head}content-length: 8\r\n\r\n"));
        // The body follows in a packet of its own.
        server.wait_for_requests(1);
        connection.send("[40,  2]");
        assert!(connection.answer().0.starts_with("http/1.1 421 "));
        server.wait_for_requests(0);
    }
    connection.send(add(HOST));
    assert_eq!(connection.answer().1, "42");
    for body in [
        "content-length: 10000000",
        "transfer-encoding: chunked",
        "content-length: 8\r\nexpect: 100-continue",
    ] {
        let mut connection = Connection::open(&server);
        connection.send(format!("{head}{body}\r\n\r\n"));
        let rest = connection.rest();
        assert!(rest.starts_with("http/1.1 421 ") && rest.contains("connection: close"), "{rest}");
    }
}
