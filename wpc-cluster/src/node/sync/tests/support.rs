//! A NATS server, nodes and manifests for tests.

use super::super::{Folder, Sync};
use crate::connection::Connection;
use crate::error::Error;
use crate::node::served::Serving;
use crate::options::ClusterOptions;
use crate::registry::{Quorum, Readiness, Registry, Revision};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use wpc_deploy::document::Packed;
use wpc_deploy::{Deployment, Setup, Source};
use wpc_host::{Sha256Hash, WorkerProcedureCall};

/// How long a test waits for what must happen.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(120);

/// How many revisions nodes keep.
pub(super) const KEPT: usize = 2;

/// A NATS server with JetStream in a folder of its own, which is killed when this is dropped.
pub(super) struct Nats {
    pub(super) folder: TempDir,
    pub(super) child: Child,
    pub(super) port: u16,
}

impl Nats {
    /// `None` if the program is not installed, and the tests need not run.
    pub(super) fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let Some(child) = run(folder.path(), None) else {
            assert!(std::env::var_os("WPC_REQUIRE_NATS").is_none(), "no nats-server was found");
            eprintln!("skipped: no nats-server was found");
            return None;
        };
        let port = port(folder.path(), &child);
        Some(Self { folder, child, port })
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn restart(&mut self) {
        self.child = run(self.folder.path(), Some(self.port)).unwrap();
        assert_eq!(port(self.folder.path(), &self.child), self.port);
    }

    pub(super) fn options(&self) -> ClusterOptions {
        let mut options = ClusterOptions::new(&format!("nats://127.0.0.1:{}", self.port));
        // Nodes have one and a half intervals to answer. On a busy machine, a test that needs an answer of each node waits for it.
        options.heartbeat_interval = Duration::from_secs(1);
        options.connect_timeout = Duration::from_secs(30);
        options
    }

    pub(super) async fn registry(&self) -> Registry {
        Registry::new(Connection::open(self.options(), "test").await.unwrap())
    }

    pub(super) async fn node(&self, name: &str, folder: &Path) -> Node {
        let connection = Connection::open_later(self.options(), name).await.unwrap();
        Node::start(connection, name, folder)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn run(folder: &Path, port: Option<u16>) -> Option<Child> {
    let named = std::env::var_os("WPC_NATS_SERVER").map(PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/nats-server");
    let installed = Some(here).filter(|path| path.exists());
    let program = named.or(installed).unwrap_or_else(|| "nats-server".into());
    let port = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    let mut command = Command::new(program);
    command.args(["--addr", "127.0.0.1", "--port", &port, "--jetstream"]);
    command.arg("--store_dir").arg(folder.join("store")).arg("--ports_file_dir").arg(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

/// The port of a server, once it has written it.
pub(super) fn port(folder: &Path, child: &Child) -> u16 {
    let file = folder.join(format!("nats-server_{}.ports", child.id()));
    let start = std::time::Instant::now();
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) {
            let url = ports["nats"][0].as_str().unwrap();
            return url.rsplit(':').next().unwrap().parse().unwrap();
        }
        assert!(start.elapsed() < TIME_LIMIT, "the server did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(super) struct Node {
    pub(super) sync: Sync,
    pub(super) serving: Serving,
    pub(super) pool: WorkerProcedureCall,
}

impl Node {
    pub(super) fn start(connection: Connection, name: &str, folder: &Path) -> Self {
        let empty = Source::new(folder.join("wpc.toml"), "[pool]\nworkers = 1\n".to_owned());
        let setup = Setup::new().modules_by_content();
        let deployment = Deployment::open(&empty, &empty.parse().unwrap(), setup).unwrap();
        let pool = deployment.pool().clone();
        pool.start_workers(1).unwrap();
        let serving = Serving::default();
        let registry = Registry::new(connection);
        let folder = Folder::open(folder).unwrap();
        let name = name.parse().unwrap();
        let sync = Sync::start(name, 1, registry, deployment, folder, KEPT, serving.clone());
        Self { sync, serving, pool }
    }

    /// Waits until it runs this revision.
    pub(super) async fn runs(&self, revision: u64) {
        let mut state = self.sync.follow();
        let reached = state.wait_for(|state| state.active == Some(revision) && state.is_settled);
        within("the node runs the revision", reached).await.unwrap();
    }

    pub(super) async fn problem(&self, text: &str) {
        let mut state = self.sync.follow();
        let reached = state.wait_for(|state| state.problem.contains(text));
        within("the node reports the problem", reached).await.unwrap();
    }

    pub(super) async fn call(&self, function: &str) -> i64 {
        self.pool.call_async(function, (1_i64,)).await.unwrap()
    }
}

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIME_LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("did not happen within {TIME_LIMIT:?}: {what}"),
    }
}

pub(super) fn module(result: i64) -> String {
    format!("(module (func (export \"f\") (param i64) (result i64) i64.const {result}))")
}

/// A manifest with functions that return their numbers.
pub(super) fn packed(functions: &[(&str, i64)]) -> Packed {
    let folder = TempDir::new().unwrap();
    let mut text = String::new();
    for (name, result) in functions {
        std::fs::write(folder.path().join(format!("{result}.wat")), module(*result)).unwrap();
        text += &format!("[functions.{name}]\nfile = \"{result}.wat\"\nexport = \"f\"\n");
    }
    let source = Source::new(folder.path().join("wpc.toml"), text);
    Packed::read(&source, &source.parse().unwrap()).unwrap()
}

/// A manifest with one function and this module.
pub(super) fn packed_module(bytes: &[u8], settings: &str) -> Packed {
    let mut packed = packed(&[("f", 1)]);
    let name = format!("{}.wasm", Sha256Hash::of(bytes));
    packed.modules = [(name.clone(), bytes.into())].into();
    packed.text = format!("[functions.f]\nfile = \"{name}\"\n{settings}");
    packed
}

pub(super) async fn ready(registry: &Registry, revision: &Revision) -> Result<Readiness, Error> {
    let waiting = registry.wait_ready(revision.number, Quorum::All, Duration::from_secs(60));
    within("the nodes answer", waiting).await
}

/// Waits until the nodes `a` and `b` are ready.
pub(super) async fn both_ready(registry: &Registry, revision: &Revision) -> Readiness {
    let waiting = registry.wait_ready(revision.number, Quorum::Nodes(2), Duration::from_secs(60));
    let ready = within("both nodes are ready", waiting).await.unwrap();
    assert_eq!(ready.ready, ["a", "b"]);
    assert!(ready.pending.is_empty());
    ready
}

/// Waits until the nodes `a` and `b` have refused the revision. One that answers late is not among those that a deployer reports.
pub(super) async fn both_refuse(registry: &Registry, revision: &Revision, quorum: Quorum) {
    within("both nodes refuse", async {
        loop {
            let waiting = registry.wait_ready(revision.number, quorum, Duration::from_secs(60));
            let error = waiting.await.unwrap_err().to_string();
            if error.contains("nodes a, b refuse it: ") {
                return;
            }
            assert!(error.contains(" refuses it: "), "{error}");
        }
    })
    .await;
}

/// Stages and activates a manifest.
pub(super) async fn deploy(registry: &Registry, packed: &Packed) -> u64 {
    let expected = registry.active().await.unwrap().map(|active| active.revision);
    let revision = registry.stage(packed, "ada", None).await.unwrap();
    let ready = ready(registry, &revision).await.unwrap();
    registry.activate(&ready, expected, "ada").await.unwrap();
    revision.number
}
