//! Rolling back a deployment, or one function.

use crate::deployed::serve;
use serde_json::json;

#[test]
fn a_rollback_returns_to_the_revision_that_was_active_before() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("f", 1), ("g", 1)]);
    server.deploy(&[("f", 2)]);
    let answer = server.post_json("/v1/rollback", &json!({}));
    assert_eq!((answer.status, &answer.json()["active"]), (200, &json!(3)), "{answer:?}");
    assert_eq!((server.version_of("f"), server.version_of("g")), (json!(1), json!(1)));
    let shown = server.get("/v1/revisions/3", &[]).json();
    assert_eq!(shown["revision"]["note"], json!("rolled back to revision 1"));
    assert_eq!(shown["revision"]["parent"], json!(2));
    assert_eq!(shown["manifest"], server.get("/v1/revisions/1", &[]).json()["manifest"]);
}

#[test]
fn a_rollback_needs_no_body_and_ignores_none() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("f", 1)]);
    server.deploy(&[("f", 2)]);
    // A body whose type is not stated is not taken for none.
    let answer = server.post("/v1/rollback", &[], b"{\"to\": 99}");
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = server.post("/v1/rollback", &[], b"");
    assert_eq!((answer.status, &answer.json()["active"]), (200, &json!(3)), "{answer:?}");
    assert_eq!(server.version_of("f"), json!(1));
}

#[test]
fn one_function_is_rolled_back_and_the_others_stay() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("f", 1), ("g", 1)]);
    server.deploy(&[("f", 2), ("g", 2)]);
    server.deploy(&[("f", 3), ("g", 3)]);
    let answer = server.post_json("/v1/rollback", &json!({ "to": 1, "function": "f" }));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["defined"], json!(["function \"f\""]));
    assert_eq!((server.version_of("f"), server.version_of("g")), (json!(1), json!(3)));
    let answer = server.post_json("/v1/rollback", &json!({ "to": 1, "function": "x" }));
    assert_eq!(answer.status, 422, "{answer:?}");
}

#[test]
fn a_rollback_without_a_target_or_against_another_revision_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    let refused = |body, status, code: &str| {
        let answer = server.post_json("/v1/rollback", &body);
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{answer:?}");
    };
    refused(json!({}), 409, "nothing_to_roll_back");
    server.deploy(&[("f", 1)]);
    refused(json!({}), 409, "nothing_to_roll_back");
    refused(json!({ "to": 5 }), 404, "revision_not_found");
    server.deploy(&[("f", 2)]);
    refused(json!({ "to": 1, "expected": 1 }), 409, "revision_conflict");
    assert_eq!(server.version_of("f"), json!(2));
}
