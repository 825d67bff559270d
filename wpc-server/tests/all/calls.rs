//! Calls over HTTP.

use crate::guests::guest;
use crate::harness::{Running, eventually};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;
use wpc_host::{ErrorCode, Limits};
use wpc_server::{Application, Settings};

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn a_function_is_called_with_json_by_position_and_by_name() {
    let server = Running::start();
    let answer = server.call("add", &json!([40, 2]));
    assert_eq!((answer.status, answer.json()), (200, json!(42)), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    let hash = server.wpc.function_information("add").unwrap().function_hash_sha1;
    assert_eq!(answer.header("etag"), format!("\"{hash}\""));
    assert!(answer.header("wpc-call-id").parse::<u64>().is_ok());
    let answer = server.call("add", &json!({ "b": 2, "a": 40 }));
    assert_eq!((answer.status, answer.json()), (200, json!(42)), "{answer:?}");
}

#[test]
fn bytes_and_text_are_passed_as_they_are() {
    let server = Running::start();
    let bytes: Vec<u8> = (0..=255).collect();
    let headers =
        [("content-type", "application/octet-stream"), ("accept", "application/octet-stream")];
    let answer = server.post("/v1/functions/echo_bytes/call", &headers, &bytes);
    assert_eq!((answer.status, &answer.body), (200, &bytes));
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    let headers = [("content-type", "text/plain"), ("accept", "text/plain")];
    let answer = server.post("/v1/functions/echo_bytes/call", &headers, "é".as_bytes());
    assert_eq!((answer.status, answer.body.as_slice()), (200, "é".as_bytes()));
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    let answer = server.post("/v1/functions/echo_bytes/call", &headers, &bytes);
    assert_eq!(answer.header("content-type"), "application/octet-stream", "it is not text");
    // Only a byte sequence or a string has such a form.
    let answer = server.post("/v1/functions/add/call", &[("accept", "text/plain")], b"[1, 2]");
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (406, &json!("not_acceptable")));
    assert!(problem["detail"].as_str().unwrap().contains("is `i32`"), "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().ends_with("accept `application/json`"),
        "{problem}"
    );
    let answer = server.post("/v1/functions/panics/call", &headers[..1], &[0xff]);
    assert_eq!(answer.status, 422);
    assert!(answer.json()["detail"].as_str().unwrap().contains("UTF-8"), "{answer:?}");
}

#[test]
fn arguments_and_results_can_be_postcard() {
    let server = Running::with_function("sdk", "join");
    let postcard = "application/vnd.postcard";
    let encoded = server.wpc.encode_json("join", &[json!("a"), json!("b")]).unwrap();
    let headers = [("content-type", postcard), ("accept", postcard)];
    let answer = server.post("/v1/functions/join/call", &headers, &encoded);
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"\x02ab".as_slice()));
    assert_eq!(answer.header("content-type"), postcard);
}

#[test]
fn a_body_or_a_response_of_another_type_is_refused() {
    let server = Running::start();
    let answer = server.post("/v1/functions/add/call", &[("content-type", "text/xml")], b"<a/>");
    assert_eq!((answer.status, &answer.json()["code"]), (415, &json!("unsupported_media_type")));
    let headers = [JSON, ("accept", "image/png, application/json;q=0")];
    let answer = server.post("/v1/functions/add/call", &headers, b"[1, 2]");
    assert_eq!((answer.status, &answer.json()["code"]), (406, &json!("not_acceptable")));
}

#[test]
fn an_unknown_function_is_a_problem_document_with_the_nearest_name() {
    let server = Running::start();
    let answer = server.call("sbutract", &json!([1]));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (404, &json!("function_not_defined")));
    assert_eq!(
        (&problem["outcome"], &problem["retryable"]),
        (&json!("not_started"), &json!(false))
    );
    let hint = |name: &str| {
        let problem = server.call(name, &json!([])).json();
        problem["detail"]
            .as_str()
            .unwrap()
            .split_once("did you mean ")
            .map(|(_, name)| name.to_owned())
    };
    assert_eq!(hint("addd").as_deref(), Some("\"add\"?"));
    assert_eq!(hint("Numbres").as_deref(), Some("\"numbers\"?"));
    assert_eq!(hint("subtract"), None);
    assert_eq!(hint(&"a".repeat(5000)), None);
}

#[test]
fn arguments_of_another_type_are_named_with_their_position() {
    let server = Running::with_function("sdk", "sum");
    for (function, arguments, parts) in [
        ("add", json!([1, "two"]), ["`b`", "i32"]),
        ("add", json!([1, 2_147_483_648_i64]), ["`b`", "2147483648"]),
        ("add", json!([1]), ["2 arguments", "found 1"]),
        ("add", json!({ "a": 1, "c": 2 }), ["`b`", "missing"]),
        ("add", json!({ "a": 1, "b": 2, "c": 2 }), ["`c`", "unknown"]),
        ("order", json!([[{ "item": "tea", "count": -1 }], {}]), ["`orders[0].count`", "u32"]),
        ("sum", json!([[0, 1.8e19]]), ["`numbers[1]`", "u64"]),
    ] {
        let answer = server.call(function, &arguments);
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["code"]),
            (422, &json!("bad_arguments")),
            "{arguments}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(parts.iter().all(|part| detail.contains(part)), "{detail}");
        assert_eq!(
            (&problem["function"], &problem["outcome"]),
            (&json!(function), &json!("not_started"))
        );
    }
}

#[test]
fn malformed_json_is_refused_with_the_position() {
    let server = Running::start();
    let deep = "[".repeat(100_000);
    for (body, part) in [
        (b"[1, 2".as_slice(), "EOF"),
        (b"[1, 2] 3", "trailing"),
        (b"\xff", "not JSON"),
        (b"[\"\xff\"]", "$[0]"),
        (br#"{"a": 1, "a": 2}"#, "$[\"a\"]"),
        (br#"[1, {"b": 1e999}]"#, "$[1][\"b\"]"),
        (deep.as_bytes(), "levels deep"),
    ] {
        let answer = server.post("/v1/functions/add/call", &[JSON], body);
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (400, &json!("invalid_json")), "{answer:?}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
    }
    let answer = server.post("/v1/functions/add/call", &[JSON], b"42");
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_request")));
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let server = Running::of(|wpc| {
        let mut settings = Settings::default();
        settings.max_body = 1000;
        Application::builder(Arc::new(wpc)).settings(settings).build()
    });
    let answer = server.post("/v1/functions/echo_bytes/call", &[JSON], &[b' '; 1001]);
    assert_eq!((answer.status, &answer.json()["code"]), (413, &json!("body_too_large")));
    // A body of unknown length is read up to the limit.
    let mut connection = server.connect(
        "POST /v1/functions/echo_bytes/call HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    let chunk = format!("200\r\n{}\r\n", " ".repeat(0x200));
    connection.write_all(chunk.repeat(2).as_bytes()).unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let answer = server.post("/v1/functions/echo_bytes/call", &[JSON], b"[[1]]");
    assert_eq!(answer.status, 200, "other clients are served");
}

#[test]
fn a_pin_to_another_module_is_refused() {
    let server = Running::start();
    let hash = server.wpc.function_information("add").unwrap().function_hash_sha1;
    let other = "0".repeat(40);
    for (tags, status) in [
        ("*".to_owned(), 200),
        (format!("\"{hash}\""), 200),
        (format!("\"{other}\", \"{hash}\""), 200),
        (format!("\"{other}\""), 412),
        (format!("W/\"{hash}\""), 412),
    ] {
        let headers = [JSON, ("if-match", &*tags)];
        let answer = server.post("/v1/functions/add/call", &headers, b"[1, 2]");
        assert_eq!(answer.status, status, "{tags}: {answer:?}");
        if status == 412 {
            assert_eq!(answer.json()["code"], "pin_mismatch");
        }
    }
    let answer = server.post("/v1/functions/add/call", &[("if-match", "x")], b"[1, 2]");
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_request")));
    let headers = [("if-match", "W/\"x\"")];
    assert_eq!(server.post("/v1/functions/nothing/call", &headers, b"[]").status, 404);
}

#[test]
fn a_call_ends_at_its_time_limit_and_at_its_fuel() {
    let server = Running::start();
    let mut limits = ["20ms", "200ms", "2s", "20s"].into_iter();
    let problem = loop {
        let path = format!("/v1/functions/spins/call?timeout={}", limits.next().unwrap());
        let answer = server.post(&path, &[JSON], b"[]");
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (504, &json!("timeout")), "{problem}");
        // On a busy machine, a short limit is over before the guest starts.
        if problem["outcome"] != "not_started" {
            break problem;
        }
    };
    assert_eq!((&problem["outcome"], &problem["retryable"]), (&json!("unknown"), &json!(true)));
    assert!(problem["wpc_call_id"].is_u64() && problem["function_hash_sha1"].is_string());
    for query in ["timeout=soon", "timeout=", "fuel=-1", "fuel=many", "nonsense=1", "fuel=1&fuel=2"]
    {
        let answer = server.post(&format!("/v1/functions/add/call?{query}"), &[JSON], b"[1, 2]");
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &json!("bad_request")),
            "{query}"
        );
    }
    // The function is not metered; and other options that the pool refuses.
    let long_id = "x".repeat(257);
    for (query, header, expected) in [
        (
            "fuel=5",
            JSON,
            "the query parameter `fuel` needs a function with a fuel limit; leave it out",
        ),
        ("timeout=0s", JSON, "the query parameter `timeout` must be longer than zero"),
        ("", ("x-request-id", &*long_id), "the header `X-Request-Id` must have 1 to 256 bytes"),
    ] {
        let request = r#"{"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": 1}"#;
        let by_rpc = server.post(&format!("/rpc?{query}"), &[header], request.as_bytes()).json();
        let path = format!("/v1/functions/add/call?{query}");
        let answer = server.post(&path, &[header], b"[1, 2]");
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (400, &json!("invalid_call_options")));
        for problem in [&problem, &by_rpc["error"]["data"]] {
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(expected) && !detail.contains("::"), "{detail}");
        }
    }
    let answer = server.post("/v1/functions/add/call?affinity=ada&timeout=60s", &[JSON], b"[1, 2]");
    assert_eq!(answer.json(), 3);
}

#[test]
fn a_client_cannot_raise_the_limits_of_a_function() {
    let server = Running::start();
    let limits = Limits::default().timeout(Duration::from_millis(50));
    server.wpc.define_worker_function("spins", guest("sdk").limits(limits)).unwrap();
    let request = json!({ "jsonrpc": "2.0", "method": "spins", "params": [], "id": 1 });
    let by_rpc = server.post_json("/rpc?timeout=1h", &request).json();
    assert_eq!(by_rpc["error"]["data"]["code"], "timeout");
    let answer = server.post("/v1/functions/spins/call?timeout=1h", &[JSON], b"[]");
    assert_eq!((answer.status, &answer.json()["code"]), (504, &json!("timeout")));
    let limits = Limits::default().fuel(1_000);
    server.wpc.define_worker_function("spins", guest("sdk").limits(limits)).unwrap();
    let answer = server.post("/v1/functions/spins/call?fuel=1000000000000", &[JSON], b"[]");
    assert_eq!((answer.status, &answer.json()["code"]), (502, &json!("out_of_fuel")));
}

#[test]
fn the_time_limit_covers_the_wait_for_a_worker() {
    let server = Running::start();
    // Both workers are busy.
    let busy = [0, 1].map(|_| server.connect_call("spins", "", "[]"));
    let all_run =
        || server.wpc.metrics().workers.iter().all(|worker| worker.running_function.is_some());
    eventually("both workers being busy", all_run);
    let answer = server.post("/v1/functions/add/call?timeout=30ms", &[JSON], b"[1, 2]");
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (504, &json!("timeout")));
    assert_eq!(problem["outcome"], "not_started");
    drop(busy);
}

#[test]
fn a_client_that_disconnects_cancels_its_call() {
    let server = Running::start();
    let client = server.connect_call("spins", "", "[]");
    server.runs();
    drop(client);
    eventually("the end of the call", || server.failed("spins", ErrorCode::Cancelled) == 1);
    eventually("the end of the guest", || server.wpc.metrics().pending_calls == 0);
    assert_eq!(server.wpc.metrics().worker_restarts, 0);
    assert_eq!(server.call("add", &json!([1, 2])).json(), 3);
}

#[test]
fn a_failure_of_the_function_has_its_reason() {
    let server = Running::start();
    let answer = server.call("fails", &json!([7]));
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (422, &json!("guest_error")));
    assert_eq!(
        (&problem["guest"]["message"], &problem["outcome"]),
        (&json!("7 is too small"), &json!("finished"))
    );
    let problem = server.call("panics", &json!(["late"])).json();
    assert_eq!((&problem["status"], &problem["outcome"]), (&json!(502), &json!("unknown")));
}

#[test]
fn a_call_while_no_workers_run_can_be_retried_later() {
    let server = Running::start();
    server.wpc.stop_workers();
    let answer = server.call("add", &json!([1, 2]));
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    let problem: Value = answer.json();
    assert_eq!((&problem["retryable"], &problem["outcome"]), (&json!(true), &json!("not_started")));
}

#[test]
fn the_trace_and_the_number_of_the_request_reach_the_observer() {
    let server = Running::start();
    let (sender, calls) = std::sync::mpsc::sync_channel(8);
    server.wpc.observe_finished_calls(move |call| {
        let trace = call.trace_context.as_ref().map(|trace| format!("{:032x}", trace.trace_id()));
        let _ = sender.send((trace, call.correlation_id.clone()));
    });
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [JSON, ("traceparent", &*parent), ("tracestate", "a=1"), ("x-request-id", "r17")];
    assert_eq!(server.post("/v1/functions/add/call", &headers, b"[1, 2]").status, 200);
    let found = calls.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    assert_eq!(found, (Some(trace.to_owned()), Some("r17".to_owned())));
    // An invalid one is ignored.
    let headers = [JSON, ("traceparent", "nonsense")];
    assert_eq!(server.post("/v1/functions/add/call", &headers, b"[1, 2]").status, 200);
    assert_eq!(calls.recv_timeout(std::time::Duration::from_secs(30)).unwrap(), (None, None));
}
