//! NATS servers, the nodes of a cluster as processes, and clients in the process of a test.

use crate::process::wpc;
use crate::readme::free_address;
use crate::running::{Running, TIMEOUT};
use crate::support::{err, root};
use serde_json::Value;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wpc_cluster::{Client, ClusterOptions, Connection, Registry};
use wpc_host::NodeState;

/// One NATS server, or three that form a cluster. They are killed when this is dropped.
pub(crate) struct Nats {
    servers: Vec<Server>,
    /// The URLs of the servers, separated by commas.
    pub(crate) url: String,
}

struct Server {
    command: Vec<String>,
    address: String,
    child: Child,
}

impl Drop for Server {
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

impl Server {
    fn start(command: Vec<String>, address: &str) -> Self {
        let child = spawn(&command);
        let server = Self { command, address: address.to_owned(), child };
        server.wait();
        server
    }

    fn wait(&self) {
        let start = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            assert!(start.elapsed() < TIMEOUT, "the NATS server does not listen");
            std::thread::yield_now();
        }
    }
}

fn spawn(command: &[String]) -> Child {
    let mut started = Command::new(&command[0]);
    started.args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    started.spawn().unwrap()
}

impl Nats {
    /// Starts a server; `None` without the program, unless it is required.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        Self::servers(folder, 1)
    }

    /// Starts three servers, which have agreed to store the registry.
    pub(crate) fn start_three(folder: &Path) -> Option<Self> {
        let nats = Self::servers(folder, 3)?;
        let mut options = nats.options();
        options.replicas = 3;
        runtime().block_on(eventually("three servers store the registry", async || {
            let connection = Connection::open(options.clone(), "test").await.ok()?;
            Registry::new(connection).create().await.ok()
        }));
        Some(nats)
    }

    fn servers(folder: &Path, count: usize) -> Option<Self> {
        let Some(program) = program() else {
            let is_required = std::env::var_os("WPC_REQUIRE_NATS").is_some();
            assert!(!is_required, "`nats-server` is required and not installed");
            println!("skipped: `nats-server` is not installed");
            return None;
        };
        let addresses: Vec<_> = (0..count).map(|_| free_address()).collect();
        let routes: Vec<_> = (0..count).map(|_| format!("nats://{}", free_address())).collect();
        let start = |number: usize| {
            let (host, port) = addresses[number].split_once(':').unwrap();
            let store = folder.join(format!("nats{number}"));
            let mut command = vec![program.to_str().unwrap(), "-a", host, "-p", port, "-js", "-sd"];
            command.push(store.to_str().unwrap());
            let (name, all) = (format!("s{number}"), routes.join(","));
            if count > 1 {
                command.extend(["-n", &name, "--cluster_name", "test", "--no_advertise"]);
                command.extend(["--cluster", &routes[number], "--routes", &all]);
            }
            let command = command.into_iter().map(str::to_owned).collect();
            Server::start(command, &addresses[number])
        };
        let servers = (0..count).map(start).collect();
        let urls: Vec<_> = addresses.iter().map(|address| format!("nats://{address}")).collect();
        Some(Self { servers, url: urls.join(",") })
    }

    /// The address of the first server.
    pub(crate) fn address(&self) -> &str {
        &self.servers[0].address
    }

    /// Kills a server.
    pub(crate) fn kill(&mut self, number: usize) {
        let child = &mut self.servers[number].child;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts a server that was killed.
    pub(crate) fn restart(&mut self, number: usize) {
        let server = &mut self.servers[number];
        server.child = spawn(&server.command);
        server.wait();
    }

    /// A node with one worker and these options, and the address at which it serves HTTP.
    pub(crate) fn node(&self, name: &str, folder: &Path, options: &[&str]) -> (Running, String) {
        let manifest = folder.join("node.toml");
        std::fs::write(&manifest, "[pool]\nworkers = 1\nstop_timeout = \"5s\"\n").unwrap();
        let data = folder.join(name);
        let (manifest, data) = (manifest.to_str().unwrap(), data.to_str().unwrap());
        let arguments = [
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
        ];
        let running = Running::start(&[&arguments, options].concat());
        let joined: Value = serde_json::from_str(&running.wait_for_line("joined", name)).unwrap();
        assert_eq!(joined["is_connected"], true);
        let ready: Value = serde_json::from_str(&running.wait_for_line("ready", "")).unwrap();
        let address = ready["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        (running, address)
    }

    /// Runs a command with this cluster.
    pub(crate) fn wpc(&self, arguments: &[&str]) -> std::process::Output {
        wpc(&[arguments, &["--cluster", &self.url]].concat())
    }

    /// Deploys a manifest.
    pub(crate) fn deploy(&self, manifest: &str) {
        let deployed = self.wpc(&["deploy", manifest]);
        assert!(deployed.status.success(), "{}", err(&deployed));
    }

    /// Options of a client. A node is lost later than by default, because the processes of a test may wait for a core.
    fn options(&self) -> ClusterOptions {
        let mut options = ClusterOptions::new(&self.url);
        options.heartbeat_interval = Duration::from_secs(2);
        options.connect_timeout = Duration::from_secs(30);
        options
    }

    /// A client that knows this many nodes that run what is active.
    pub(crate) async fn client(&self, nodes: usize) -> Client {
        let client = Client::connect(self.options()).await.unwrap();
        are_ready(&client, nodes).await;
        client
    }
}

/// Waits until the client is connected and knows this many nodes that run what is active.
pub(crate) async fn are_ready(client: &Client, nodes: usize) {
    eventually("the nodes are ready", async || {
        let cluster = client.information();
        let ready = cluster.nodes.iter().filter(|node| node.state == NodeState::Ready).count();
        (cluster.is_connected && ready == nodes).then_some(())
    })
    .await;
}

/// A runtime for clients.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Asks until the answer is `Some`, for states that cannot be awaited.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < TIMEOUT, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
