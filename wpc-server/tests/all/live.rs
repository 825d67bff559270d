//! The data of the live page: a snapshot, and a stream of frames.

use crate::harness::Running;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wpc_host::{Options, WorkerProcedureCall};
use wpc_server::{Application, Principal, Scope};

/// A client of `/v1/live`.
struct Frames {
    lines: BufReader<TcpStream>,
}

impl Frames {
    fn open(server: &Running, query: &str) -> Self {
        let (frames, status) = Self::request(server, query);
        assert_eq!(status, "HTTP/1.1 200 OK");
        frames
    }

    /// Asks for a stream; returns also the line with the status.
    fn request(server: &Running, query: &str) -> (Self, String) {
        let address = server.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "GET /v1/live{query} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
        let mut frames = Self { lines: BufReader::new(stream) };
        let status = frames.line();
        while !frames.line().is_empty() {}
        (frames, status)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the stream goes on");
        line.trim_end().to_owned()
    }

    /// The JSON of the next frame.
    fn next_text(&mut self) -> String {
        loop {
            // Lines of the transfer encoding are skipped.
            if let Some(data) = self.line().strip_prefix("data: ") {
                return data.to_owned();
            }
        }
    }

    /// The next frame.
    fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text()).unwrap()
    }
}

fn row<'a>(frame: &'a Value, name: &str) -> &'a Value {
    let rows = frame["rows"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name || **row == name).expect("the function is listed")
}

#[test]
fn a_snapshot_lists_functions_and_workers() {
    let server = Running::start();
    for _ in 0..3 {
        server.call("add", &json!([1, 2]));
    }
    let answer = server.get("/v1/snapshot", &[]);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let snapshot = answer.json();
    assert_eq!(snapshot["functions"]["total"], 8);
    assert_eq!(snapshot["workers"].as_array().unwrap().len(), 2);
    assert_eq!(row(&snapshot, "add")["calls"], 3);
    assert_eq!(row(&snapshot, "add")["rate"], json!(null), "one snapshot has no rates");
    let hash = server.wpc.function_information("add").unwrap().function_hash_sha1;
    assert_eq!(row(&snapshot, "add")["hash"], hash.to_string());
    assert_eq!(snapshot["principal"]["scopes"], json!(["call", "observe", "deploy", "admin"]));
}

#[test]
fn functions_are_searched_sorted_and_paged_by_the_server() {
    let server = Running::start();
    server.call("fails", &json!([1]));
    let names = |query: &str| -> Vec<String> {
        let answer = server.get(&format!("/v1/snapshot{query}"), &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let snapshot = answer.json();
        let rows = snapshot["rows"].as_array().unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("?search=E"), ["echo_bytes", "lines", "numbers", "order"]);
    assert_eq!(names("?sort=errors&limit=1"), ["fails"]);
    assert_eq!(names("?limit=3&offset=3&sort=name"), ["lines", "numbers", "order"]);
    assert_eq!(names("?limit=3&offset=1000&sort=name"), ["panics", "spins"], "the last page");
    for query in [
        "?limit=0",
        "?limit=101",
        "?sort=size",
        "?other=1",
        &format!("?search={}", "x".repeat(256)),
    ] {
        let answer = server.get(&format!("/v1/snapshot{query}"), &[]);
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &json!("bad_request")),
            "{query}"
        );
    }
}

#[test]
fn a_stream_has_rates_and_sends_unchanged_rows_as_names() {
    let server = Running::start();
    let mut frames = Frames::open(&server, "");
    let first = frames.next();
    assert_eq!(row(&first, "spins")["calls"], 0);
    // The second one is the first with rates.
    frames.next();
    server.call("add", &json!([1, 2]));
    let frame = std::iter::repeat_with(|| frames.next())
        .find(|frame| row(frame, "add")["calls"] == 1)
        .unwrap();
    assert!(row(&frame, "add")["rate"].as_f64().unwrap() > 0.0, "{frame}");
    assert_eq!(row(&frame, "spins"), &json!("spins"), "it has not changed");
}

#[test]
fn failed_calls_and_events_are_sent_once() {
    let server = Running::start();
    let headers = [("content-type", "application/json"), ("x-request-id", "order 66")];
    let mut frames = Frames::open(&server, "");
    frames.next();
    // How long a call ran is missing if its worker waits for a core after its answer.
    let measured = (0..3).find_map(|_| {
        let answer = server.post("/v1/functions/panics/call", &headers, br#"["a test"]"#);
        assert_eq!(answer.json()["code"], "trap");
        let frame = std::iter::repeat_with(|| frames.next())
            .find(|frame| frame["calls"].as_array().is_some_and(|calls| !calls.is_empty()))
            .unwrap();
        let call = &frame["calls"][0];
        assert_eq!((&call["function"], &call["code"]), (&json!("panics"), &json!("trap")));
        assert_eq!(call["request"], "order 66");
        assert_eq!(frames.next()["calls"], json!([]));
        call["ran"].as_f64().filter(|ran| *ran > 0.0).map(|_| call["number"].clone())
    });
    let number = measured.expect("a call whose duration is known");
    // A client that connects again states what it has.
    let answer = server.get(&format!("/v1/snapshot?after={number}"), &[]).json();
    assert_eq!(answer["calls"], json!([]));
    let answer = server.get("/v1/snapshot?function=panics", &[]).json();
    assert_eq!(answer["selected"]["failure"]["code"], "trap");
}

/// The snapshot for a client with these rights: its status and content.
fn snapshot_for(principal: Principal, wpc: &WorkerProcedureCall) -> (u16, Value) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/v1/snapshot", listener.local_addr().unwrap());
    // As the layer for authentication does.
    let router = wpc_server::router(Application::new(Arc::new(wpc.clone())));
    let router = router.layer(axum::Extension(principal));
    runtime.spawn(async { axum::serve(listener, router).await });
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.get(url).call().unwrap();
    let body = answer.body_mut().read_to_vec().unwrap();
    runtime.shutdown_background();
    (answer.status().as_u16(), serde_json::from_slice(&body).unwrap())
}

#[test]
fn calls_that_succeed_are_sampled_while_a_client_watches() {
    let server = Running::start();
    let mut frames = Frames::open(&server, "");
    let sampled = std::iter::repeat_with(|| {
        server.call("add", &json!([1, 2]));
        frames.next()
    });
    let frame = sampled
        .take(30)
        .find(|frame| frame["calls"].as_array().is_some_and(|calls| !calls.is_empty()))
        .expect("a call is sampled");
    let call = &frame["calls"][0];
    assert_eq!((&call["function"], &call["code"]), (&json!("add"), &json!(null)));
    assert!(call["ran"].as_f64().unwrap() > 0.0, "{call}");
}

#[test]
fn the_scope_observe_is_required_and_rights_are_listed() {
    let server = Running::start();
    let ada = |scopes: &[Scope]| Principal::new("ada", scopes.iter().copied(), ["add".to_owned()]);
    let (status, problem) = snapshot_for(ada(&[Scope::Call]), &server.wpc);
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    let (status, snapshot) = snapshot_for(ada(&[Scope::Call, Scope::Observe]), &server.wpc);
    assert_eq!(status, 200);
    assert_eq!(snapshot["principal"], json!({ "name": "ada", "scopes": ["call", "observe"] }));
    assert_eq!(row(&snapshot, "add")["may_call"], true);
    assert_eq!(row(&snapshot, "spins")["may_call"], false);
}

/// A pool with 10,000 functions of the longest names, which need escapes.
fn many_functions() -> WorkerProcedureCall {
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    let export = |number| format!(r#"(func (export "{}{number:05}"))"#, r#"\""#.repeat(250));
    let exports: String = (0..10_000).map(export).collect();
    wpc.define_worker_module(wat::parse_str(format!("(module {exports})")).unwrap()).unwrap();
    wpc.start_workers(1).unwrap();
    wpc
}

#[test]
fn a_stream_has_at_most_64_kib_a_second_with_10_000_functions() {
    let wpc = many_functions();
    let server = Running::serving(wpc.clone(), Application::new(Arc::new(wpc)));
    let start = Instant::now();
    let mut frames = Frames::open(&server, "?limit=100&sort=name");
    // Every second all of the rows differ, and so many events come that not all can be sent.
    let mut sizes = Vec::new();
    for number in 0..4 {
        for page in 0..60 {
            let name = format!("{}{:05}", "\"".repeat(250), number * 10 + page);
            let _ = server.wpc.call::<u32>(&name, ());
        }
        let length = frames.next_text().len();
        sizes.push((start.elapsed(), length));
    }
    // A frame that arrives late may be followed by the next one soon.
    for ((elapsed, _), number) in sizes.iter().zip(0_u32..) {
        assert!(*elapsed > Duration::from_millis(500) * number, "{sizes:?}");
    }
    assert!(sizes.iter().all(|(_, length)| *length <= 60 << 10), "{sizes:?}");
    assert!(sizes[0].1 > 20 << 10, "the first frame is full: {sizes:?}");
}

#[test]
fn watchers_beyond_the_maximum_are_refused_until_others_disconnect() {
    let server = Running::start();
    let mut watchers: Vec<Frames> = (0..32).map(|_| Frames::open(&server, "")).collect();
    watchers.iter_mut().for_each(|frames| drop(frames.next()));
    let refused = server.get("/v1/live", &[]);
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("too_many_watchers")));
    watchers.clear();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !Frames::request(&server, "").1.ends_with("200 OK") {
        assert!(Instant::now() < deadline, "the watchers are gone");
        std::thread::sleep(Duration::from_millis(50));
    }
}
