//! Calls whose items are streamed.

use crate::harness::{Answer, Running, eventually};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use wpc_host::ErrorCode;

fn stream(server: &Running, function: &str, arguments: &Value, accept: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("accept", accept)];
    let body = serde_json::to_vec(arguments).unwrap();
    server.post(&format!("/v1/functions/{function}/call"), &headers, &body)
}

#[test]
fn items_and_the_result_are_server_sent_events() {
    let server = Running::start();
    let answer = stream(&server, "lines", &json!(["a\nb"]), "text/event-stream");
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
    assert!(answer.header("wpc-call-id").parse::<u64>().is_ok());
    let expected =
        "event: item\ndata: \"a\"\n\nevent: item\ndata: \"b\"\n\nevent: result\ndata: 2\n\n";
    assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
}

#[test]
fn items_and_the_result_are_json_lines() {
    let server = Running::start();
    for accept in ["application/jsonl", "application/x-ndjson"] {
        let answer = stream(&server, "lines", &json!(["a\nb"]), accept);
        assert_eq!((answer.status, answer.header("content-type")), (200, accept));
        let text = String::from_utf8(answer.body).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let result = json!({ "value": 2, "fuel_used": null });
        assert_eq!(lines, [json!({ "item": "a" }), json!({ "item": "b" }), result]);
    }
}

#[test]
fn proxies_neither_collect_nor_store_the_items_of_a_stream() {
    let server = Running::start();
    for accept in ["text/event-stream", "application/jsonl", "application/x-ndjson"] {
        let answer = stream(&server, "lines", &json!(["a"]), accept);
        assert_eq!(answer.header("x-accel-buffering"), "no", "{accept}");
        assert_eq!(answer.header("cache-control"), "no-store", "{accept}");
    }
}

#[test]
fn a_function_without_items_is_a_stream_of_its_result() {
    let server = Running::start();
    let answer = stream(&server, "add", &json!([1, 2]), "text/event-stream");
    assert_eq!(String::from_utf8(answer.body).unwrap(), "event: result\ndata: 3\n\n");
}

#[test]
fn an_error_after_items_is_the_last_event() {
    let server = Running::with_function("streams", "words");
    let answer = stream(&server, "words", &json!(["a b  c"]), "application/jsonl");
    let text = String::from_utf8(answer.body).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let problem = &last["error"];
    assert_eq!((&problem["code"], &problem["items"]), (&json!("guest_error"), &json!(2)));
    assert_eq!((&problem["function"], &problem["outcome"]), (&json!("words"), &json!("finished")));
    assert!(problem["wpc_call_id"].is_u64());
    let answer = stream(&server, "words", &json!([" "]), "text/event-stream");
    assert!(answer.body.starts_with(b"event: error\ndata: {\"type\":\"/problems/guest_error\""));
    // A call that is refused has the status of its problem.
    let answer = stream(&server, "words", &json!([1]), "text/event-stream");
    assert_eq!((answer.status, answer.header("content-type")), (422, "application/problem+json"));
}

#[test]
fn a_function_that_yields_items_needs_a_client_that_accepts_them() {
    let server = Running::start();
    let answer = server.call("lines", &json!(["a"]));
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("yields_items")));
    assert!(answer.json()["detail"].as_str().unwrap().contains("`Accept: text/event-stream`"));
}

#[test]
fn a_slow_reader_suspends_the_function_and_a_disconnect_cancels_it() {
    let server = Running::start();
    let end = u64::MAX.to_string();
    let client =
        server.connect_call("numbers", "accept: application/jsonl\r\n", &format!("[{end}]"));
    eventually("the suspension", || server.wpc.metrics().suspended_calls == 1);
    // Meanwhile the worker serves others.
    assert_eq!(server.call("add", &json!([1, 2])).json(), 3);
    // The client reads more than what can be buffered anywhere, and so the function must have been resumed.
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    while line != "{\"item\":1000000}\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    eventually("the suspension", || server.wpc.metrics().suspended_calls == 1);
    drop(reader);
    eventually("the cancellation", || server.failed("numbers", ErrorCode::Cancelled) == 1);
    eventually("the end of the guest", || server.wpc.metrics().pending_calls == 0);
}

#[test]
fn the_time_limit_ends_a_stream() {
    let server = Running::start();
    let headers = [("accept", "application/jsonl")];
    let answer = server.post("/v1/functions/spins/call?timeout=20ms", &headers, b"[]");
    let last: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&last["error"]["code"], &last["error"]["items"]), (&json!("timeout"), &json!(0)));
}
