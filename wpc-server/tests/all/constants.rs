//! Constants that are changed without repeating the manifest.

use crate::deployed::{file_of, serve, serve_with};
use crate::harness::{Answer, Running, guest_bytes};
use serde_json::{Value, json};
use wpc_deploy::Policy;

/// A manifest with comments.
const MANIFEST: &str = "# The service.\n[constants]\nRATE = 0.5 # VAT\n";

/// A server with an active revision of these constants.
fn running(server: &Running) {
    let answer = server.post_json("/v1/revisions", &json!({ "manifest": MANIFEST }));
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(server.activate(1, None).status, 200);
}

fn set(server: &Running, name: &str, body: &Value) -> Answer {
    let body = serde_json::to_vec(body).unwrap();
    let headers = [("content-type", "application/json")];
    server.request("PUT", &format!("/v1/constants/{name}"), &headers, &body)
}

fn manifest_of(server: &Running, revision: u64) -> String {
    let shown = server.get(&format!("/v1/revisions/{revision}"), &[]).json();
    shown["manifest"].as_str().unwrap().to_owned()
}

#[test]
fn a_constant_is_set_in_a_new_revision_with_the_rest_of_the_manifest() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    running(&server);
    let answer = set(&server, "RATE", &json!({ "value": 0.25, "expected": 1 }));
    let expected = json!({
        "active": 2,
        "previous": 1,
        "defined": ["constant \"RATE\""],
        "removed": [],
        "pool_outdated": false,
    });
    assert_eq!((answer.status, answer.json()), (200, expected));
    assert_eq!(manifest_of(&server, 2), MANIFEST.replace("0.5", "0.25"));
    let revision = server.get("/v1/revisions/2", &[]).json()["revision"].clone();
    assert_eq!(
        (&revision["note"], &revision["parent"]),
        (&json!("constant \"RATE\" set"), &json!(1))
    );
    let body = json!({ "value": 3, "type": "u32", "expected": 2, "note": "Three." });
    assert_eq!(set(&server, "COUNT", &body).status, 200);
    let listed = server.get("/v1/constants", &[]).json();
    let count = json!({ "name": "COUNT", "type": "u32", "value": 3 });
    let rate = json!({ "name": "RATE", "value": 0.25 });
    assert_eq!(listed, json!({ "active": 3, "constants": [count, rate] }));
    let names: Vec<_> =
        server.wpc.get_worker_constants().into_iter().map(|constant| constant.name).collect();
    assert_eq!(names, ["COUNT", "RATE"]);
    // A rollback returns to the earlier value.
    assert_eq!(server.post_json("/v1/rollback", &json!({ "to": 1 })).status, 200);
    assert_eq!(manifest_of(&server, 4), MANIFEST);
}

#[test]
fn a_constant_is_changed_only_if_the_expected_revision_is_active() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    running(&server);
    for expected in [json!(null), json!(7)] {
        let answer = set(&server, "RATE", &json!({ "value": 1.5, "expected": expected }));
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("revision_conflict")));
    }
    let answer = server.delete("/v1/constants/RATE?expected=7", &[]);
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("revision_conflict")));
    for body in [
        json!({ "value": 1.5 }),
        json!({ "expected": 1 }),
        json!({ "value": 1.5, "secret": "env:A", "expected": 1 }),
        json!({ "secret": "env:A", "type": "String", "expected": 1 }),
        json!({ "value": 1.5, "expected": 1, "other": 1 }),
    ] {
        assert_eq!(set(&server, "RATE", &body).status, 400, "{body}");
    }
    assert_eq!(server.delete("/v1/constants/RATE", &[]).status, 400, "`expected` is required");
    assert_eq!(server.get("/v1/constants", &[]).json()["active"], 1);
}

#[test]
fn a_refused_value_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    running(&server);
    for (name, body) in [
        ("RATE", json!({ "value": "x", "type": "u8", "expected": 1 })),
        ("RATE", json!({ "value": 300, "type": "u8", "expected": 1 })),
        ("RATE", json!({ "value": 3, "expected": 1 })),
        ("RATE", json!({ "value": null, "expected": 1 })),
        ("RATE", json!({ "secret": "vault:x", "expected": 1 })),
        ("RATE", json!({ "secret": "env:PATH", "expected": 1 })),
        ("not%20a%20name", json!({ "value": 0.5, "expected": 1 })),
    ] {
        let answer = set(&server, name, &body);
        let code = answer.json()["code"].clone();
        assert_eq!((answer.status, code), (422, json!("deployment_refused")), "{body}");
    }
    let listed = server.get("/v1/revisions", &[]).json();
    assert_eq!((listed["revisions"].as_array().unwrap().len(), &listed["active"]), (1, &json!(1)));
}

#[test]
fn a_constant_is_removed_unless_a_function_needs_it() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    let [function, path] = ["function1", "path"].map(|name| {
        let module = guest_bytes(name);
        assert_eq!(server.upload(&module).status, 201);
        file_of(&module)
    });
    let text = format!(
        "{MANIFEST}SERVICE_PREFIX = \"demo\"\n[dependencies.path_dep]\nfile = \"{path}\"\n[functions.WPCFunction1]\nfile = \"{function}\"\n"
    );
    let answer = server.post_json("/v1/revisions", &json!({ "manifest": text }));
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(server.activate(1, None).status, 200);
    let answer = server.delete("/v1/constants/SERVICE_PREFIX?expected=1", &[]);
    let problem = answer.json();
    assert_eq!(answer.status, 422, "{problem}");
    assert_eq!(problem["problems"][0]["code"], "constant_not_defined");
    assert_eq!(server.delete("/v1/constants/RATE?expected=1", &[]).json()["active"], 2);
    let answer = server.delete("/v1/constants/RATE?expected=2", &[]);
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("constant_not_found")));
    let listed = server.get("/v1/constants", &[]).json();
    assert_eq!(listed["constants"], json!([{ "name": "SERVICE_PREFIX", "value": "demo" }]));
}

#[test]
fn a_first_constant_makes_a_first_revision() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    assert_eq!(server.get("/v1/constants", &[]).json(), json!({ "active": null, "constants": [] }));
    let answer = set(&server, "NAME", &json!({ "value": "x", "expected": null }));
    assert_eq!((answer.status, &answer.json()["active"]), (200, &json!(1)), "{answer:?}");
}

#[test]
fn a_secret_is_set_by_its_reference_and_read_again_and_never_shown() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "hunter2\n").unwrap();
    let policy = Policy::of([format!("secret=file:{}", folder.path().display())]).unwrap();
    let server = serve_with(data.path(), policy);
    running(&server);
    let reference = format!("file:{}", file.display());
    let answer = set(&server, "KEY", &json!({ "secret": reference, "expected": 1 }));
    assert_eq!(answer.json()["defined"], json!(["constant \"KEY\""]), "{answer:?}");
    // The same reference with another content.
    std::fs::write(&file, "hunter3\n").unwrap();
    let answer = set(&server, "KEY", &json!({ "secret": reference, "expected": 2 }));
    assert_eq!(answer.json()["defined"], json!(["constant \"KEY\""]), "{answer:?}");
    let listed = server.get("/v1/constants", &[]).json();
    assert_eq!(listed["constants"][0], json!({ "name": "KEY", "secret": reference }));
    for path in ["/v1/constants", "/v1/deployment", "/v1/revisions/3", "/v1/revisions/3/diff"] {
        let body = server.get(path, &[]).body;
        assert!(!String::from_utf8_lossy(&body).contains("hunter"), "{path}");
    }
    std::fs::write(&file, [0xff]).unwrap();
    let answer = set(&server, "KEY", &json!({ "secret": reference, "expected": 3 }));
    assert_eq!(answer.status, 422, "{answer:?}");
    assert_eq!(server.get("/v1/constants", &[]).json()["active"], 3);
}
