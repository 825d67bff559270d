//! JSON-RPC 2.0 over HTTP.

use crate::harness::{Answer, Running, eventually};
use serde_json::{Value, json};
use std::sync::Arc;
use wpc_host::ErrorCode;
use wpc_server::{Application, Settings};

fn send(server: &Running, text: &str) -> Answer {
    server.post("/rpc", &[("content-type", "application/json")], text.as_bytes())
}

fn request(function: &str, params: &Value, id: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": function, "params": params, "id": id })
}

/// The responses of a batch by the texts of their ids.
fn batch(server: &Running, requests: &[Value]) -> Vec<Value> {
    let answer = send(server, &serde_json::to_string(requests).unwrap());
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut responses = answer.json().as_array().unwrap().clone();
    responses.sort_by_key(|response| response["id"].to_string());
    responses
}

#[test]
fn a_function_is_called_with_positional_and_named_parameters() {
    let server = Running::start();
    for params in [json!([40, 2]), json!({ "b": 2, "a": 40 })] {
        let answer = send(&server, &request("add", &params, &json!(1)).to_string());
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        assert_eq!(answer.json(), json!({ "jsonrpc": "2.0", "result": 42, "id": 1 }));
    }
}

#[test]
fn an_id_is_returned_exactly_as_it_was_sent() {
    let server = Running::start();
    for id in ["1", "-7", "1.50", "12345678901234567890123", "\"\\u0061/\"", "null", "\"\""] {
        let text =
            format!(r#"{{"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": {id}}}"#);
        let body = String::from_utf8(send(&server, &text).body).unwrap();
        assert_eq!(body, format!(r#"{{"jsonrpc":"2.0","result":3,"id":{id}}}"#));
    }
}

#[test]
fn an_error_has_the_code_of_the_table_and_the_problem_document() {
    let server = Running::start();
    for (function, params, code, name) in [
        ("nothing", json!([]), -32601, "function_not_defined"),
        ("add", json!([1]), -32602, "bad_arguments"),
        ("fails", json!([1]), -32000, "guest_error"),
        ("panics", json!(["now"]), -32004, "trap"),
        ("lines", json!(["a"]), -32602, "yields_items"),
    ] {
        let error = send(&server, &request(function, &params, &json!("x")).to_string()).json();
        assert_eq!((&error["error"]["code"], &error["id"]), (&json!(code), &json!("x")), "{error}");
        let data = &error["error"]["data"];
        assert_eq!((&data["code"], &data["function"]), (&json!(name), &json!(function)));
        assert_eq!(error["error"]["message"], data["detail"]);
    }
    let answer = server.post(
        "/rpc?timeout=20ms",
        &[],
        request("spins", &json!([]), &json!(1)).to_string().as_bytes(),
    );
    assert_eq!(answer.json()["error"]["code"], -32006);
}

#[test]
fn the_examples_of_the_specification_are_answered_as_it_states() {
    let server = Running::start();
    let error = |code: i32| json!({ "code": code, "id": null });
    for (text, expected) in [
        (r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#, error(-32700)),
        (r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#, error(-32600)),
        (
            r#"[{"jsonrpc": "2.0", "method": "sum", "id": "1"}, {"jsonrpc": "2.0", "method"]"#,
            error(-32700),
        ),
        ("[]", error(-32600)),
        ("[1]", json!([error(-32600)])),
        ("[1, 2, 3]", json!([error(-32600), error(-32600), error(-32600)])),
        ("", error(-32700)),
        ("7", error(-32600)),
    ] {
        let answer = send(&server, text);
        let short =
            |response: &Value| json!({ "code": response["error"]["code"], "id": response["id"] });
        let found = match answer.json() {
            Value::Array(responses) => responses.iter().map(short).collect(),
            response => short(&response),
        };
        assert_eq!((answer.status, found), (200, expected), "{text}");
    }
}

#[test]
fn notifications_are_run_and_not_answered() {
    let server = Running::start();
    let notification = json!({ "jsonrpc": "2.0", "method": "add", "params": [1, 2] });
    let answer = send(&server, &notification.to_string());
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let unknown = json!({ "jsonrpc": "2.0", "method": "nothing" });
    let answer = send(&server, &json!([notification, unknown, notification]).to_string());
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let add = server.wpc.metrics().functions.into_iter().find(|found| found.name == "add").unwrap();
    assert_eq!(add.calls.succeeded, 3);
}

#[test]
fn the_requests_of_a_batch_run_concurrently_and_are_answered_by_id() {
    let server = Running::start();
    let mut requests: Vec<Value> =
        (0..500).map(|id| request("add", &json!([id, 1]), &json!(id))).collect();
    requests.push(request("nothing", &json!([]), &json!("unknown")));
    requests.push(json!({ "jsonrpc": "2.0", "method": "add", "params": [0, 0] }));
    // Equal ids are allowed.
    requests.push(request("add", &json!([6, 1]), &json!(0)));
    let responses = batch(&server, &requests);
    assert_eq!(responses.len(), 502);
    for response in &responses {
        match response["id"].as_u64() {
            Some(0) => assert!([json!(1), json!(7)].contains(&response["result"])),
            Some(id) => assert_eq!(response["result"], id + 1),
            None => assert_eq!(response["error"]["code"], -32601),
        }
    }
}

#[test]
fn one_time_limit_holds_for_a_whole_batch() {
    let server = Running::start();
    let requests: Vec<Value> = (0..8).map(|id| request("spins", &json!([]), &json!(id))).collect();
    let text = json!(requests).to_string();
    let answer = server.post("/rpc?timeout=200ms", &[], text.as_bytes());
    let responses = answer.json();
    let outcomes: Vec<_> = responses
        .as_array()
        .unwrap()
        .iter()
        .map(|response| {
            assert_eq!(response["error"]["data"]["code"], "timeout");
            &response["error"]["data"]["outcome"]
        })
        .collect();
    // If each request had its own time limit, which began after its wait for a worker, all of them would have started.
    assert!(outcomes.contains(&&json!("not_started")), "{responses}");
}

#[test]
fn a_batch_that_is_too_long_or_whose_results_are_too_large_is_bounded() {
    let server = Running::of(|wpc| {
        let mut settings = Settings::default();
        (settings.max_batch, settings.max_batch_result) = (10, 200_000);
        Application::builder(Arc::new(wpc)).settings(settings).build()
    });
    let requests = |count: usize, params: &Value| -> Vec<Value> {
        (0..count).map(|id| request("echo_bytes", params, &json!(id))).collect()
    };
    let answer = send(&server, &json!(requests(11, &json!([[]]))).to_string());
    let response = answer.json();
    assert_eq!((&response["error"]["code"], &response["id"]), (&json!(-32600), &Value::Null));
    assert_eq!(response["error"]["data"]["code"], "batch_too_long");
    assert_eq!(server.wpc.metrics().calls.total(), 0, "none of them was run");
    let responses = batch(&server, &requests(10, &json!([vec![100; 10_000]])));
    let codes: Vec<_> = responses.iter().map(|response| &response["error"]["data"]).collect();
    assert_eq!(codes.iter().filter(|data| data.is_null()).count(), 4, "each has 40 kB");
    let dropped = codes.iter().filter(|data| data["code"] == "batch_result_too_large");
    assert!(dropped.clone().all(|data| data["outcome"] == "finished"));
    assert_eq!(dropped.count(), 6);
}

#[test]
fn headers_that_cannot_apply_and_other_content_types_are_refused() {
    let server = Running::start();
    let text = request("add", &json!([1, 2]), &json!(1)).to_string();
    for (name, value, status) in [
        ("if-match", "*", 400),
        ("idempotency-key", "\"a\"", 400),
        ("content-type", "text/plain", 415),
    ] {
        let answer = server.post("/rpc", &[(name, value)], text.as_bytes());
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, "application/problem+json")
        );
    }
    assert_eq!(server.post("/rpc?nonsense=1", &[], text.as_bytes()).status, 400);
    let answer = server.request("GET", "/rpc", &[], b"");
    assert_eq!((answer.status, &answer.json()["code"]), (426, &json!("upgrade_required")));
    assert_eq!(answer.header("upgrade"), "websocket");
    let answer = server.request("PUT", "/rpc", &[], b"");
    assert_eq!(answer.status, 405);
}

#[test]
fn a_client_that_disconnects_cancels_its_batch() {
    let server = Running::start();
    let requests: Vec<Value> = (0..4).map(|id| request("spins", &json!([]), &json!(id))).collect();
    let body = json!(requests).to_string();
    let length = body.len();
    let client = server.connect(&format!(
        "POST /rpc HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {length}\r\n\r\n{body}"
    ));
    server.runs();
    drop(client);
    eventually("the end of the calls", || server.failed("spins", ErrorCode::Cancelled) == 4);
    eventually("the end of the guests", || server.wpc.metrics().pending_calls == 0);
}
