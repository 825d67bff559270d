//! JSON-RPC 2.0 over WebSocket.

use crate::harness::{Running, eventually};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Message, WebSocket};
use wpc_host::ErrorCode;
use wpc_server::{Application, Settings};

fn connect(server: &Running, query: &str) -> WebSocket<TcpStream> {
    let address = server.url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    tungstenite::client(format!("ws://{address}/rpc{query}"), stream).unwrap().0
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
    let mut socket = connect(&server, "?timeout=300ms");
    socket.send(Message::text(request("spins", &json!([]), &json!("slow")))).unwrap();
    socket.send(Message::text(request("add", &json!([1, 2]), &json!("fast")))).unwrap();
    let response = receive(&mut socket);
    assert_eq!((&response["id"], &response["result"]), (&json!("fast"), &json!(3)));
    let response = receive(&mut socket);
    assert_eq!((&response["id"], &response["error"]["code"]), (&json!("slow"), &json!(-32006)));
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
    let mut socket = connect(&server, "?timeout=200ms");
    socket.send(Message::text(request("spins", &json!([]), &json!("slow")))).unwrap();
    socket.send(Message::text(request("add", &json!([1, 2]), &json!("fast")))).unwrap();
    // The second one is read after the first one was answered.
    assert_eq!(receive(&mut socket)["id"], "slow");
    assert_eq!(receive(&mut socket)["result"], 3);
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
    std::io::Write::write_all(socket.get_mut(), &[0x81, 0x81, 0, 0, 0, 0, 0xff]).unwrap();
    assert_eq!(close_code(&mut socket), CloseCode::Invalid);
    let mut socket = connect(&server, "");
    // A reserved bit.
    std::io::Write::write_all(socket.get_mut(), &[0xf1, 0x81, 0, 0, 0, 0, b' ']).unwrap();
    assert_eq!(close_code(&mut socket), CloseCode::Protocol);
}
