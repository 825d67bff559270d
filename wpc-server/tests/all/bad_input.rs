//! Bad input of all kinds: each is answered with its status and a problem document, is counted, and affects no other client.

use crate::deployed::{file_of, manifest, serve, version};
use crate::harness::{Answer, Running, guest};
use crate::tokens::Guarded;
use serde_json::json;
use std::sync::Arc;
use wpc_server::{Application, Settings};

/// A request with a method and a path, headers and a body; and the status and the code of its answer.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn send(server: &Running, (request, headers, body, ..): &Row<'_>) -> Answer {
    let (method, path) = request.split_once(' ').unwrap();
    server.request(method, path, headers, body)
}

/// The number of requests that were answered with a status of this class.
fn counted(server: &Running, class: &str, headers: &[(&str, &str)]) -> u64 {
    let metrics = String::from_utf8(server.get("/metrics", headers).body).unwrap();
    let is_meant = |line: &&str| {
        line.starts_with("wpc_http_requests_total") && line.contains(&format!("status=\"{class}\""))
    };
    let counts = metrics.lines().filter(is_meant);
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Sends each request twice, as a client that repeats its mistake. `serves` is another client.
fn check(
    server: &Running,
    observer: &[(&str, &str)],
    rows: &[Row<'_>],
    serves: impl Fn() -> Answer,
) {
    let before = counted(server, "4xx", observer);
    for row in rows {
        for _ in 0..2 {
            let answer = send(server, row);
            let shown = String::from_utf8_lossy(row.2).into_owned();
            let what = format!("{} {:?} {shown:.200}: {answer:?}", row.0, row.1);
            assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
            let problem = answer.json();
            assert_eq!((answer.status, problem["code"].as_str()), (row.3, Some(row.4)), "{what}");
            assert_eq!(
                (&problem["status"], &problem["outcome"]),
                (&json!(row.3), &json!("not_started")),
                "{what}"
            );
            assert!(problem["detail"].as_str().is_some_and(|text| text.len() < 2000), "{what}");
        }
        let answer = serves();
        assert_eq!((answer.status, answer.json()), (200, json!(42)), "after {}", row.0);
    }
    assert_eq!(counted(server, "4xx", observer) - before, 2 * rows.len() as u64);
    assert_eq!(server.wpc.metrics().pending_calls, 0);
}

#[test]
fn bad_calls_are_refused() {
    let server = Running::of(|wpc| {
        let mut settings = Settings::default();
        settings.max_body = 1000;
        Application::builder(Arc::new(wpc)).settings(settings).build()
    });
    server.wpc.define_worker_function("sum", guest("sdk")).unwrap();
    let deep = "[".repeat(900);
    let long_name = format!("POST /v1/functions/{}/call", "x".repeat(500));
    const ADD: &str = "POST /v1/functions/add/call";
    let large = [b' '; 1001];
    let rows: &[Row<'_>] = &[
        // Malformed JSON, invalid UTF-8, duplicate keys, deep nesting, numbers that cannot be represented.
        (ADD, JSON, b"[40, 2", 400, "invalid_json"),
        (ADD, JSON, b"[40, 2] 3", 400, "invalid_json"),
        (ADD, JSON, b"[\"\xff\", 2]", 400, "invalid_json"),
        (ADD, JSON, b"[\"\\ud800\", 2]", 400, "invalid_json"),
        (ADD, JSON, b"{\"a\": 40, \"a\": 40, \"b\": 2}", 400, "invalid_json"),
        (ADD, JSON, deep.as_bytes(), 400, "invalid_json"),
        (ADD, JSON, b"[1e999, 2]", 400, "invalid_json"),
        // Wrong types and numbers out of range.
        (ADD, JSON, b"[\"40\\u0000\", 2]", 422, "bad_arguments"),
        (ADD, JSON, b"[2147483648, 2]", 422, "bad_arguments"),
        (ADD, JSON, b"[0.5, 2]", 422, "bad_arguments"),
        (ADD, JSON, b"[40]", 422, "bad_arguments"),
        (ADD, JSON, b"[40, 2, 0]", 422, "bad_arguments"),
        (ADD, JSON, b"{\"a\": 40, \"c\": 2}", 422, "bad_arguments"),
        (ADD, JSON, b"42", 400, "bad_request"),
        ("POST /v1/functions/sum/call", JSON, b"[[18446744073709551616]]", 422, "bad_arguments"),
        (
            ADD,
            &[("content-type", "application/vnd.postcard")],
            b"\xff\xff\xff\xff\xff\xff",
            422,
            "bad_arguments",
        ),
        // Bodies beyond the limit, and other formats.
        (ADD, JSON, &large, 413, "body_too_large"),
        (ADD, &[("content-type", "image/png")], b"[40, 2]", 415, "unsupported_media_type"),
        (ADD, &[("content-encoding", "gzip")], b"\x1f\x8b", 415, "unsupported_media_type"),
        (ADD, &[("accept", "image/png")], b"[40, 2]", 406, "not_acceptable"),
        // Unknown functions and tricks with paths.
        ("POST /v1/functions/ad/call", JSON, b"[40, 2]", 404, "function_not_defined"),
        (&long_name, JSON, b"[40, 2]", 404, "function_not_defined"),
        (
            "POST /v1/functions/..%2f..%2fetc%2fpasswd/call",
            JSON,
            b"[]",
            404,
            "function_not_defined",
        ),
        ("POST /v1/functions/add%00/call", JSON, b"[]", 404, "function_not_defined"),
        ("POST /v1/functions/%ff%fe/call", JSON, b"[]", 400, "bad_request"),
        ("POST /v1/functions//call", JSON, b"[]", 404, "function_not_defined"),
        ("POST /v1/functions/add/call/", JSON, b"[]", 404, "not_found"),
        ("GET /v1/functions/add/call", &[], b"", 405, "method_not_allowed"),
        // Options.
        ("POST /v1/functions/add/call?timeout=soon", JSON, b"[40, 2]", 400, "bad_request"),
        ("POST /v1/functions/add/call?fuel=-1", JSON, b"[40, 2]", 400, "bad_request"),
        ("POST /v1/functions/add/call?unknown=1", JSON, b"[40, 2]", 400, "bad_request"),
        (ADD, &[("if-match", "\"0\"")], b"[40, 2]", 412, "pin_mismatch"),
        (ADD, &[("idempotency-key", "\"a\"")], b"[40, 2]", 400, "bad_request"),
        // Forged origins; `hosts` forges hosts, which this client cannot.
        (ADD, &[("origin", "http://evil.example")], b"[40, 2]", 403, "origin_not_allowed"),
        (ADD, &[("origin", "null")], b"[40, 2]", 403, "origin_not_allowed"),
        // JSON-RPC.
        ("POST /rpc", &[("content-encoding", "br")], b"{}", 415, "unsupported_media_type"),
        ("POST /rpc", &[("content-type", "text/plain")], b"{}", 415, "unsupported_media_type"),
        ("POST /rpc", &[("if-match", "\"0\"")], b"{}", 400, "bad_request"),
        ("GET /rpc", &[], b"", 426, "upgrade_required"),
    ];
    check(&server, &[], rows, || server.call("add", &json!([40, 2])));
}

#[test]
fn bad_deployments_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = serve(data.path());
    server.deploy(&[("answer", 42)]);
    server.deploy(&[("answer", 42), ("other", 1)]);
    let text = |manifest: String| serde_json::to_vec(&json!({ "manifest": manifest })).unwrap();
    let missing = text(manifest(&[("f", 7)]));
    // The second of two entries is wrong.
    let half = text(format!(
        "{}[functions.g]\nfile = \"{}\"\nexport = \"x\"\n",
        manifest(&[("f", 42)]),
        file_of(&version(42))
    ));
    let large = text("#".repeat(5 << 20));
    let wrong = format!("POST /v1/modules?sha256={}", "0".repeat(64));
    let module = version(9);
    const ACTIVE: &str = "POST /v1/active";
    let rows: &[Row<'_>] = &[
        // Replayed and stale activations.
        (ACTIVE, JSON, b"{\"revision\": 2, \"expected\": 1}", 409, "revision_conflict"),
        (ACTIVE, JSON, b"{\"revision\": 1, \"expected\": null}", 409, "revision_conflict"),
        (ACTIVE, JSON, b"{\"revision\": 99, \"expected\": 2}", 404, "revision_not_found"),
        (ACTIVE, JSON, b"{\"revision\": 1}", 400, "bad_request"),
        (ACTIVE, JSON, b"{\"revision\": 1, \"expected\": 2, \"force\": true}", 400, "bad_request"),
        (
            ACTIVE,
            JSON,
            b"{\"revision\": 18446744073709551616, \"expected\": 2}",
            400,
            "bad_request",
        ),
        ("POST /v1/rollback", JSON, b"{\"to\": 99}", 404, "revision_not_found"),
        ("POST /v1/rollback", JSON, b"{\"to\": 1, \"expected\": 1}", 409, "revision_conflict"),
        // Manifests that are wrong, in whole or in a part.
        ("POST /v1/revisions", JSON, &missing, 422, "modules_missing"),
        ("POST /v1/revisions", JSON, &half, 422, "deployment_refused"),
        ("POST /v1/revisions", JSON, &large, 413, "manifest_too_large"),
        ("POST /v1/revisions", JSON, b"{\"manifest\": ", 400, "bad_request"),
        // Modules.
        ("POST /v1/modules", &[], b"GIF89a", 422, "not_wasm"),
        ("POST /v1/modules", &[], &module[..module.len() - 2], 422, "module_refused"),
        (&wrong, &[], &module, 422, "sha256_mismatch"),
        ("GET /v1/modules/..%2f..%2fwpc.redb", &[], b"", 400, "bad_request"),
        ("GET /v1/revisions/-1", &[], b"", 400, "bad_request"),
        ("GET /v1/revisions/0", &[], b"", 404, "revision_not_found"),
        ("GET /v1/revisions?limit=x", &[], b"", 400, "bad_request"),
        ("DELETE /v1/constants/A?expected=2", &[], b"", 404, "constant_not_found"),
    ];
    check(&server, &[], rows, || server.call("answer", &json!([])));
    let listed = server.get("/v1/revisions", &[]).json();
    assert_eq!((listed["revisions"].as_array().unwrap().len(), &listed["active"]), (2, &json!(2)));
    assert_eq!(std::fs::read_dir(data.path().join("modules")).unwrap().count(), 2);
}

#[test]
fn bad_tokens_and_missing_scopes_are_refused() {
    let guarded = Guarded::start();
    let bearer = |name: &str, scope: &str| format!("Bearer {}", guarded.token(name, &[scope]));
    let (caller, other) = (bearer("caller", "call:add"), bearer("other", "call:order"));
    let observer = bearer("observer", "observe");
    let unknown = format!("Bearer {}", Guarded::start().token("caller", &["call"]));
    let cut = &caller[..caller.len() - 1];
    const ADD: &str = "POST /v1/functions/add/call";
    let rows: &[Row<'_>] = &[
        (ADD, &[], b"[40, 2]", 401, "unauthenticated"),
        (ADD, &[("authorization", "Bearer")], b"[40, 2]", 401, "unauthenticated"),
        (ADD, &[("authorization", "Basic YTpi")], b"[40, 2]", 401, "unauthenticated"),
        (ADD, &[("authorization", cut)], b"[40, 2]", 401, "unauthenticated"),
        (ADD, &[("authorization", &unknown)], b"[40, 2]", 401, "unauthenticated"),
        (
            ADD,
            &[("authorization", &caller), ("authorization", &caller)],
            b"[40, 2]",
            401,
            "unauthenticated",
        ),
        (ADD, &[("authorization", &other)], b"[40, 2]", 403, "forbidden"),
        ("GET /metrics", &[("authorization", &caller)], b"", 403, "forbidden"),
        ("GET /v1/tokens", &[("authorization", &observer)], b"", 403, "forbidden"),
        ("POST /v1/drain", &[("authorization", &observer)], b"", 403, "forbidden"),
        ("POST /v1/functions/add/revive", &[("authorization", &caller)], b"", 403, "forbidden"),
    ];
    let caller_token = caller.strip_prefix("Bearer ").unwrap();
    let observer = [("authorization", observer.as_str())];
    check(&guarded.server, &observer, rows, || guarded.add(caller_token));
}
