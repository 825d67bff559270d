//! Quotas of tokens.

use crate::harness::{Answer, eventually, guest};
use crate::raw::Connection;
use crate::tokens::Guarded;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use wpc_host::Limits;
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
    // The quota fills again as time passes.
    let reset = first.header("ratelimit").strip_prefix("\"calls\";r=1;t=").unwrap();
    let reset: u64 = reset.parse().unwrap();
    assert!((43_000..=43_200).contains(&reset), "{reset}");
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

/// A tenant with this quota, and the headers of its requests.
struct Tenant {
    guarded: Guarded,
    authorization: String,
}

impl Tenant {
    fn new(limit: &str) -> Self {
        let guarded = Guarded::start();
        let (_, token) = guarded.create("tenant", &["call"], limited(limit));
        Self { guarded, authorization: format!("Bearer {token}") }
    }

    /// The same, with functions of at most 100,000 units of fuel.
    fn metered(limit: &str) -> Self {
        let tenant = Self::new(limit);
        for function in ["add", "spins", "panics"] {
            let module = guest("sdk").limits(Limits::default().fuel(100_000));
            tenant.guarded.server.wpc.define_worker_function(function, module).unwrap();
        }
        tenant
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let headers =
            [("authorization", &*self.authorization), ("content-type", "application/json")];
        self.guarded.server.post(path, &headers, &serde_json::to_vec(body).unwrap())
    }

    fn call(&self, function: &str, arguments: &Value) -> Answer {
        self.post(&format!("/v1/functions/{function}/call"), arguments)
    }

    /// What is left of a quota, as the headers of an answer state it.
    fn left(answer: &Answer) -> u64 {
        let state = answer.header("ratelimit").split("r=").nth(1).unwrap();
        state.split(';').next().unwrap().parse().unwrap()
    }
}

#[test]
fn fuel_of_failed_calls_counts() {
    let tenant = Tenant::metered("fuel=1000000/d");
    let exhausted = tenant.call("spins", &json!([]));
    assert_eq!(exhausted.json()["code"], "out_of_fuel");
    let left = Tenant::left(&exhausted);
    // A part of the quota has filled again.
    assert!((899_000..=901_000).contains(&left), "all of its fuel: {left}");
    let trapped = tenant.call("panics", &json!(["now"]));
    assert_eq!(trapped.json()["code"], "trap");
    assert!(Tenant::left(&trapped) < left, "{trapped:?}");
}

#[test]
fn a_tenant_that_only_makes_calls_that_fail_is_refused() {
    let tenant = Tenant::metered("fuel=150000/d");
    for code in ["out_of_fuel", "out_of_fuel", "quota_exceeded"] {
        assert_eq!(tenant.call("spins", &json!([])).json()["code"], code);
    }
}

#[test]
fn fuel_of_a_stream_whose_client_disconnected_counts_when_its_guest_has_stopped() {
    let tenant = Tenant::new("fuel=1000/d");
    let server = &tenant.guarded.server;
    let module = guest("streams").limits(Limits::default().fuel(u64::MAX / 2));
    server.wpc.define_worker_function("numbers", module).unwrap();
    let header =
        format!("authorization: {}\r\naccept: application/jsonl\r\n", tenant.authorization);
    let client = server.connect_call("numbers", &header, &format!("[{}]", u64::MAX));
    let mut lines = BufReader::new(client).lines().map(Result::unwrap);
    // Enough that its fuel exceeds the quota, although the reported fuel of a cancelled call may be too low.
    assert!(lines.by_ref().filter(|line| line.starts_with("{\"item\":")).nth(10_000).is_some());
    // While it runs, its fuel is not known.
    assert_eq!(tenant.call("add", &json!([40, 2])).json(), 42);
    drop(lines);
    eventually("the refusal", || {
        tenant.call("add", &json!([40, 2])).json()["code"] == "quota_exceeded"
    });
}

#[test]
fn fuel_of_a_call_whose_client_disconnected_counts_when_its_guest_has_stopped() {
    let tenant = Tenant::new("fuel=1000/d");
    let server = &tenant.guarded.server;
    let module = guest("sdk").limits(Limits::default().fuel(u64::MAX / 2));
    server.wpc.define_worker_function("spins", module).unwrap();
    let header = format!("authorization: {}\r\n", tenant.authorization);
    let is_refused = || tenant.call("add", &json!([40, 2])).json()["code"] == "quota_exceeded";
    eventually("the refusal", || {
        // A call that is cancelled before it begins uses no fuel. The fuel of the one before may be known only now.
        let client = server.connect_call("spins", &header, "[]");
        let runs = || server.wpc.metrics().pending_calls > 0;
        eventually("a call running or refused", || runs() || is_refused());
        drop(client);
        eventually("the end of the guest", || !runs());
        is_refused()
    });
}

#[test]
fn each_request_of_a_batch_is_a_call() {
    let tenant = Tenant::new("calls=3/d");
    let request = |id| json!({ "jsonrpc": "2.0", "method": "add", "params": [40, 2], "id": id });
    let single = tenant.post("/rpc", &request(1));
    assert_eq!((single.json()["result"].clone(), Tenant::left(&single)), (json!(42), 2));
    let answer = tenant.post("/rpc", &json!([request(1), request(2), request(3), request(4)]));
    let responses = answer.json();
    let responses = responses.as_array().unwrap();
    assert_eq!(responses.iter().filter(|response| response["result"] == 42).count(), 2);
    let refused: Vec<_> = responses.iter().filter_map(|response| response.get("error")).collect();
    assert_eq!(refused.len(), 2);
    for error in refused {
        assert_eq!(
            (&error["code"], &error["data"]["code"]),
            (&json!(-32005), &json!("quota_exceeded"))
        );
    }
    assert_eq!(Tenant::left(&answer), 0);
    // A notification is a call, too; its refusal is not reported.
    let tenant = Tenant::new("calls=1/d");
    let notification = json!({ "jsonrpc": "2.0", "method": "add", "params": [40, 2] });
    let answer = tenant.post("/rpc", &notification);
    assert_eq!((answer.status, Tenant::left(&answer)), (204, 0));
    assert_eq!(tenant.post("/rpc", &request(1)).json()["error"]["data"]["code"], "quota_exceeded");
}

#[test]
fn a_stream_is_a_call_until_its_end() {
    let tenant = Tenant::new("concurrency=1");
    let header =
        format!("authorization: {}\r\naccept: application/jsonl\r\n", tenant.authorization);
    // More items than the buffers between guest and client take.
    let endless = format!("[{}]", u64::MAX);
    let client = tenant.guarded.server.connect_call("numbers", &header, &endless);
    let mut lines = BufReader::new(client).lines().map(Result::unwrap);
    let state = lines.find(|line| line.to_lowercase().starts_with("ratelimit:")).unwrap();
    assert!(state.ends_with("\"concurrency\";r=0"), "{state}");
    assert!(lines.any(|line| line.starts_with("{\"item\":")));
    assert_eq!(tenant.call("add", &json!([40, 2])).status, 429);
    drop(lines);
    eventually("the end of the stream", || tenant.call("add", &json!([40, 2])).status == 200);
}

#[test]
fn streams_beyond_the_quota_are_refused_before_they_begin() {
    let tenant = Tenant::new("calls=1/d");
    let headers = [("authorization", &*tenant.authorization), ("accept", "text/event-stream")];
    let stream = || tenant.guarded.server.post("/v1/functions/lines/call", &headers, b"[\"a\"]");
    let first = stream();
    assert_eq!((first.status, Tenant::left(&first)), (200, 0));
    assert!(first.body.ends_with(b"event: result\ndata: 1\n\n"));
    let refused = stream();
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("quota_exceeded")));
}

#[test]
fn fuel_of_a_stream_counts_at_its_end() {
    let tenant = Tenant::new("fuel=1000000/d");
    let module = guest("streams").limits(Limits::default().fuel(10_000_000));
    tenant.guarded.server.wpc.define_worker_function("lines", module).unwrap();
    let headers = [("authorization", &*tenant.authorization), ("accept", "application/jsonl")];
    let answer = tenant.guarded.server.post("/v1/functions/lines/call", &headers, b"[\"a\\nb\"]");
    let last = String::from_utf8(answer.body).unwrap().lines().last().unwrap().to_owned();
    let used = serde_json::from_str::<Value>(&last).unwrap()["fuel_used"].as_u64().unwrap();
    let left = Tenant::left(&tenant.call("nothing", &json!([])));
    // The fuel that the quota has regained meanwhile is far less than a stream uses.
    assert!((1_000_000 - used..1_000_000).contains(&left), "{left} left after {used}");
}
