//! Information about functions.

use crate::harness::Running;
use serde_json::json;

#[test]
fn functions_are_listed_with_their_signatures_and_hashes() {
    let server = Running::start();
    let answer = server.get("/v1/functions", &[]).json();
    let functions = answer["functions"].as_array().unwrap();
    let add = functions.iter().find(|function| function["name"] == "add").unwrap();
    assert_eq!(add["signature"]["text"], "(a: i32, b: i32) -> i32");
    let hash = server.wpc.function_information("add").unwrap().function_hash_sha1;
    assert_eq!(add["function_hash_sha1"], hash.to_string());
    let one = server.get("/v1/functions/add", &[]);
    assert_eq!((one.json(), one.header("etag")), (add.clone(), &*format!("\"{hash}\"")));
}

#[test]
fn a_function_that_is_not_defined_is_not_found() {
    let server = Running::start();
    let answer = server.get("/v1/functions/subtract", &[]);
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("function_not_defined")));
    let answer = server.get("/v1/functions/%ff", &[]);
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_request")));
}
