//! When a token ends, the streams and WebSockets of its holder end. So do those of clients without a token, when one is required.

use crate::harness::eventually;
use crate::tokens::{Guarded, new};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::time::Duration;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};
use wpc_host::ErrorCode;
use wpc_server::{Timestamp, Tokens, add_token_to_file};

/// The header of a client with this token, or of one without a token.
fn authorization(token: Option<&str>) -> String {
    token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default()
}

fn connect(guarded: &Guarded, token: Option<&str>) -> WebSocket<TcpStream> {
    let address = guarded.server.url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut request = format!("ws://{address}/rpc").into_client_request().unwrap();
    if let Some(token) = token {
        let header = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", header);
    }
    tungstenite::client(request, stream).unwrap().0
}

fn request(function: &str, params: &Value) -> Message {
    let request = json!({ "jsonrpc": "2.0", "method": function, "params": params, "id": 1 });
    Message::text(request.to_string())
}

/// The lines of an answer whose body does not end by itself.
fn follow(guarded: &Guarded, token: Option<&str>, path: &str) -> BufReader<TcpStream> {
    let authorization = authorization(token);
    BufReader::new(
        guarded
            .server
            .connect(&format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{authorization}\r\n")),
    )
}

fn next_line(answer: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    line
}

/// Reads the rest of an answer up to the end of its body.
fn rest(mut answer: BufReader<TcpStream>) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n0\r\n\r\n") {
        let mut byte = [0];
        answer.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    text
}

#[test]
fn revocation_closes_web_sockets_and_cancels_their_calls() {
    let guarded = Guarded::start();
    let token = guarded.token("shop", &["call"]);
    let other = guarded.token("other", &["call"]);
    let (mut socket, mut kept) = (connect(&guarded, Some(&token)), connect(&guarded, Some(&other)));
    socket.send(request("spins", &json!([]))).unwrap();
    guarded.server.runs();
    guarded.tokens.revoke("shop").unwrap();
    match socket.read().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Policy),
        other => panic!("{other:?}"),
    }
    eventually("the end of the call", || guarded.server.failed("spins", ErrorCode::Cancelled) == 1);
    kept.send(request("add", &json!([40, 2]))).unwrap();
    let Message::Text(text) = kept.read().unwrap() else { panic!("not a response") };
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["result"], 42);
}

#[test]
fn revocation_ends_a_stream_of_items_with_an_error_and_cancels_its_call() {
    let guarded = Guarded::start();
    let token = guarded.token("shop", &["call"]);
    ends_a_stream_of_items(&guarded, Some(&token), || drop(guarded.tokens.revoke("shop").unwrap()));
}

fn ends_a_stream_of_items(guarded: &Guarded, token: Option<&str>, end: impl FnOnce()) {
    let header = format!("{}accept: application/jsonl\r\n", authorization(token));
    // It yields nothing, so the end is what wakes the stream.
    let mut answer = BufReader::new(guarded.server.connect_call("spins", &header, "[]"));
    assert_eq!(next_line(&mut answer), "HTTP/1.1 200 OK\r\n");
    guarded.server.runs();
    end();
    let rest = rest(answer);
    let error = rest.lines().find(|line| line.starts_with("{\"error\":")).unwrap();
    let problem = &serde_json::from_str::<Value>(error).unwrap()["error"];
    assert_eq!(
        (&problem["code"], &problem["outcome"]),
        (&json!("unauthenticated"), &json!("unknown"))
    );
    assert_eq!((&problem["function"], &problem["items"]), (&json!("spins"), &json!(0)));
    eventually("the end of the call", || guarded.server.failed("spins", ErrorCode::Cancelled) == 1);
}

#[test]
fn revocation_ends_event_streams() {
    let guarded = Guarded::start();
    for path in ["/v1/events?follow=true", "/v1/live"] {
        let token = guarded.token("watcher", &["observe"]);
        let mut answer = follow(&guarded, Some(&token), path);
        assert_eq!(next_line(&mut answer), "HTTP/1.1 200 OK\r\n", "{path}");
        guarded.tokens.revoke("watcher").unwrap();
        rest(answer);
    }
}

#[test]
fn the_first_token_closes_the_web_sockets_of_clients_without_one() {
    let guarded = Guarded::start();
    let mut socket = connect(&guarded, None);
    socket.send(request("spins", &json!([]))).unwrap();
    guarded.server.runs();
    guarded.token("first", &["admin"]);
    match socket.read().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Policy),
        other => panic!("{other:?}"),
    }
    eventually("the end of the call", || guarded.server.failed("spins", ErrorCode::Cancelled) == 1);
}

#[test]
fn the_first_token_ends_the_streams_of_clients_without_one() {
    let guarded = Guarded::start();
    let followed: Vec<_> = ["/v1/events?follow=true", "/v1/live"]
        .map(|path| {
            let mut answer = follow(&guarded, None, path);
            assert_eq!(next_line(&mut answer), "HTTP/1.1 200 OK\r\n", "{path}");
            answer
        })
        .into();
    ends_a_stream_of_items(&guarded, None, || drop(guarded.token("first", &["admin"])));
    followed.into_iter().for_each(|answer| drop(rest(answer)));
}

#[test]
fn a_token_that_expires_ends_event_streams() {
    let guarded = Guarded::start();
    // On a machine whose cores are busy, a short time may be over before the stream begins.
    let is_followed = [5, 10, 20].into_iter().any(|seconds| {
        let soon = Timestamp::now().after(Duration::from_secs(seconds));
        let name = format!("watcher-{seconds}");
        let (_, token) = guarded.create(&name, &["observe"], |new| new.expires = Some(soon));
        let mut answer = follow(&guarded, Some(&token), "/v1/events?follow=true");
        if next_line(&mut answer) != "HTTP/1.1 200 OK\r\n" {
            return false;
        }
        rest(answer);
        assert!(Timestamp::now() >= soon);
        true
    });
    assert!(is_followed);
}

#[test]
fn a_file_without_the_token_or_with_other_rights_ends_event_streams() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let mut added = Vec::new();
    for name in ["removed", "changed", "kept"] {
        let (_, text) = add_token_to_file(&file, new(name, &["observe", "call"], |_| {})).unwrap();
        added.push(text.as_str().to_owned());
    }
    let tokens = Tokens::of_file(&file).unwrap();
    let guarded = Guarded::with(tokens, folder);
    let mut answers: Vec<_> = added
        .iter()
        .map(|token| {
            let mut answer = follow(&guarded, Some(token), "/v1/events?follow=true");
            assert_eq!(next_line(&mut answer), "HTTP/1.1 200 OK\r\n");
            answer
        })
        .collect();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut entries: Vec<_> = text.split_inclusive("[[tokens]]").collect();
    // The first entry begins with a header; each other one ends with the header of the next.
    assert_eq!(entries.len(), 4, "{text}");
    let changed = entries[2].replacen("\"call\"", "\"deploy\"", 1);
    entries[2] = &changed;
    entries.remove(1);
    std::fs::write(&file, entries.concat()).unwrap();
    guarded.tokens.reload().unwrap();
    let mut kept = answers.pop().unwrap();
    answers.into_iter().for_each(|answer| drop(rest(answer)));
    // The stream of the token that has not changed continues.
    let headers = format!("Bearer {}", added[2]);
    let headers = [("authorization", headers.as_str())];
    guarded.server.post("/v1/functions/panics/call", &headers, b"[\"now\"]");
    while !next_line(&mut kept).contains("call_execution_failed") {}
}
