//! The audit log of a server.

use crate::tokens::Guarded;
use serde_json::{Value, json};

fn lines(guarded: &Guarded) -> Vec<Value> {
    let text = std::fs::read_to_string(guarded.folder.path().join("audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn changes_of_tokens_are_recorded_with_their_principal() {
    let guarded = Guarded::start();
    let admin = format!("Bearer {}", guarded.token("ada", &["admin"]));
    let headers = [("authorization", &*admin), ("x-request-id", "request-7")];
    let body = json!({ "name": "shop", "scopes": ["call:add"] }).to_string();
    let created = guarded.server.post("/v1/tokens", &headers, body.as_bytes());
    guarded.server.post("/v1/tokens", &headers, body.as_bytes());
    guarded.server.delete("/v1/tokens/shop", &headers);
    let acts: Vec<_> = lines(&guarded)
        .iter()
        .map(|line| {
            assert_eq!((&line["principal"], &line["target"]), (&json!("ada"), &json!("shop")));
            assert_eq!(line["request_id"], "request-7");
            assert!(line["time"].as_str().unwrap().ends_with('Z'));
            format!("{} {}", line["action"], line["outcome"])
        })
        .collect();
    let expected =
        [r#""token.create" "ok""#, r#""token.create" "name_taken""#, r#""token.revoke" "ok""#];
    assert_eq!(acts, expected);
    let text = std::fs::read_to_string(guarded.folder.path().join("audit.jsonl")).unwrap();
    assert!(!text.contains(created.json()["token"].as_str().unwrap().rsplit('_').next().unwrap()));
}

#[test]
fn refused_tokens_are_recorded_without_the_token() {
    let guarded = Guarded::start();
    let token = guarded.token("shop", &["call"]);
    guarded.tokens.revoke("shop").unwrap();
    assert_eq!(guarded.add(&token).status, 401);
    // It is written after the answer.
    let line = loop {
        if let Some(line) = lines(&guarded).pop() {
            break line;
        }
        std::thread::yield_now();
    };
    assert_eq!((&line["action"], &line["outcome"]), (&json!("authenticate"), &json!("revoked")));
    assert_eq!(line["target"], "/v1/functions/add/call");
    assert!(!line.to_string().contains("wpc_"));
}

#[test]
fn deployment_actions_are_recorded_with_their_outcome_and_reads_are_not() {
    let guarded = Guarded::start();
    let deployer = format!("Bearer {}", guarded.token("bob", &["deploy"]));
    let headers = [("authorization", &*deployer), ("content-type", "application/json")];
    let answer = guarded.server.post("/v1/rollback", &headers, b"{}");
    guarded.server.get("/v1/revisions", &headers);
    let lines = lines(&guarded);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        (&lines[0]["principal"], &lines[0]["action"]),
        (&json!("bob"), &json!("POST /v1/rollback"))
    );
    assert_eq!(lines[0]["outcome"], answer.json()["code"]);
}
