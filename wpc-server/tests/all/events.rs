//! The events of a server, and what an operator does about them.

use crate::harness::{Running, eventually};
use crate::tokens::Guarded;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use wpc_host::WorkerEvent;

/// The events in a text of Server-Sent Events.
fn events(text: &str) -> Vec<WorkerEvent> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn the_last_events_are_returned() {
    let server = Running::start();
    assert_eq!(server.call("panics", &json!(["now"])).status, 502);
    eventually("the event", || {
        let answer = server.get("/v1/events", &[]);
        assert_eq!(answer.header("content-type"), "text/event-stream");
        let events = events(std::str::from_utf8(&answer.body).unwrap());
        events.iter().any(|event| event.event_name() == "call_execution_failed")
    });
}

#[test]
fn an_event_that_was_emitted_is_among_the_last_ones_at_once() {
    let server = Running::start();
    // The server collects events from then on.
    server.get("/v1/events", &[]);
    let emitted = server.wpc.subscribe(16);
    assert_eq!(server.call("panics", &json!(["now"])).status, 502);
    let is_failure = |event: &WorkerEvent| event.event_name() == "call_execution_failed";
    let failure = emitted.into_iter().find(is_failure).unwrap();
    let answer = server.get("/v1/events", &[]);
    let events = events(std::str::from_utf8(&answer.body).unwrap());
    assert!(events.iter().any(|event| event.event_id == failure.event_id), "{events:?}");
}

#[test]
fn events_are_followed_without_a_gap_or_a_repetition() {
    let server = Running::start();
    let request = "GET /v1/events?follow=true HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let stream = BufReader::new(server.connect(request));
    let mut lines = stream.lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
    // The answer has begun, so the subscription exists.
    assert!(lines.any(|line| line.is_empty()), "the headers end");
    assert_eq!(server.call("panics", &json!(["now"])).status, 502);
    let mut last = 0;
    loop {
        let line = lines.next().unwrap();
        for event in events(&line) {
            assert!(event.event_id > last, "{event:?}");
            last = event.event_id;
            if event.event_name() == "call_execution_failed" {
                return;
            }
        }
    }
}

#[test]
fn followers_beyond_the_maximum_are_refused_until_others_disconnect() {
    let server = Running::start();
    let request = "GET /v1/events?follow=true HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let mut followers: Vec<_> = (0..32).map(|_| BufReader::new(server.connect(request))).collect();
    for follower in &mut followers {
        let mut line = String::new();
        follower.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    }
    let refused = server.get("/v1/events?follow=true", &[]);
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("too_many_watchers")));
    assert_eq!(server.get("/v1/events", &[]).status, 200);
    followers.pop();
    eventually("another follower", || {
        let mut line = String::new();
        BufReader::new(server.connect(request)).read_line(&mut line).unwrap();
        line == "HTTP/1.1 200 OK\r\n"
    });
}

#[test]
fn a_function_whose_circuit_breaker_is_open_is_revived() {
    let server = Running::start();
    let call = || server.call("panics", &json!(["now"]));
    eventually("the circuit breaker", || call().json()["code"] == "circuit_open");
    let answer = server.post("/v1/functions/panics/revive", &[], b"");
    assert_eq!(answer.json(), json!({ "function": "panics", "revived": true }));
    assert_eq!(call().json()["code"], "trap");
    let answer = server.post("/v1/functions/add/revive", &[], b"");
    assert_eq!(answer.json()["revived"], false);
    let answer = server.post("/v1/functions/nothing/revive", &[], b"");
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("function_not_defined")));
}

#[test]
fn a_warmed_function_has_a_sandbox_on_each_worker() {
    let server = Running::start();
    let answer = server.post("/v1/functions/add/warm", &[], b"");
    assert_eq!(answer.json(), json!({ "function": "add", "warmed": true }));
    let metrics = server.wpc.metrics();
    let add = metrics.functions.iter().find(|function| function.name == "add").unwrap();
    assert_eq!(add.live_sandboxes, 2);
    let answer = server.post("/v1/functions/nothing/warm", &[], b"");
    assert_eq!(answer.status, 404);
    for path in ["/v1/functions/ecko_bytes/warm", "/v1/functions/ecko_bytes/revive"] {
        let problem = server.post(path, &[], b"").json();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.ends_with("did you mean \"echo_bytes\"?"), "{detail}");
    }
}

#[test]
fn events_need_the_scope_observe_and_revival_the_scope_deploy() {
    let guarded = Guarded::start();
    let may = |scopes: &[&str]| {
        let bearer = format!("Bearer {}", guarded.token(scopes[0], scopes));
        let headers = [("authorization", bearer.as_str())];
        let events = guarded.server.get("/v1/events", &headers);
        let revive = guarded.server.post("/v1/functions/add/revive", &headers, b"");
        [events.status, revive.status].map(|status: u16| Value::from(status))
    };
    assert_eq!(may(&["observe"]), [json!(200), json!(403)]);
    assert_eq!(may(&["deploy"]), [json!(403), json!(200)]);
    assert_eq!(may(&["call"]), [json!(403), json!(403)]);
}
