//! Calls over HTTP.

use crate::harness::Running;
use serde_json::json;

#[test]
fn a_function_is_called_with_json_by_position_and_by_name() {
    let server = Running::start();
    let answer = server.call("add", &json!([40, 2]));
    assert_eq!((answer.status, answer.json()), (200, json!(42)), "{answer:?}");
    let hash = server.wpc.function_information("add").unwrap().function_hash_sha1;
    assert_eq!(answer.header("etag"), format!("\"{hash}\""));
    let answer = server.call("add", &json!({ "b": 2, "a": 40 }));
    assert_eq!((answer.status, answer.json()), (200, json!(42)), "{answer:?}");
}

#[test]
fn an_unknown_function_is_a_problem_document() {
    let server = Running::start();
    let answer = server.call("subtract", &json!([1]));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (404, &json!("function_not_defined")));
    assert_eq!((&problem["outcome"], &problem["retryable"]), (&json!("not_started"), &json!(true)));
}

#[test]
fn a_pin_to_another_module_is_refused() {
    let server = Running::start();
    let headers =
        [("content-type", "application/json"), ("if-match", &*format!("\"{}\"", "0".repeat(40)))];
    let answer = server.post("/v1/functions/add/call", &headers, b"[1, 2]");
    assert_eq!((answer.status, &answer.json()["code"]), (412, &json!("pin_mismatch")));
}
