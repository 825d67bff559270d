//! Nodes of a cluster as processes, with a NATS server.

use crate::process::wpc;
use crate::readme::free_address;
use crate::running::Running;
use crate::serving::{post_with, rest};
use crate::signals::signal;
use crate::support::{err, fails_with, out, root, wat};
use serde_json::Value;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A NATS server, which is killed when it is dropped.
struct Nats {
    child: Child,
    url: String,
}

impl Drop for Nats {
    fn drop(&mut self) {
        // Fails if the process has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, if there is one.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("WPC_NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let own = root("target/python/bin/nats-server");
    named.into_iter().chain(found).chain([own]).find(|program| program.is_file())
}

impl Nats {
    /// Starts a server; `None` without the program, unless it is required.
    fn start(folder: &Path) -> Option<Self> {
        let Some(program) = program() else {
            let is_required = std::env::var_os("WPC_REQUIRE_NATS").is_some();
            assert!(!is_required, "`nats-server` is required and not installed");
            println!("skipped: `nats-server` is not installed");
            return None;
        };
        let address = free_address();
        let (host, port) = address.split_once(':').unwrap();
        let mut command = Command::new(program);
        command.args(["-a", host, "-p", port, "-js", "-sd"]).arg(folder.join("nats"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let nats = Self { child, url: format!("nats://{address}") };
        let start = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "the NATS server does not listen");
            std::thread::yield_now();
        }
        Some(nats)
    }

    /// A node, and the address at which it serves HTTP.
    fn node(&self, name: &str, folder: &Path) -> (Running, String) {
        let manifest = folder.join("node.toml");
        std::fs::write(&manifest, "[pool]\nworkers = 1\nstop_timeout = \"5s\"\n").unwrap();
        let data = folder.join(name);
        let (manifest, data) = (manifest.to_str().unwrap(), data.to_str().unwrap());
        let running = Running::start(&[
            "--json",
            "serve",
            manifest,
            "--cluster",
            &self.url,
            "--name",
            name,
            "--data",
            data,
            "--listen",
            "127.0.0.1:0",
        ]);
        let joined: Value = serde_json::from_str(&running.wait_for_line("joined", name)).unwrap();
        assert_eq!(joined["is_connected"], true);
        let ready: Value = serde_json::from_str(&running.wait_for_line("ready", "")).unwrap();
        let address = ready["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        (running, address)
    }

    /// Runs a command with this cluster.
    fn wpc(&self, arguments: &[&str]) -> std::process::Output {
        wpc(&[arguments, &["--cluster", &self.url]].concat())
    }
}

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

fn call(address: &str) -> String {
    let headers = "content-type: application/json\r\n";
    rest(post_with(address, "/v1/functions/number/call", headers, "[]"))
}

#[test]
fn two_nodes_run_what_is_deployed_and_one_of_them_may_fail() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let (a, at_a) = nats.node("a", folder.path());
    let (mut b, at_b) = nats.node("b", folder.path());

    let deployed = nats.wpc(&["deploy", &manifest(folder.path(), 1)]);
    assert!(out(&deployed).contains("revision 1 is active; 2 nodes ready"), "{}", err(&deployed));
    assert_eq!(out(&nats.wpc(&["call", "number"])), "1\n");
    for address in [&at_a, &at_b] {
        assert!(call(address).ends_with("\r\n\r\n1"), "{}", call(address));
    }
    assert!(out(&nats.wpc(&["ls"])).contains("number() -> i32"));
    let error = nats.wpc(&["call", "spin", "--timeout", "100ms"]);
    assert!(fails_with(6, &error).contains("time limit"));
    assert!(fails_with(3, &nats.wpc(&["call", "numbr"])).contains("numbr"));

    // Another version, and back.
    let deployed = nats.wpc(&["deploy", &manifest(folder.path(), 2)]);
    assert!(out(&deployed).contains("revision 2 is active"), "{}", err(&deployed));
    assert_eq!(out(&nats.wpc(&["call", "number"])), "2\n");
    let rolled_back = nats.wpc(&["rollback"]);
    assert!(rolled_back.status.success(), "{}", err(&rolled_back));
    assert_eq!(out(&nats.wpc(&["call", "number"])), "1\n");
    assert_eq!(out(&nats.wpc(&["history"])).lines().count(), 3);

    // A node is killed: calls of a pure function continue, also from the other node.
    drop(a);
    for _ in 0..5 {
        assert_eq!(out(&nats.wpc(&["call", "number"])), "1\n");
    }
    assert!(call(&at_b).ends_with("\r\n\r\n1"));

    // It starts again, and has what is active.
    let (mut a, at_a) = nats.node("a", folder.path());
    assert!(call(&at_a).ends_with("\r\n\r\n1"));
    for node in [&mut a, &mut b] {
        signal(node, "TERM");
        assert_eq!(node.exit_code(), Some(0));
    }
    let error = nats.wpc(&["call", "number"]);
    assert!(fails_with(1, &error).contains("no node that has it is ready"));
}

#[test]
fn a_node_without_nats_runs_its_last_revision_for_its_own_clients() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let (mut node, _) = nats.node("a", folder.path());
    assert!(nats.wpc(&["deploy", &manifest(folder.path(), 7)]).status.success());
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
    assert!(call(address).ends_with("\r\n\r\n7"), "{}", call(address));
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
    let error = wpc(&["call", "--cluster", "nats://127.0.0.1:1", "f"]);
    assert!(fails_with(1, &error).contains("failed to connect to NATS"));
}
