//! Random requests, as hostile clients send them. None causes an error of the server, and every error is a problem document.

use crate::harness::Running;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

const METHODS: [&str; 7] = ["POST", "POST", "POST", "POST", "GET", "HEAD", "PUT"];

const PATHS: [&str; 14] = [
    "/v1/functions/add/call",
    "/v1/functions/add/call?timeout=50ms",
    "/v1/functions/echo_bytes/call",
    "/v1/functions/lines/call",
    "/v1/functions/order/call?fuel=10",
    "/v1/functions/%00/call",
    "/v1/functions/%ff%fe/call",
    "/v1/functions/..%2f..%2fetc/call",
    "/v1/functions//call",
    "/rpc",
    "/rpc?timeout=50ms&affinity=a",
    "/problems/timeout",
    "/problems/%ff",
    "//",
];

const HEADERS: [(&str, &[&str]); 8] = [
    (
        "content-type",
        &[
            "application/json",
            "text/plain",
            "application/octet-stream",
            "application/vnd.postcard",
            "a",
            "application/json;;",
        ],
    ),
    (
        "accept",
        &[
            "*/*",
            "text/event-stream",
            "application/jsonl",
            "application/octet-stream;q=0.1, text/*;q=1.0",
            ";;,,q=",
            "text/plain",
        ],
    ),
    ("if-match", &["*", "\"", "W/\"x\"", "\"2fd4e1c67a2d28fced849ee1bb76e7391b93eb12\""]),
    ("traceparent", &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-0"]),
    ("tracestate", &["a=1", "="]),
    ("x-request-id", &["r17", ""]),
    ("idempotency-key", &["\"a\""]),
    ("upgrade", &["websocket"]),
];

const BODIES: [&str; 9] = [
    "[1, 2]",
    r#"{"a": 1, "b": 2}"#,
    r#"["a\nb"]"#,
    r#"[[{"item": "tea", "count": 2}], {"tea": 3}]"#,
    r#"{"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": 1}"#,
    r#"[{"jsonrpc": "2.0", "method": "add", "params": {"a": 1, "b": 2}, "id": "x"}, 1, {}]"#,
    r#"{"jsonrpc": "2.0", "method": "lines", "params": ["a"]}"#,
    "",
    "[[[[[[[[",
];

/// Replaces, removes, repeats or inserts some bytes.
fn mutate(random: &mut SmallRng, body: &str) -> Vec<u8> {
    let mut bytes = body.as_bytes().to_vec();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..4) {
            0 if at < bytes.len() => bytes[at] = random.random(),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.extend_from_within(at..),
            _ => bytes.insert(at, *b"[]{}\",:0e-\\\xff".choose(random).unwrap()),
        }
    }
    bytes
}

#[test]
fn random_requests_are_answered_and_their_errors_are_problem_documents() {
    let server = Running::start();
    let seed = rand::random::<u64>();
    let mut random = SmallRng::seed_from_u64(seed);
    for number in 0..3000 {
        let method = METHODS.choose(&mut random).unwrap();
        let path = PATHS.choose(&mut random).unwrap();
        let headers: Vec<(&str, &str)> = HEADERS
            .iter()
            .filter(|_| random.random_bool(0.3))
            .map(|(name, values)| (*name, values[number % values.len()]))
            .collect();
        let body = *BODIES.choose(&mut random).unwrap();
        let body = mutate(&mut random, body);
        let body = if matches!(*method, "GET" | "HEAD") { Vec::new() } else { body };
        let answer = server.request(method, path, &headers, &body);
        let request = format!(
            "seed {seed}: {method} {path} {headers:?} {:?}: {answer:?}",
            String::from_utf8_lossy(&body)
        );
        // The function `order` may panic for an amount that overflows.
        let is_expected = answer.status < 500 || [502, 504].contains(&answer.status);
        assert!(is_expected, "{request}");
        if answer.status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{request}");
            if *method != "HEAD" {
                let problem = answer.json();
                assert_eq!(problem["status"], answer.status, "{request}");
                assert!(problem["code"].is_string() && problem["outcome"].is_string(), "{request}");
            }
        }
    }
    assert_eq!(server.call("add", &json!([1, 2])).json(), 3);
}
