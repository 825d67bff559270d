//! Draining a running server, and resuming it.

use crate::harness::{Running, eventually};
use crate::tokens::Guarded;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use wpc_server::{Application, IdempotencyBounds, Settings};

fn drain(server: &Running) -> Value {
    let answer = server.post("/v1/drain", &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn refused(answer: &crate::harness::Answer) {
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (503, &json!("draining")), "{answer:?}");
    assert_eq!((&problem["outcome"], &problem["retryable"]), (&json!("not_started"), &json!(true)));
    assert_eq!(answer.header("retry-after"), "5");
}

#[test]
fn a_draining_server_is_not_ready_refuses_calls_and_resumes() {
    let server = Running::start();
    assert_eq!(drain(&server), json!({ "draining": true, "calls": 0 }));
    refused(&server.call("add", &json!([40, 2])));
    let headers = [("accept", "text/event-stream")];
    refused(&server.post("/v1/functions/lines/call", &headers, b"[\"a\"]"));
    let request = json!({ "jsonrpc": "2.0", "method": "add", "params": [40, 2], "id": 1 });
    let error = server.post_json("/rpc", &request).json()["error"].clone();
    assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32005), &json!("draining")));
    let ready = server.get("/readyz", &[]);
    assert_eq!(ready.status, 503);
    assert!(ready.body.starts_with(b"[-] stage: draining, by an operator\n"), "{ready:?}");
    assert_eq!(server.get("/livez", &[]).status, 200);
    // Draining twice changes nothing.
    drain(&server);
    assert_eq!(server.delete("/v1/drain", &[]).json()["draining"], false);
    assert_eq!(server.get("/readyz", &[]).status, 200);
    assert_eq!(server.call("add", &json!([40, 2])).json(), 42);
}

#[test]
fn calls_in_progress_finish() {
    let server = Running::start();
    let endless = format!("[{}]", u64::MAX);
    let client = server.connect_call("numbers", "accept: application/jsonl\r\n", &endless);
    let mut lines = BufReader::new(client).lines().map(Result::unwrap);
    let mut items = lines.by_ref().filter(|line| line.starts_with("{\"item\":"));
    assert!(items.next().is_some());
    drain(&server);
    // A call may briefly be counted twice while it is moved to another worker.
    eventually("one call", || server.get("/v1/drain", &[]).json()["calls"] == 1);
    // More items than were in flight before the server began to drain.
    assert_eq!(items.take(100_000).count(), 100_000);
    drop(lines);
    eventually("the end of the call", || server.get("/v1/drain", &[]).json()["calls"] == 0);
}

#[test]
fn the_answer_of_a_call_that_has_run_is_still_returned() {
    let server = Running::of(|wpc| {
        let mut settings = Settings::default();
        settings.idempotency = Some(IdempotencyBounds::default());
        Application::builder(Arc::new(wpc)).settings(settings).build()
    });
    let add = || {
        let headers = [("idempotency-key", "\"one\"")];
        server.post("/v1/functions/add/call", &headers, b"[40, 2]")
    };
    assert_eq!(add().json(), 42);
    drain(&server);
    let again = add();
    assert_eq!((again.json(), again.header("idempotent-replayed")), (json!(42), "true"));
}

#[test]
fn a_refused_call_does_not_use_a_quota() {
    let guarded = Guarded::start();
    let (_, token) = guarded.create("tenant", &["call"], |new| new.quota.set("calls=1/d").unwrap());
    let operator = format!("Bearer {}", guarded.token("operator", &["deploy"]));
    let operator = [("authorization", operator.as_str())];
    assert_eq!(guarded.server.post("/v1/drain", &operator, b"").status, 200);
    refused(&guarded.add(&token));
    assert_eq!(guarded.server.delete("/v1/drain", &operator).status, 200);
    assert_eq!(guarded.add(&token).json(), 42);
}

#[test]
fn draining_needs_the_scope_deploy_and_its_state_the_scope_observe() {
    let guarded = Guarded::start();
    let may = |scope: &str| {
        let bearer = format!("Bearer {}", guarded.token(scope, &[scope]));
        let headers = [("authorization", bearer.as_str())];
        let server = &guarded.server;
        let get = server.get("/v1/drain", &headers).status;
        let post = server.post("/v1/drain", &headers, b"").status;
        [get, post, server.delete("/v1/drain", &headers).status]
    };
    assert_eq!(may("observe"), [200, 403, 403]);
    assert_eq!(may("deploy"), [403, 200, 200]);
    assert_eq!(may("call"), [403, 403, 403]);
    assert_eq!(may("admin"), [200, 200, 200]);
}
