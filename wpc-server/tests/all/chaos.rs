//! Hostile clients and hostile guests together: healthy functions are answered correctly meanwhile, and nothing is left afterwards.
//!
//! It takes 5 s, or as many seconds as `WPC_CHAOS_SECONDS` states.

use crate::deployed::version;
use crate::harness::{Answer, Running, eventually, guest};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wpc_host::FunctionHash;
use wpc_server::Application;

/// The numbers that `version` returns, one after another.
const VERSIONS: u32 = 8;

/// The codes with which the server refuses a call because it is busy.
const BUSY: [&str; 3] = ["saturated", "no_ready_workers", "instances_in_use"];

/// The codes of calls to functions that fail.
const FAILURES: [&str; 6] =
    ["timeout", "trap", "out_of_memory", "out_of_fuel", "circuit_open", "stack_overflow"];

/// A server, and when the chaos ends.
struct Chaos {
    server: Running,
    until: Instant,
}

/// How often a healthy function was called.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Calls {
    answered: u64,
    refused: u64,
}

fn is_one_of(answer: &Answer, codes: &[&[&str]]) -> bool {
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    codes.iter().any(|codes| codes.contains(&code.as_str()))
}

impl Chaos {
    fn start() -> Self {
        let server = Running::with(
            |wpc| Application::new(Arc::new(wpc)),
            |server| {
                // Longer than a healthy client waits for a core of this machine.
                let mut limits = wpc_server::ConnectionLimits::default();
                limits.body_timeout = Duration::from_secs(60);
                limits.header_timeout = Duration::from_secs(60);
                limits.write_timeout = Duration::from_secs(60);
                server.limits(limits)
            },
        );
        // Called only by clients that read each answer, so that the counters can be compared.
        server.wpc.define_worker_function("healthy", guest("sdk").export("add")).unwrap();
        server.wpc.define_worker_function("version", version(0)).unwrap();
        let grows = r#"(module (memory 1) (func (export "grows")
            (loop (drop (memory.grow (i32.const 1))) (drop (memory.grow (i32.const 65535))) br 0)))"#;
        server.wpc.define_worker_function("grows", wat::parse_str(grows).unwrap()).unwrap();
        let seconds = std::env::var("WPC_CHAOS_SECONDS").map(|text| text.parse().unwrap());
        let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(5));
        Self { server, until }
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// Calls a function that is never at fault, and compares each result. At least one call is answered.
    fn calls_healthy(&self, mut random: SmallRng) -> Calls {
        let mut calls = Calls::default();
        while self.goes_on() || calls.answered == 0 {
            let (a, b): (i32, i32) = random.random();
            let answer = self.server.call("healthy", &json!([a, b]));
            if answer.status == 200 {
                assert_eq!(answer.json(), json!(a.wrapping_add(b)));
                calls.answered += 1;
            } else {
                assert!(is_one_of(&answer, &[&BUSY]), "{answer:?}");
                calls.refused += 1;
            }
        }
        calls
    }

    /// Sends bytes, and compares what comes back.
    fn echoes(&self, mut random: SmallRng) {
        let kind = "application/octet-stream";
        let headers = [("content-type", kind), ("accept", kind)];
        while self.goes_on() {
            let mut bytes = vec![0; random.random_range(0..300_000)];
            random.fill(&mut bytes[..]);
            let answer = self.server.post("/v1/functions/echo_bytes/call", &headers, &bytes);
            if answer.status == 200 {
                assert!(answer.body == bytes, "{} bytes differ", bytes.len());
            } else {
                assert!(is_one_of(&answer, &[&BUSY]), "{answer:?}");
            }
        }
    }

    /// Redefines a function again and again.
    fn redefines(&self) {
        for number in (0..VERSIONS).cycle() {
            if !self.goes_on() {
                return;
            }
            self.server.wpc.define_worker_function("version", version(number)).unwrap();
        }
    }

    /// Calls the function that is redefined: the result is that of the module that the answer names.
    fn calls_redefined(&self) {
        let tags: Vec<_> = (0..VERSIONS)
            .map(|number| format!("\"{}\"", FunctionHash::of(&version(number))))
            .collect();
        while self.goes_on() {
            let answer = self.server.call("version", &json!([]));
            if answer.status == 200 {
                let number = usize::try_from(answer.json().as_u64().unwrap()).unwrap();
                assert_eq!(answer.header("etag"), tags[number]);
            } else {
                assert!(is_one_of(&answer, &[&BUSY]), "{answer:?}");
            }
        }
    }

    /// Sends batches in which some calls fail: each response is that of its request.
    fn sends_batches(&self, mut random: SmallRng) {
        while self.goes_on() {
            let calls: Vec<_> = (0..20)
                .map(|id: u32| {
                    let method = *["add", "add", "add", "spins"].choose(&mut random).unwrap();
                    let params = if method == "add" { json!([id, 1]) } else { json!([]) };
                    json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": id })
                })
                .collect();
            let answer = self.server.post_json("/rpc?timeout=100ms", &json!(calls));
            let responses = answer.json();
            let responses = responses.as_array().unwrap_or_else(|| panic!("{answer:?}"));
            assert_eq!(responses.len(), calls.len());
            for response in responses {
                let id = response["id"].as_u64().unwrap();
                match response.get("result") {
                    Some(result) => assert_eq!(*result, json!(id + 1)),
                    None => {
                        let code = response["error"]["data"]["code"].as_str().unwrap();
                        let is_known = BUSY.contains(&code) || FAILURES.contains(&code);
                        assert!(is_known, "{response}");
                    }
                }
            }
        }
    }

    /// Calls functions that never return, trap, or take memory.
    fn calls_hostile(&self, mut random: SmallRng) {
        while self.goes_on() {
            let (path, body) = *[
                ("spins/call?timeout=20ms", "[]"),
                ("grows/call?timeout=20ms", "[]"),
                ("panics/call", "[\"now\"]"),
            ]
            .choose(&mut random)
            .unwrap();
            let path = format!("/v1/functions/{path}");
            let headers = [("content-type", "application/json")];
            let answer = self.server.post(&path, &headers, body.as_bytes());
            assert!(is_one_of(&answer, &[&BUSY, &FAILURES]), "{path}: {answer:?}");
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        stream
    }

    /// Disconnects in the middle of requests and of answers.
    fn vanishes(&self, mut random: SmallRng) {
        let large = format!("[\"{}\"]", "x".repeat(100_000));
        let endless = format!("[{}]", u64::MAX);
        while self.goes_on() {
            let (function, accept, body) = *[
                ("add", "application/json", "[40, 2]"),
                ("spins", "application/json", "[]"),
                ("echo_bytes", "application/octet-stream", &large),
                ("numbers", "application/jsonl", &endless),
                ("numbers", "text/event-stream", &endless),
            ]
            .choose(&mut random)
            .unwrap();
            let request = request(function, accept, body);
            let is_complete = random.random_bool(0.7);
            let end =
                if is_complete { request.len() } else { random.random_range(0..request.len()) };
            let mut stream = self.connect();
            // The server may have disconnected first.
            let _ = stream.write_all(&request.as_bytes()[..end]);
            if random.random_bool(0.5) {
                let mut part = vec![0; random.random_range(1..10_000)];
                let _ = stream.read(&mut part);
            }
        }
    }

    /// Holds connections on which it sends or reads very slowly, or not at all.
    fn is_slow(&self, mut random: SmallRng) {
        let endless = format!("[{}]", u64::MAX);
        let stream = request("numbers", "application/jsonl", &endless);
        let call = request("add", "application/json", "[40, 2]");
        let mut held: VecDeque<(TcpStream, &[u8])> = VecDeque::new();
        while self.goes_on() {
            let rest = if random.random_bool(0.5) { stream.as_bytes() } else { call.as_bytes() };
            let mut connection = self.connect();
            // A flood of items that is not read, or a request that arrives byte by byte.
            let at = if rest.len() == stream.len() { rest.len() } else { 1 };
            let _ = connection.write_all(&rest[..at]);
            held.push_back((connection, &rest[at..]));
            for (connection, rest) in &mut held {
                if let Some((first, others)) = rest.split_first() {
                    let _ = connection.write_all(&[*first]);
                    *rest = others;
                }
            }
            if held.len() > 30 {
                held.pop_front();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Runs everything at the same time. Returns the calls of the healthy function.
    fn run(&self) -> Calls {
        let seed = rand::random::<u64>();
        println!("seed {seed}");
        let random = |thread: u64| SmallRng::seed_from_u64(seed.wrapping_add(thread));
        std::thread::scope(|scope| {
            let healthy =
                [0, 1].map(|thread| scope.spawn(move || self.calls_healthy(random(thread))));
            scope.spawn(|| self.echoes(random(2)));
            scope.spawn(|| self.redefines());
            scope.spawn(|| self.calls_redefined());
            scope.spawn(|| self.sends_batches(random(3)));
            scope.spawn(|| self.calls_hostile(random(4)));
            scope.spawn(|| self.vanishes(random(5)));
            scope.spawn(|| self.vanishes(random(6)));
            scope.spawn(|| self.is_slow(random(7)));
            let calls = healthy.map(|thread| thread.join().unwrap());
            calls.into_iter().fold(Calls::default(), |sum, calls| Calls {
                answered: sum.answered + calls.answered,
                refused: sum.refused + calls.refused,
            })
        })
    }
}

fn request(function: &str, accept: &str, body: &str) -> String {
    let kind =
        if function == "echo_bytes" { "application/octet-stream" } else { "application/json" };
    format!(
        "POST /v1/functions/{function}/call HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn healthy_functions_are_answered_correctly_amid_hostile_clients_and_guests() {
    let chaos = Chaos::start();
    let calls = chaos.run();
    let server = &chaos.server;
    assert!(calls.answered > 0, "{calls:?}");
    // Nothing is left in flight.
    server.wait_for_requests(0);
    eventually("the end of all calls", || {
        let metrics = server.wpc.metrics();
        (metrics.pending_calls, metrics.waiting_calls, metrics.suspended_calls) == (0, 0, 0)
    });
    // Only those that the client of this test keeps open.
    eventually("the end of connections", || server.traffic.connections() <= 10);
    // The counters agree with what the clients saw.
    let metrics = server.wpc.metrics();
    let healthy = metrics.functions.iter().find(|found| found.name == "healthy").unwrap();
    let failed: u64 = healthy.calls.failed.values().sum();
    assert_eq!((healthy.calls.succeeded, failed), (calls.answered, calls.refused));
    let of_functions: u64 = metrics.functions.iter().map(|function| function.calls.total()).sum();
    assert_eq!(metrics.calls.total(), of_functions);
    // All workers are up, and each of them serves.
    eventually("all workers", || server.wpc.health().workers_up() == 2);
    server.wpc.warm_worker_function("healthy").unwrap();
    for number in 0..100 {
        assert_eq!(server.call("healthy", &json!([number, 1])).json(), json!(number + 1));
    }
    // What failed is revived.
    server.post("/v1/functions/panics/revive", &[], b"");
    assert_eq!(server.call("panics", &json!(["now"])).json()["code"], "trap");
    let ready = server.get("/readyz", &[]);
    assert_eq!(ready.status, 200, "{ready:?}");
}
