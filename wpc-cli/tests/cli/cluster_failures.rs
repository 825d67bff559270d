//! Nodes and NATS servers as processes that fail or are overloaded, as callers see them.

use crate::nats::{Nats, are_ready, eventually, runtime};
use crate::running::TIMEOUT;
use crate::serving::{post_with, rest};
use crate::signals::signal;
use crate::support::wat;
use futures::future::join_all;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wpc_cluster::Client;
use wpc_host::{CallArguments, CallOptions, CallOutcome, Error, ErrorCode, ReplyFormat};

/// A manifest with `number`, which is pure, `mark`, which logs its argument of two digits, and `spin`, which logs and never returns.
fn manifest(folder: &Path) -> String {
    let text = r#"(module
        (import "wpc" "wpc_log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "mark 00")
        (data (i32.const 16) "spin")
        (func (export "mark") (param i32)
            (i32.store8 (i32.const 5) (i32.add (i32.const 48) (i32.div_u (local.get 0) (i32.const 10))))
            (i32.store8 (i32.const 6) (i32.add (i32.const 48) (i32.rem_u (local.get 0) (i32.const 10))))
            (call $log (i32.const 2) (i32.const 0) (i32.const 7)))
        (func (export "spin")
            (call $log (i32.const 2) (i32.const 16) (i32.const 4))
            (loop br 0))
        (func (export "number") (result i32) i32.const 7))"#;
    wat(folder, "m.wasm", text);
    let functions =
        "[functions]\nnumber = { file = \"m.wasm\", pure = true }\nmark = { file = \"m.wasm\" }\n";
    let path = folder.join("wpc.toml");
    std::fs::write(&path, format!("{functions}spin = {{ file = \"m.wasm\" }}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The error of a call.
async fn call(
    client: &Client,
    function: &str,
    argument: Option<u32>,
    options: &CallOptions,
) -> Result<(), Error> {
    let arguments = argument.into_iter().map(Into::into).collect();
    let arguments = CallArguments::Positional(arguments);
    client.submit(function, arguments, ReplyFormat::Json, options)?.await.map(drop)
}

fn ended(result: Result<(), Error>) -> (ErrorCode, CallOutcome) {
    let error = result.unwrap_err();
    (error.code(), error.outcome())
}

#[test]
fn the_calls_of_a_stopped_node_end_and_none_starts_late_when_it_continues() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let (node, _) = nats.node("a", folder.path(), &[]);
    nats.deploy(&manifest(folder.path()));
    let runtime = runtime();
    let client = runtime.block_on(nats.client(1));
    let spinning = runtime.spawn({
        let client = client.clone();
        async move { call(&client, "spin", None, &CallOptions::new()).await }
    });
    node.wait_for_line("log", "spin");
    signal(&node, "STOP");
    // These are sent, and their deadlines pass before the node reads them.
    let short = CallOptions::new().timeout(Duration::from_millis(300));
    let late = (1..30).map(|number| call(&client, "mark", Some(number), &short));
    for result in runtime.block_on(join_all(late)) {
        // Calls that could not be sent in time did not start.
        let outcome = ended(result).1;
        assert!([CallOutcome::Unknown, CallOutcome::NotStarted].contains(&outcome), "{outcome:?}");
    }
    // The call that runs has no time limit set by its caller, so only the loss of its node ends it.
    let lost = ended(runtime.block_on(spinning).unwrap());
    assert_eq!(lost, (ErrorCode::ConnectionLost, CallOutcome::Unknown));

    signal(&node, "CONT");
    runtime.block_on(async {
        are_ready(&client, 1).await;
        let unlimited = CallOptions::new().wait_for_capacity();
        call(&client, "mark", Some(99), &unlimited).await.unwrap();
    });
    // The node has read the calls in their order.
    let mut started = Vec::new();
    loop {
        let line = node.notice();
        if line.contains("mark ") {
            started.push(line);
        }
        if started.last().is_some_and(|line| line.contains("mark 99")) {
            break;
        }
    }
    assert_eq!(started.len(), 1, "calls started after their deadlines: {started:#?}");
    assert_eq!(client.pending_calls(), 0);
}

#[test]
fn calls_of_pure_functions_do_not_notice_that_any_of_three_nats_servers_fails() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut nats) = Nats::start_three(folder.path()) else { return };
    let _a = nats.node("a", folder.path(), &["--cluster-replicas", "3"]);
    let _b = nats.node("b", folder.path(), &["--cluster-replicas", "3"]);
    nats.deploy(&manifest(folder.path()));
    let runtime = runtime();
    let client = runtime.block_on(nats.client(2));
    let (ends, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let calls = runtime.spawn({
        let (client, ends, answered) = (client.clone(), Arc::clone(&ends), Arc::clone(&answered));
        async move {
            while !ends.load(Ordering::Relaxed) {
                let start = Instant::now();
                match call(&client, "number", None, &CallOptions::new()).await {
                    Ok(()) => {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    // It waits two seconds for another server, which takes longer on a busy machine.
                    Err(error)
                        if error.outcome() == CallOutcome::NotStarted
                            && start.elapsed() >= Duration::from_secs(1) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok::<(), Error>(())
        }
    });
    let wait_for = |more: usize| {
        let until = answered.load(Ordering::Relaxed) + more;
        runtime.block_on(eventually("calls are answered", async || {
            (calls.is_finished() || answered.load(Ordering::Relaxed) >= until).then_some(())
        }));
    };
    for number in 0..3 {
        wait_for(20);
        nats.kill(number);
        wait_for(200);
        nats.restart(number);
        runtime.block_on(are_ready(&client, 2));
    }
    ends.store(true, Ordering::Relaxed);
    runtime.block_on(calls).unwrap().unwrap();
    assert!(client.connection().disconnects() > 0, "its own server failed too");
}

#[test]
fn a_node_runs_as_many_calls_as_it_accepts_and_refuses_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let (_node, address) = nats.node("a", folder.path(), &["--call-limit", "3"]);
    nats.deploy(&manifest(folder.path()));
    let runtime = runtime();
    let client = runtime.block_on(nats.client(1));
    let options = CallOptions::new().timeout(TIMEOUT);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (client, options) = (client.clone(), options.clone());
        calls
            .spawn_on(async move { call(&client, "spin", None, &options).await }, runtime.handle());
    }
    runtime.block_on(async {
        for _ in 0..37 {
            let refused = ended(calls.join_next().await.unwrap().unwrap());
            assert_eq!(refused, (ErrorCode::Saturated, CallOutcome::NotStarted));
        }
        eventually("the node reports what it runs and what it refused", async || {
            let node = client.information().nodes.remove(0);
            assert!(node.calls_in_flight <= 3, "{node:?}");
            (node.calls_in_flight == 3 && node.calls_refused >= 37).then_some(())
        })
        .await;
    });
    // A client of the node itself gets the same answer.
    let refused = rest(post_with(&address, "/v1/functions/number/call", JSON, "[]"));
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\"saturated\""), "{refused}");
    // The callers no longer wait: the guests end, and the node accepts calls again.
    drop(calls);
    let waits = CallOptions::new().wait_for_capacity();
    runtime.block_on(call(&client, "number", None, &waits)).unwrap();
    runtime.block_on(eventually("nothing runs", async || {
        (client.information().nodes[0].calls_in_flight == 0).then_some(())
    }));
}

/// The header of a request with JSON.
const JSON: &str = "content-type: application/json\r\n";

#[test]
fn messages_that_a_node_does_not_read_in_time_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let (_node, address) = nats.node("a", folder.path(), &[]);
    nats.deploy(&manifest(folder.path()));
    assert_eq!(dropped_messages(&address), 0);
    // More reports than a node can read as fast as they arrive.
    let mut flood = TcpStream::connect(nats.address()).unwrap();
    flood.write_all(b"CONNECT {\"verbose\":false}\r\n").unwrap();
    let reports = "PUB wpc.v1.beat.flood 0\r\n\r\n".repeat(500_000);
    let mut floods = 0;
    while dropped_messages(&address) == 0 {
        floods += 1;
        assert!(floods < 100, "no message was dropped");
        flood.write_all(reports.as_bytes()).unwrap();
    }
    drop(flood);
    let answer = rest(post_with(&address, "/v1/functions/number/call", JSON, "[]"));
    assert!(answer.ends_with("\r\n\r\n7"), "{answer}");
    let runtime = runtime();
    let client = runtime.block_on(nats.client(1));
    runtime.block_on(call(&client, "number", None, &CallOptions::new())).unwrap();
}

/// The messages that a node has dropped, by its metrics.
fn dropped_messages(address: &str) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with("wpc_cluster_dropped_messages_total "));
    let count = line.unwrap_or_else(|| panic!("{metrics}")).rsplit(' ').next().unwrap();
    count.parse().unwrap()
}
