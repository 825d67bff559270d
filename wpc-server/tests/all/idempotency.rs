//! Calls with the header `Idempotency-Key`.

use crate::harness::{Answer, Running, eventually, guest};
use serde_json::json;
use std::sync::Arc;
use wpc_host::ErrorCode;
use wpc_server::{Application, IdempotencyBounds, Settings};

fn server(bounds: IdempotencyBounds) -> Running {
    Running::of(|wpc| {
        wpc.define_worker_function("count", guest("sdk")).unwrap();
        let mut settings = Settings::default();
        settings.idempotency = Some(bounds);
        Application::builder(Arc::new(wpc)).settings(settings).build()
    })
}

fn call(server: &Running, function: &str, key: &str, body: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    server.post(&format!("/v1/functions/{function}/call"), &headers, body.as_bytes())
}

#[test]
fn a_repeated_request_gets_the_first_response_without_another_call() {
    let server = server(IdempotencyBounds::default());
    let first = call(&server, "count", "\"a\"", "[]");
    assert_eq!((first.status, first.header("idempotent-replayed")), (200, ""));
    let again = call(&server, "count", "\"a\"", "[]");
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"));
    assert_eq!(first.body, again.body);
    for name in ["etag", "wpc-call-id", "content-type"] {
        assert_eq!(first.header(name), again.header(name));
    }
    let count = server.wpc.metrics().functions.into_iter().find(|found| found.name == "count");
    assert_eq!(count.unwrap().calls.total(), 1);
    // A key belongs to one function.
    assert_eq!(call(&server, "add", "\"a\"", "[1, 2]").json(), 3);
}

#[test]
fn a_key_with_another_body_is_refused() {
    let server = server(IdempotencyBounds::default());
    assert_eq!(call(&server, "add", "a", "[1, 2]").status, 200);
    let answer = call(&server, "add", "a", "[1, 3]");
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("idempotency_mismatch")));
    assert_eq!(answer.json()["outcome"], "not_started");
}

#[test]
fn a_key_whose_request_is_in_progress_is_a_conflict() {
    let server = server(IdempotencyBounds::default());
    let path = "/v1/functions/spins/call?timeout=1h";
    let request = |key: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nidempotency-key: {key}\r\ncontent-length: 2\r\n\r\n[]"
        )
    };
    let client = server.connect(&request("a"));
    server.runs();
    // It runs on although its client has gone.
    drop(client);
    let answer = server.post(path, &[("idempotency-key", "a")], b"[]");
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (409, &json!("idempotency_in_flight")));
    assert_eq!(problem["retryable"], true);
    assert_eq!(server.failed("spins", ErrorCode::Cancelled), 0);
}

#[test]
fn a_response_is_kept_although_its_client_has_disconnected() {
    let server = server(IdempotencyBounds::default());
    let headers = "idempotency-key: a\r\ncontent-type: application/json\r\n";
    drop(server.connect_call("count", headers, "[]"));
    let mut last = None;
    eventually("the first call", || {
        let answer = call(&server, "count", "a", "[]");
        let is_replayed = answer.header("idempotent-replayed") == "true";
        last = Some(answer);
        is_replayed
    });
    assert_eq!(last.unwrap().json(), 1);
}

#[test]
fn a_failure_is_kept_unless_the_function_did_not_begin() {
    let server = server(IdempotencyBounds::default());
    let first = call(&server, "fails", "a", "[1]");
    let again = call(&server, "fails", "a", "[1]");
    assert_eq!((first.status, again.status, &first.body), (422, 422, &again.body));
    assert_eq!(again.header("idempotent-replayed"), "true");
    // The outcome is unknown, and it does not run again.
    let first = call(&server, "panics", "a", "[\"x\"]");
    let again = call(&server, "panics", "a", "[\"x\"]");
    assert_eq!((first.status, &first.body), (502, &again.body));
    // It did not begin, so the key is free for a corrected request.
    assert_eq!(call(&server, "add", "a", "[1]").status, 422);
    assert_eq!(call(&server, "add", "a", "[1, 2]").json(), 3);
}

#[test]
fn a_response_that_is_too_large_to_be_kept_is_not_computed_again() {
    let mut bounds = IdempotencyBounds::default();
    bounds.max_bytes = 160;
    let server = server(bounds);
    let body = format!("[{}]", json!(vec![1; 100]));
    assert_eq!(call(&server, "echo_bytes", "a", &body).status, 200);
    let answer = call(&server, "echo_bytes", "a", &body);
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (409, &json!("idempotency_answer_dropped")));
    assert_eq!(problem["outcome"], "finished");
}

#[test]
fn a_key_is_refused_where_it_cannot_be_honoured() {
    let server = server(IdempotencyBounds::default());
    for key in ["", "\"\"", "a\"b", &"a".repeat(256)] {
        let answer = call(&server, "add", key, "[1, 2]");
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_request")), "{key}");
    }
    let two = [("idempotency-key", "a"), ("idempotency-key", "b")];
    assert_eq!(server.post("/v1/functions/add/call", &two, b"[1, 2]").status, 400);
    let headers = [("idempotency-key", "a"), ("accept", "text/event-stream")];
    assert_eq!(server.post("/v1/functions/lines/call", &headers, b"[\"a\"]").status, 400);
    let server = Running::start();
    let answer = call(&server, "add", "a", "[1, 2]");
    assert_eq!(answer.status, 400);
    assert!(answer.json()["detail"].as_str().unwrap().contains("not enabled"), "{answer:?}");
}
