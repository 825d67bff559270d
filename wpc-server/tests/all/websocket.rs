//! JSON-RPC 2.0 over WebSocket.

use crate::harness::{Running, eventually};
use crate::raw::Connection;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Message, WebSocket};
use wpc_host::ErrorCode;
use wpc_server::{Application, ConnectionLimits, Settings};

fn connect(server: &Running, query: &str) -> WebSocket<TcpStream> {
    try_connect(server, query).unwrap()
}

fn try_connect(server: &Running, query: &str) -> Result<WebSocket<TcpStream>, Box<impl Debug>> {
    let address = server.url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    let opened = tungstenite::client(format!("ws://{address}/rpc{query}"), stream);
    opened.map(|(socket, _)| socket).map_err(Box::new)
}

fn request(function: &str, params: &Value, id: &Value) -> String {
    json!({ "jsonrpc": "2.0", "method": function, "params": params, "id": id }).to_string()
}

fn receive(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn close_code(socket: &mut WebSocket<TcpStream>) -> CloseCode {
    loop {
        match socket.read().unwrap() {
            Message::Close(frame) => return frame.unwrap().code,
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn requests_are_answered_as_their_calls_complete() {
    let server = Running::start();
    // On a machine whose cores are busy, the fast call may reach a short limit too.
    let is_in_order = TIME_LIMITS.into_iter().any(|limit| {
        let [first, second] = slow_and_fast(&server, limit);
        let order = (&first["id"], &first["result"], &second["id"], &second["error"]["code"]);
        order == (&json!("fast"), &json!(3), &json!("slow"), &json!(-32006))
    });
    assert!(is_in_order);
}

/// Time limits of calls, each of which is tried if the one before is too short.
const TIME_LIMITS: [&str; 3] = ["300ms", "3s", "20s"];

/// Calls a function that never returns, and one that returns at once, with this limit. Returns the responses in their order.
fn slow_and_fast(server: &Running, limit: &str) -> [Value; 2] {
    let mut socket = connect(server, &format!("?timeout={limit}"));
    socket.send(Message::text(request("spins", &json!([]), &json!("slow")))).unwrap();
    socket.send(Message::text(request("add", &json!([1, 2]), &json!("fast")))).unwrap();
    [receive(&mut socket), receive(&mut socket)]
}

#[test]
fn batches_notifications_and_errors_are_answered_as_over_http() {
    let server = Running::start();
    let mut socket = connect(&server, "");
    let notification = json!({ "jsonrpc": "2.0", "method": "add", "params": [1, 1] });
    socket.send(Message::text(notification.to_string())).unwrap();
    socket.send(Message::text(json!([notification, notification]).to_string())).unwrap();
    let requests: Vec<Value> = (0..3)
        .map(|id| json!({ "jsonrpc": "2.0", "method": "add", "params": [id, id], "id": id }))
        .collect();
    socket.send(Message::text(json!(requests).to_string())).unwrap();
    let responses = receive(&mut socket);
    assert_eq!(responses.as_array().unwrap().len(), 3, "{responses}");
    for (text, code) in [("{", -32700), ("[]", -32600), ("7", -32600)] {
        socket.send(Message::text(text)).unwrap();
        let response = receive(&mut socket);
        assert_eq!((&response["error"]["code"], &response["id"]), (&json!(code), &Value::Null));
    }
    socket.send(Message::Ping(Bytes::from_static(b"alive"))).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong(Bytes::from_static(b"alive")));
}

#[test]
fn closing_cancels_outstanding_calls() {
    let server = Running::start();
    let mut socket = connect(&server, "");
    for id in 0..3 {
        socket.send(Message::text(request("spins", &json!([]), &json!(id)))).unwrap();
    }
    eventually("the submission", || server.wpc.metrics().pending_calls == 3);
    socket.close(None).unwrap();
    eventually("the end of the calls", || server.failed("spins", ErrorCode::Cancelled) == 3);
    eventually("the end of the guests", || server.wpc.metrics().pending_calls == 0);
    // Without the closing handshake as well.
    let mut socket = connect(&server, "");
    socket.send(Message::text(request("spins", &json!([]), &json!(1)))).unwrap();
    server.runs();
    drop(socket);
    eventually("the end of the call", || server.failed("spins", ErrorCode::Cancelled) == 4);
}

#[test]
fn messages_are_read_only_while_few_calls_are_outstanding() {
    let server = Running::of(|wpc| {
        let mut settings = Settings::default();
        settings.max_outstanding = 1;
        Application::builder(Arc::new(wpc)).settings(settings).build()
    });
    // On a machine whose cores are busy, the fast call may reach a short limit too.
    let is_answered = TIME_LIMITS.into_iter().any(|limit| {
        let [first, second] = slow_and_fast(&server, limit);
        // The second one is read after the first one was answered.
        assert_eq!((&first["id"], &second["id"]), (&json!("slow"), &json!("fast")));
        second["result"] == 3
    });
    assert!(is_answered);
}

#[test]
fn frames_that_are_binary_too_large_or_invalid_close_the_connection() {
    let server = Running::of(|wpc| {
        let mut settings = Settings::default();
        settings.max_body = 1000;
        Application::builder(Arc::new(wpc)).settings(settings).build()
    });
    let mut socket = connect(&server, "");
    socket.send(Message::text(request("spins", &json!([]), &json!(1)))).unwrap();
    socket.send(Message::binary(vec![1])).unwrap();
    assert_eq!(close_code(&mut socket), CloseCode::Unsupported);
    eventually("the end of the call", || server.failed("spins", ErrorCode::Cancelled) == 1);
    let mut socket = connect(&server, "");
    socket.send(Message::text(" ".repeat(1001))).unwrap();
    assert_eq!(close_code(&mut socket), CloseCode::Size);
    let mut socket = connect(&server, "");
    // A text frame with a byte that is not UTF-8, masked with zeros.
    socket.get_mut().write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).unwrap();
    assert_eq!(close_code(&mut socket), CloseCode::Invalid);
    let mut socket = connect(&server, "");
    // A reserved bit.
    socket.get_mut().write_all(&[0xf1, 0x81, 0, 0, 0, 0, b' ']).unwrap();
    assert_eq!(close_code(&mut socket), CloseCode::Protocol);
    let metrics = String::from_utf8(server.get("/metrics", &[]).body).unwrap();
    assert!(metrics.contains("wpc_http_refusals_total{reason=\"web_socket\"} 4\n"), "{metrics}");
}

/// A server whose bodies have at most 1,000 bytes, with these limits.
fn limited(set: impl FnOnce(&mut ConnectionLimits)) -> Running {
    let mut limits = ConnectionLimits::default();
    set(&mut limits);
    let application = |wpc| {
        let mut settings = Settings::default();
        settings.max_body = 1000;
        Application::builder(Arc::new(wpc)).settings(settings).build()
    };
    Running::with(application, |server| server.limits(limits))
}

/// The beginning of a text frame of a client, whose mask changes nothing.
fn head(length: u8) -> [u8; 6] {
    [0x81, 0x80 | length, 0, 0, 0, 0]
}

#[test]
fn a_connection_has_no_time_limits_of_requests() {
    let server = limited(|limits| {
        limits.idle_timeout = Duration::from_millis(1);
        limits.header_timeout = Duration::from_millis(1);
    });
    // The limits may end a connection before its handshake arrives.
    let mut socket = (0..100).find_map(|_| try_connect(&server, "").ok()).unwrap();
    for id in 0..3 {
        socket.send(Message::text(request("add", &json!([1, 2]), &json!(id)))).unwrap();
        assert_eq!(receive(&mut socket)["id"], id);
        // The limits end this connection, which begins later. So they have passed for the WebSocket, too.
        let mut slow = Connection::open(&server);
        slow.send("GET / HTTP/1.1\r\n");
        assert!(!slow.rest().contains(" 200 "));
    }
}

#[test]
fn messages_count_towards_the_memory_of_bodies() {
    let server = limited(|limits| limits.max_body_memory = 150);
    let text = request("add", &json!([40, 2]), &json!(1));
    let length = u8::try_from(text.len()).unwrap();
    let mut socket = connect(&server, "");
    // A ping does not stay in memory.
    socket.send(Message::Ping(Bytes::from_static(b"alive"))).unwrap();
    assert!(matches!(socket.read().unwrap(), Message::Pong(_)));
    let (first, rest) = text.as_bytes().split_at(20);
    socket.get_mut().write_all(&[&head(length), first].concat()).unwrap();
    eventually("the first part of a message", || server.traffic.body_bytes() == 26);
    let mut other = connect(&server, "");
    // Two frames of one message, each of which would fit.
    let part = [b' '; 70];
    other.get_mut().write_all(&[&[0x01, 0x80 | 70, 0, 0, 0, 0], &part[..]].concat()).unwrap();
    eventually("the first part of another message", || server.traffic.body_bytes() == 102);
    other.get_mut().write_all(&[&[0x80, 0x80 | 70, 0, 0, 0, 0], &part[..]].concat()).unwrap();
    assert_eq!(close_code(&mut other), CloseCode::Again);
    eventually("the end of the other message", || server.traffic.body_bytes() == 26);
    assert_eq!(server.traffic.refused_bodies(), 1);
    socket.get_mut().write_all(rest).unwrap();
    assert_eq!(receive(&mut socket)["result"], 42);
    // A message counts until its calls have ended.
    socket.send(Message::text(request("spins", &json!([]), &json!(2)))).unwrap();
    server.runs();
    assert!(server.traffic.body_bytes() > 0);
    drop(socket);
    eventually("the end of the call", || server.traffic.body_bytes() == 0);
}

#[test]
fn a_message_that_arrives_too_slowly_ends_its_connection() {
    let server = limited(|limits| limits.body_timeout = Duration::from_millis(1));
    let mut slow = connect(&server, "");
    slow.get_mut().write_all(&[&head(50), &b"{"[..]].concat()).unwrap();
    server.wait_for_connections(0);
    assert_eq!(server.traffic.body_bytes(), 0);
}

#[test]
fn a_message_of_empty_frames_is_refused() {
    let server = limited(|_| {});
    let mut socket = connect(&server, "");
    socket.get_mut().write_all(&[0x01, 0x80, 0, 0, 0, 0]).unwrap();
    let frames = [0x00, 0x80, 0, 0, 0, 0].repeat(20_000);
    // The server may close the connection before it has read all.
    let _ = socket.get_mut().write_all(&frames);
    match socket.read() {
        Ok(Message::Close(Some(frame))) => assert_eq!(frame.code, CloseCode::Size),
        Err(tungstenite::Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        other => panic!("{other:?}"),
    }
    drop(socket);
    eventually("the end of the message", || server.traffic.body_bytes() == 0);
}

#[test]
fn a_client_that_does_not_read_the_answers_to_its_pings_is_slowed_down() {
    let server = Running::start();
    let mut deaf = connect(&server, "");
    deaf.get_mut().set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let frame = [&[0x89, 0x80 | 125, 0, 0, 0, 0], &[b'x'; 125][..]].concat();
    let frames = frame.repeat(1000);
    // More than all buffers of the system.
    let most = (256 << 20) / frames.len();
    let refused = (0..most).find_map(|_| deaf.get_mut().write_all(&frames).err());
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
}

#[test]
fn a_client_that_closes_its_connection_is_answered() {
    let server = Running::start();
    let mut socket = connect(&server, "");
    socket.close(None).unwrap();
    loop {
        match socket.read() {
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, tungstenite::Error::ConnectionClosed), "{error}");
                break;
            }
        }
    }
}

#[test]
fn a_server_that_stops_finishes_calls_and_closes_the_connection() {
    let mut server = Running::start();
    let mut socket = connect(&server, "?timeout=2s");
    let mut idle = connect(&server, "");
    socket.send(Message::text(request("spins", &json!([]), &json!("last")))).unwrap();
    // The call runs, or has reached its limit already.
    eventually("the submission", || {
        let is_over = server.failed("spins", ErrorCode::Timeout) > 0;
        server.wpc.metrics().pending_calls > 0 || is_over
    });
    server.stop();
    assert_eq!(close_code(&mut idle), CloseCode::Away);
    let response = receive(&mut socket);
    assert_eq!((&response["id"], &response["error"]["code"]), (&json!("last"), &json!(-32006)));
    assert_eq!(close_code(&mut socket), CloseCode::Away);
}
