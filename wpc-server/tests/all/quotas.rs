//! Quotas of tokens.

use crate::raw::Connection;
use crate::tokens::Guarded;
use serde_json::json;
use wpc_server::{NewToken, Quota};

fn limited(limit: &str) -> impl FnOnce(&mut NewToken) {
    let mut quota = Quota::default();
    quota.set(limit).unwrap();
    move |new| new.quota = quota
}

#[test]
fn calls_of_a_client_beyond_its_quota_are_refused_and_others_are_served() {
    let guarded = Guarded::start();
    let (_, greedy) = guarded.create("greedy", &["call"], limited("calls=2/d"));
    let other = guarded.token("other", &["call"]);
    let first = guarded.add(&greedy);
    assert_eq!(first.json(), 42);
    assert_eq!(first.header("ratelimit-policy"), "\"calls\";q=2;w=86400");
    assert_eq!(first.header("ratelimit"), "\"calls\";r=1;t=43200");
    assert_eq!(guarded.add(&greedy).json(), 42);
    let refused = guarded.add(&greedy);
    let problem = refused.json();
    assert_eq!((refused.status, &problem["code"]), (429, &json!("quota_exceeded")));
    assert_eq!((&problem["outcome"], &problem["retryable"]), (&json!("not_started"), &json!(true)));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((43_000..=43_200).contains(&wait), "{wait}");
    assert!(refused.header("ratelimit").starts_with("\"calls\";r=0;"));
    let other = guarded.add(&other);
    assert_eq!((other.json(), other.header("ratelimit")), (json!(42), ""));
}

#[test]
fn time_of_calls_counts_when_they_end() {
    let guarded = Guarded::start();
    let (_, tenant) = guarded.create("tenant", &["call"], limited("milliseconds=1/d"));
    let authorization = format!("Bearer {tenant}");
    let headers = [("authorization", &*authorization)];
    let spin = guarded.server.post("/v1/functions/spins/call?timeout=20ms", &headers, b"[]");
    assert_eq!(spin.status, 504, "{spin:?}");
    assert_eq!(guarded.add(&tenant).status, 429);
}

#[test]
fn concurrent_calls_are_limited() {
    let guarded = Guarded::start();
    let (_, tenant) = guarded.create("tenant", &["call"], limited("concurrency=1"));
    let mut spinning = Connection::open(&guarded.server);
    spinning.send(format!(
        "POST /v1/functions/spins/call HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {tenant}\r\ncontent-length: 0\r\n\r\n"
    ));
    while guarded.server.wpc.metrics().pending_calls == 0 {
        std::thread::yield_now();
    }
    let refused = guarded.add(&tenant);
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("quota_exceeded")));
    drop(spinning);
    guarded.server.wait_for_requests(0);
    assert_eq!(guarded.add(&tenant).json(), 42);
}

#[test]
fn usage_survives_a_change_of_tokens() {
    let guarded = Guarded::start();
    let (_, tenant) = guarded.create("tenant", &["call"], limited("calls=1/d"));
    assert_eq!(guarded.add(&tenant).json(), 42);
    guarded.token("other", &["call"]);
    assert_eq!(guarded.add(&tenant).status, 429);
}
