//! Problem documents of requests that reach no function.

use crate::harness::Running;
use serde_json::json;
use std::io::{Read as _, Write as _};

#[test]
fn an_unknown_path_is_a_problem_document() {
    let server = Running::start();
    let answer = server.request("GET", "/nothing", &[], b"");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not_found")));
}

#[test]
fn an_unsupported_method_is_refused_with_the_supported_ones() {
    let server = Running::start();
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = server.request(method, "/v1/functions/add/call", &[], b"");
        assert_eq!(answer.header("allow"), "POST", "{method}");
        assert_eq!((answer.status, &answer.json()["code"]), (405, &json!("method_not_allowed")));
    }
    let answer = server.request("HEAD", "/v1/functions/add/call", &[], b"");
    assert_eq!((answer.status, answer.header("allow"), answer.body.len()), (405, "POST", 0));
}

#[test]
fn a_client_receives_the_refusal_although_its_body_is_not_read() {
    let server = Running::start();
    let mut client = server
        .connect("POST /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\n");
    client.write_all(&[b' '; 100_000]).unwrap();
    // The connection can be used further.
    client
        .write_all(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    assert!(answers.starts_with("HTTP/1.1 404") && answers.contains("HTTP/1.1 200"), "{answers}");
}

#[test]
fn the_type_of_a_problem_refers_to_its_description() {
    let server = Running::start();
    let problem = server.call("subtract", &json!([1])).json();
    let answer = server.request("GET", problem["type"].as_str().unwrap(), &[], b"");
    assert_eq!(answer.status, 200);
    let entry = answer.json();
    assert_eq!((&entry["code"], &entry["status"]), (&problem["code"], &problem["status"]));
    assert!(entry["description"].as_str().unwrap().contains("defined"), "{entry}");
    let all = server.request("GET", "/problems", &[], b"").json();
    assert!(all.as_array().unwrap().contains(&entry), "{all}");
    let answer = server.request("GET", "/problems/nonsense", &[], b"");
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not_found")));
}

/// A method and a path, headers and a body; and a part of the detail of its problem.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], &'a str);

#[test]
fn a_malformed_request_is_described_in_the_terms_of_http() {
    let data = tempfile::tempdir().unwrap();
    let server = crate::deployed::serve(data.path());
    const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
    let rows: &[Row<'_>] = &[
        (
            "POST",
            "/v1/functions/f/call?timeot=1s",
            &[],
            b"",
            "invalid query: unknown parameter `timeot`, expected one of `timeout`, `fuel`, `affinity`",
        ),
        (
            "POST",
            "/v1/functions/f/call?fuel=1&fuel=2",
            &[],
            b"",
            "invalid query: duplicate parameter `fuel`",
        ),
        (
            "GET",
            "/v1/revisions?limit=x",
            &[],
            b"",
            "invalid query: `limit`: expected a whole number",
        ),
        (
            "POST",
            "/v1/revisions?dry_run=yes",
            JSON,
            b"{}",
            "invalid query: `dry_run`: expected `true` or `false`",
        ),
        ("DELETE", "/v1/constants/A", &[], b"", "invalid query: missing parameter `expected`"),
        (
            "POST",
            "/v1/active",
            JSON,
            b"{\"revision\": 1}",
            "invalid body: missing field `expected` at line 1 column 15",
        ),
        (
            "POST",
            "/v1/active",
            JSON,
            b"{",
            "the body is not JSON: EOF while parsing an object at line 1",
        ),
        ("POST", "/v1/active", &[], b"{}", "expected the header `Content-Type: application/json`"),
        (
            "GET",
            "/v1/revisions/abc",
            &[],
            b"",
            "invalid path: expected a whole number, found \"abc\"",
        ),
        ("GET", "/v1/functions/%ff", &[], b"", "invalid path: `name` is not UTF-8"),
        ("GET", "/rpc", &[], b"", "send requests of JSON-RPC with POST"),
    ];
    for (method, path, headers, body, expected) in rows {
        let problem = server.request(method, path, headers, body).json();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{method} {path}: {detail}");
    }
}

#[test]
fn what_only_the_operator_can_do_is_not_asked_of_the_client() {
    let server = Running::start();
    const ADD: &str = "/v1/functions/add/call";
    for (path, headers, option) in [
        ("/v1/rollback", &[][..], "--data FOLDER"),
        ("/v1/tokens", &[], "--tokens FILE"),
        (ADD, &[("idempotency-key", "\"a\"")], "--idempotency"),
        (ADD, &[("origin", "http://other.example")], "--allow-origin http://other.example"),
    ] {
        let problem = server.request("POST", path, headers, b"").json();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("its operator can") && detail.contains(option), "{detail}");
    }
}
