//! Nodes of a cluster as processes, with a NATS server.

use crate::nats::{Nats, eventually, runtime};
use crate::process::{command, run, wpc};
use crate::running::{Running, TIMEOUT};
use crate::serving::{post_with, rest};
use crate::signals::signal;
use crate::support::{err, fails_with, out, wat};
use serde_json::Value;
use std::path::Path;
use std::time::Instant;
use wpc_host::{CallArguments, CallOptions, NodeState, ReplyFormat};

/// A manifest with a pure function that returns this number, and one that never returns.
fn manifest(folder: &Path, number: i32) -> String {
    let text = format!(
        "(module (func (export \"number\") (result i32) i32.const {number}) (func (export \"spin\") (loop br 0)))"
    );
    wat(folder, "m.wat", &text);
    let path = folder.join("wpc.toml");
    let text =
        "[functions]\nnumber = { file = \"m.wat\", pure = true }\nspin = { file = \"m.wat\" }\n";
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Waits until a node answers a call over HTTP with this number. It learns of an activation a moment later than the deployer.
fn answers(address: &str, expected: &str) {
    let headers = "content-type: application/json\r\n";
    let start = Instant::now();
    loop {
        let answer = rest(post_with(address, "/v1/functions/number/call", headers, "[]"));
        if answer.ends_with(&format!("\r\n\r\n{expected}")) {
            return;
        }
        assert!(start.elapsed() < TIMEOUT, "{answer}");
    }
}

/// A call in the cluster returns this number. It waits 2 seconds for a node, which may be too short on a busy machine.
fn is_called(nats: &Nats, expected: &str) {
    let start = Instant::now();
    loop {
        let called = nats.wpc(&["call", "number"]);
        let is_late = err(&called).contains("no node that has it is ready");
        if !is_late || start.elapsed() > TIMEOUT {
            assert_eq!(out(&called), format!("{expected}\n"), "{}", err(&called));
            return;
        }
    }
}

#[test]
fn two_nodes_run_what_is_deployed_and_one_of_them_may_fail() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let (a, at_a) = nats.node("a", folder.path(), &[]);
    let (mut b, at_b) = nats.node("b", folder.path(), &[]);

    let error = nats.wpc(&["call", "number"]);
    assert!(fails_with(3, &error).contains("nothing is active in the namespace \"wpc\""));
    for (command, note) in [("ls", "no function is defined"), ("history", "nothing was deployed")] {
        let listed = nats.wpc(&[command]);
        assert!(out(&listed).is_empty() && err(&listed).contains(note), "{}", err(&listed));
    }
    let deployed = nats.wpc(&["deploy", &manifest(folder.path(), 1), "--nodes", "2"]);
    assert!(out(&deployed).contains("revision 1 is active; 2 nodes ready"), "{}", err(&deployed));
    is_called(&nats, "1");
    for address in [&at_a, &at_b] {
        answers(address, "1");
    }
    assert!(out(&nats.wpc(&["ls"])).contains("number() -> i32"));
    let error = nats.wpc(&["call", "spin", "--timeout", "100ms"]);
    assert!(fails_with(6, &error).contains("time limit"));
    let error = nats.wpc(&["call", "numbr"]);
    assert!(fails_with(3, &error).contains("`wpc ls --cluster` lists"), "{}", err(&error));
    for argument in ["1", ""] {
        let error = nats.wpc(&["call", "number", argument]);
        assert!(fails_with(2, &error).contains("`wpc ls --cluster` lists"), "{}", err(&error));
    }

    let error = nats.wpc(&["rollback"]);
    assert!(fails_with(2, &error).contains("(nothing_to_roll_back)"), "{}", err(&error));

    // Another version, and back.
    let deployed = nats.wpc(&["deploy", &manifest(folder.path(), 2)]);
    assert!(out(&deployed).contains("revision 2 is active"), "{}", err(&deployed));
    is_called(&nats, "2");
    let rolled_back = nats.wpc(&["rollback"]);
    assert!(rolled_back.status.success(), "{}", err(&rolled_back));
    is_called(&nats, "1");
    assert_eq!(out(&nats.wpc(&["history"])).lines().count(), 3);

    // A node is killed: calls to a pure function continue, including from the other node.
    drop(a);
    for _ in 0..5 {
        is_called(&nats, "1");
    }
    answers(&at_b, "1");

    // It starts again, and has what is active.
    let (mut a, at_a) = nats.node("a", folder.path(), &[]);
    answers(&at_a, "1");
    for node in [&mut a, &mut b] {
        signal(node, "TERM");
        assert_eq!(node.exit_code(), Some(0));
    }
    let error = nats.wpc(&["call", "number"]);
    assert!(fails_with(1, &error).contains("no node that has it is ready"));
}

#[test]
fn a_drained_node_runs_no_calls_of_other_processes_until_the_drain_ends() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let (_a, at_a) = nats.node("a", folder.path(), &[]);
    let (_b, at_b) = nats.node("b", folder.path(), &[]);
    nats.deploy(&manifest(folder.path(), 1));
    let (runtime, server) = (runtime(), format!("http://{at_a}"));
    let client = runtime.block_on(nats.client(2));
    let drain = |options: &[&str]| {
        let drained = wpc(&[&["drain", "--server", &server], options].concat());
        assert!(drained.status.success(), "{}", err(&drained));
    };
    let a_becomes = |state: NodeState| {
        runtime.block_on(eventually("the client knows the state of the node", async || {
            (client.information().nodes[0].state == state).then_some(())
        }));
    };
    // This client may send a call before it knows of the drain. The call is refused, and sent to the other node.
    let stale = runtime.block_on(nats.client(2));
    drain(&["--wait", "60s"]);
    for _ in 0..8 {
        let arguments = CallArguments::Positional(Vec::new());
        let call = stale.submit("number", arguments, ReplyFormat::Json, &CallOptions::new());
        runtime.block_on(call.unwrap()).unwrap();
    }
    a_becomes(NodeState::Draining);
    assert_eq!(client.information().nodes[0].calls_accepted, 0);
    // The other node may learn of the drain later than the client.
    for (address, expected) in [(&at_b, "node \"a\": draining"), (&at_a, "this node is draining")] {
        let url = format!("http://{address}/readyz?verbose");
        runtime.block_on(eventually(expected, async || {
            let health = wpc(&["health", &url, "--timeout", "60s"]);
            (out(&health) + &err(&health)).contains(expected).then_some(())
        }));
    }
    drain(&["--end"]);
    a_becomes(NodeState::Ready);
}

/// Starts a second node `a`, and returns whether it is refused. It serves if it does not hear the first one in half a second.
fn is_refused(nats: &Nats) -> bool {
    let serve = ["serve", "--name", "a", "--listen", "127.0.0.1:0", "--cluster", &nats.url];
    let mut second = Running::start(&serve);
    loop {
        let line = second.notice();
        if line.contains("the name \"a\" is in use by another process") {
            break;
        }
        if line.starts_with("ready: ") {
            return false;
        }
    }
    assert_eq!(second.exit_code(), Some(1));
    true
}

#[test]
fn a_node_logs_what_happens_in_its_cluster_and_refuses_a_name_that_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let (a, at_a) = nats.node("a", folder.path(), &[]);
    let (b, _) = nats.node("b", folder.path(), &[]);
    a.wait_for_line("cluster", "node \\\"b\\\" has joined");
    nats.deploy(&manifest(folder.path(), 1));
    a.wait_for_line("cluster", "this node runs revision 1");
    drop(b);
    a.wait_for_line("cluster", "node \\\"b\\\" has sent no heartbeat for");
    // A refusal names the line of the manifest and the file of the module.
    let module = "(module (import \"env\" \"missing\" (func)) (func (export \"f\")))";
    wat(folder.path(), "missing.wat", module);
    let path = folder.path().join("refused.toml");
    std::fs::write(&path, "[functions]\nf = { file = \"missing.wat\" }\n").unwrap();
    let refused = nats.wpc(&["deploy", path.to_str().unwrap()]);
    let text = fails_with(3, &refused);
    assert!(text.contains("revision 2 was not activated: node a refuses it: "), "{text}");
    assert!(text.contains("refused.toml:2: ") && !text.contains("(refused)"), "{text}");
    let history = nats.wpc(&["history"]);
    let history = out(&history);
    assert!(history.lines().next().unwrap().contains("(never active)"), "{history}");
    assert!(history.lines().nth(1).unwrap().starts_with("*    1 "), "{history}");
    // A deployment reports what it waits for.
    let path = manifest(folder.path(), 2);
    let waiting = Running::start(&["deploy", &path, "--nodes", "2", "--cluster", &nats.url]);
    loop {
        let line = waiting.notice();
        if line == "waiting: 1 of 2 nodes are ready; no other node reports itself" {
            break;
        }
        // The node may answer late.
        assert!(line.starts_with("waiting: 0 of 2 nodes are ready; "), "{line}");
    }
    drop(waiting);
    assert!((0..20).any(|_| is_refused(&nats)), "a second node with the name was not refused");
    // The registry of the cluster has the deployments.
    let history = wpc(&["history", "--server", &format!("http://{at_a}")]);
    assert!(err(&history).contains("use `--cluster URL`"), "{}", err(&history));
}

#[test]
fn a_node_without_nats_runs_its_last_revision_for_its_own_clients() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let (mut node, _) = nats.node("a", folder.path(), &[]);
    assert!(nats.wpc(&["deploy", &manifest(folder.path(), 7)]).status.success());
    node.wait_for_line("cluster", "this node runs revision 1");
    signal(&node, "TERM");
    assert_eq!(node.exit_code(), Some(0));
    let url = nats.url.clone();
    drop(nats);

    let data = folder.path().join("a");
    let mut node = Running::start(&[
        "--json",
        "serve",
        "--cluster",
        &url,
        "--name",
        "a",
        "--data",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ]);
    let joined: Value = serde_json::from_str(&node.wait_for_line("joined", "")).unwrap();
    assert_eq!((&joined["is_connected"], &joined["revision"]), (&Value::from(false), &1.into()));
    let ready: Value = serde_json::from_str(&node.wait_for_line("ready", "")).unwrap();
    let address = ready["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    answers(address, "7");
    signal(&node, "TERM");
    assert_eq!(node.exit_code(), Some(0));
}

#[test]
fn what_a_node_cannot_be_started_with_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let own = manifest(folder.path(), 1);
    let serve =
        |arguments: &[&str]| wpc(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
    let error = serve(&[&own, "--cluster", "nats://127.0.0.1:1"]);
    assert!(err(&error).contains("wpc deploy --cluster"), "{}", err(&error));
    let error = serve(&["--cluster", "nats://192.0.2.1:4222"]);
    assert!(fails_with(2, &error).contains("no credentials"));
    let error = serve(&["--cluster", "nats://127.0.0.1:1", "--name", "a.b"]);
    assert!(fails_with(2, &error).contains("invalid node name"));
    let key = folder.path().join("key.nk");
    let key = key.to_str().unwrap();
    let created = wpc(&["cluster", "key", key]);
    let again = wpc(&["cluster", "key", key]);
    let text = fails_with(2, &again);
    assert!(text.contains(out(&created).trim()) && text.contains("name a new file"), "{text}");
    let error = wpc(&["call", "--cluster", "nats://127.0.0.1:1", "f"]);
    assert!(fails_with(1, &error).contains("failed to connect to NATS"));
}

#[test]
fn a_cluster_that_only_the_environment_names_does_not_define_the_functions_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    manifest(folder.path(), 7);
    let call = |arguments: &[&str]| {
        let mut call = command(&[&["call"], arguments].concat());
        run(call.env("WPC_CLUSTER", "nats://127.0.0.1:1").current_dir(&folder))
    };
    for arguments in [["m.wat", "number"], [".", "number"], ["--manifest=.", "number"]] {
        let called = call(&arguments);
        assert_eq!(out(&called), "7\n", "{arguments:?}: {}", err(&called));
    }
    assert!(fails_with(1, &call(&["number"])).contains("failed to connect to NATS"));
}
