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
    let answer = server.request("GET", "/problems/nonsense", &[], b"");
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not_found")));
}
