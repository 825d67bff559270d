//! Nodes and deployers at a NATS server.

use super::{Folder, Sync};
use crate::connection::Connection;
use crate::error::Error;
use crate::node::served::Serving;
use crate::options::ClusterOptions;
use crate::registry::{Quorum, Readiness, Registry, Revision, Rollback};
use async_nats::jetstream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use wpc_deploy::document::Packed;
use wpc_deploy::{Deployment, Setup, Source};
use wpc_host::{Sha256Hash, WorkerProcedureCall};

/// How long a test waits for what must happen.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// How many revisions nodes keep.
const KEPT: usize = 2;

/// A NATS server with JetStream in a folder of its own, which is killed when this is dropped.
struct Nats {
    folder: TempDir,
    child: Child,
    port: u16,
}

impl Nats {
    /// `None` if the program is not installed, and the tests need not run.
    fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let Some(child) = run(folder.path(), None) else {
            assert!(std::env::var_os("WPC_REQUIRE_NATS").is_none(), "no nats-server was found");
            eprintln!("skipped: no nats-server was found");
            return None;
        };
        let port = port(folder.path(), &child);
        Some(Self { folder, child, port })
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = run(self.folder.path(), Some(self.port)).unwrap();
        assert_eq!(port(self.folder.path(), &self.child), self.port);
    }

    fn options(&self) -> ClusterOptions {
        let mut options = ClusterOptions::new(&format!("nats://127.0.0.1:{}", self.port));
        // Nodes have one and a half intervals to answer. On a busy machine, a test that needs an answer of each node waits for it.
        options.report_interval = Duration::from_secs(1);
        options.connect_timeout = Duration::from_secs(30);
        options
    }

    async fn registry(&self) -> Registry {
        Registry::new(Connection::open(self.options(), "test").await.unwrap())
    }

    async fn node(&self, name: &str, folder: &Path) -> Node {
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

fn run(folder: &Path, port: Option<u16>) -> Option<Child> {
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
fn port(folder: &Path, child: &Child) -> u16 {
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

struct Node {
    sync: Sync,
    serving: Serving,
    pool: WorkerProcedureCall,
}

impl Node {
    fn start(connection: Connection, name: &str, folder: &Path) -> Self {
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
    async fn runs(&self, revision: u64) {
        let mut state = self.sync.follow();
        let reached = state.wait_for(|state| state.active == Some(revision) && state.is_settled);
        within("the node runs the revision", reached).await.unwrap();
    }

    async fn problem(&self, text: &str) {
        let mut state = self.sync.follow();
        let reached = state.wait_for(|state| state.problem.contains(text));
        within("the node reports the problem", reached).await.unwrap();
    }

    async fn call(&self, function: &str) -> i64 {
        self.pool.call_async(function, (1_i64,)).await.unwrap()
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIME_LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("did not happen within {TIME_LIMIT:?}: {what}"),
    }
}

fn module(result: i64) -> String {
    format!("(module (func (export \"f\") (param i64) (result i64) i64.const {result}))")
}

/// A manifest with functions that return their numbers.
fn packed(functions: &[(&str, i64)]) -> Packed {
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
fn packed_module(bytes: &[u8], settings: &str) -> Packed {
    let mut packed = packed(&[("f", 1)]);
    let name = format!("{}.wasm", Sha256Hash::of(bytes));
    packed.modules = [(name.clone(), bytes.into())].into();
    packed.text = format!("[functions.f]\nfile = \"{name}\"\n{settings}");
    packed
}

async fn ready(registry: &Registry, revision: &Revision) -> Result<Readiness, Error> {
    let waiting = registry.wait_ready(revision.number, Quorum::All, Duration::from_secs(60));
    within("the nodes answer", waiting).await
}

/// Waits until the nodes `a` and `b` are ready.
async fn both_ready(registry: &Registry, revision: &Revision) -> Readiness {
    let waiting = registry.wait_ready(revision.number, Quorum::Nodes(2), Duration::from_secs(60));
    let ready = within("both nodes are ready", waiting).await.unwrap();
    assert_eq!(ready.ready, ["a", "b"]);
    assert!(ready.pending.is_empty());
    ready
}

/// Waits until the nodes `a` and `b` have refused the revision. One that answers late is not among those that a deployer reports.
async fn both_refuse(registry: &Registry, revision: &Revision, quorum: Quorum) {
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
async fn deploy(registry: &Registry, packed: &Packed) -> u64 {
    let expected = registry.active().await.unwrap().map(|active| active.revision);
    let revision = registry.stage(packed, "ada", None).await.unwrap();
    let ready = ready(registry, &revision).await.unwrap();
    registry.activate(&ready, expected, "ada").await.unwrap();
    revision.number
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_staged_and_then_activated_on_two_nodes() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let a = nats.node("a", &folder.path().join("a")).await;
    let b = nats.node("b", &folder.path().join("b")).await;
    let following = registry.follow();
    within("both nodes have read the registry", async {
        tokio::join!(a.sync.settled(), b.sync.settled(), following.first())
    })
    .await;
    assert_eq!(following.snapshot().revision, None);
    let revision = registry.stage(&packed(&[("f", 7)]), "ada", Some("first")).await.unwrap();
    assert_eq!((revision.number, revision.parent), (1, None));
    let ready = both_ready(&registry, &revision).await;
    assert_eq!(a.sync.state().active, None, "it is only staged");
    let active = registry.activate(&ready, None, "ada").await.unwrap();
    a.runs(1).await;
    b.runs(1).await;
    within("the client follows", following.reached(1)).await;
    assert_eq!((a.call("f").await, b.call("f").await), (7, 7));
    let snapshot = following.snapshot();
    let definition = snapshot.functions["f"].definition;
    for node in [&a, &b] {
        node.serving.read(|served| {
            assert_eq!(served.index, <[u8; 32]>::from(active.index));
            assert_eq!(served.functions["f"].definition, definition);
        });
    }
    let again = registry.stage(&packed(&[("f", 7)]), "ada", None).await.unwrap();
    assert_eq!(again, revision, "the active revision has the same manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_two_deployers_activates_and_the_other_one_gets_a_conflict() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let node = nats.node("a", folder.path()).await;
    let (x, y) = (packed(&[("f", 1)]), packed(&[("f", 2)]));
    let (x, y) = tokio::join!(registry.stage(&x, "x", None), registry.stage(&y, "y", None));
    let (x, y) = (x.unwrap(), y.unwrap());
    let mut numbers = [x.number, y.number];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2], "both revisions have a number of their own");
    let (x, y) = tokio::join!(ready(&registry, &x), ready(&registry, &y));
    let (x, y) = (x.unwrap(), y.unwrap());
    let results = tokio::join!(registry.activate(&x, None, "x"), registry.activate(&y, None, "y"));
    let (winner, error) = match results {
        (Ok(winner), Err(error)) | (Err(error), Ok(winner)) => (winner.revision, error),
        other => panic!("expected one activation, found {other:?}"),
    };
    let is_conflict = matches!(&error, Error::Conflict { expected: None, found: Some(found) } if *found == winner);
    assert!(is_conflict, "{error:?}");
    node.runs(winner).await;
    let error = registry.activate(&x, Some(99), "x").await.unwrap_err();
    assert!(matches!(error, Error::Conflict { expected: Some(99), .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_or_one_function_returns_to_an_earlier_revision() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let node = nats.node("a", folder.path()).await;
    deploy(&registry, &packed(&[("f", 1), ("g", 1)])).await;
    let error = registry.roll_back(&Rollback::new(), "bob").await.unwrap_err();
    assert!(matches!(error, Error::NothingBefore), "{error:?}");
    deploy(&registry, &packed(&[("f", 2), ("g", 2)])).await;
    let mut rollback = Rollback::new();
    rollback.function = Some("g".to_owned());
    for (rollback, expected) in [(rollback, (2, 1)), (Rollback::new(), (2, 2))] {
        let active = registry.active().await.unwrap().map(|active| active.revision);
        let revision = registry.roll_back(&rollback, "bob").await.unwrap();
        let ready = ready(&registry, &revision).await.unwrap();
        registry.activate(&ready, active, "bob").await.unwrap();
        node.runs(revision.number).await;
        assert_eq!((node.call("f").await, node.call("g").await), expected);
    }
    let notes: Vec<_> = registry.revisions(10).await.unwrap();
    let notes: Vec<_> = notes.iter().map(|it| (it.number, it.note.as_deref())).collect();
    let expected = [
        (4, Some("rolled back to revision 2")),
        (3, Some("function \"g\" rolled back to revision 1")),
        (2, None),
        (1, None),
    ];
    assert_eq!(notes, expected);
    let activations = registry.activations().await.unwrap();
    let activations: Vec<_> = activations.iter().map(|it| (it.revision, it.previous)).collect();
    assert_eq!(activations, [(4, Some(3)), (3, Some(2)), (2, Some(1)), (1, None)]);
    let error = registry.revision(9).await.unwrap_err();
    assert!(matches!(error, Error::UnknownRevision(9)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_refuses_and_reports_an_invalid_module() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let a = nats.node("a", &folder.path().join("a")).await;
    let b = nats.node("b", &folder.path().join("b")).await;
    deploy(&registry, &packed(&[("f", 1)])).await;
    a.runs(1).await;
    b.runs(1).await;
    let refused = async |revision: &Revision, text: &str| {
        let error = ready(&registry, revision).await.unwrap_err();
        let Error::Refused { refusals, .. } = &error else { panic!("{error:?}") };
        assert!(refusals[0].problems[0].contains(text), "{error}");
        // Each node by itself.
        both_refuse(&registry, revision, Quorum::Nodes(1)).await;
        assert_eq!(registry.active().await.unwrap().unwrap().revision, 1);
        assert_eq!((a.call("f").await, b.call("f").await), (1, 1));
    };

    let damaged = packed(&[("f", 2)]);
    let revision = registry.stage(&damaged, "ada", None).await.unwrap();
    let name = damaged.modules.keys().next().unwrap().strip_suffix(".wasm").unwrap().to_owned();
    let store = jetstream::new(registry.connection().client().clone());
    let store = store.get_object_store("wpc_objects").await.unwrap();
    store.put(name.as_str(), &mut b"something else".as_slice()).await.unwrap();
    refused(&revision, "is damaged").await;
    // Another deployment replaces the object.
    let again = registry.stage(&damaged, "ada", None).await.unwrap();
    both_ready(&registry, &again).await;

    let large = wat::parse_str(module(3)).unwrap();
    let large = packed_module(&large, "limits = { module_size = \"10 B\" }\n");
    let revision = registry.stage(&large, "ada", None).await.unwrap();
    refused(&revision, "is too large").await;

    let invalid = packed_module(b"\0asm\x01\0\0\0\xff\xff", "");
    let revision = registry.stage(&invalid, "ada", None).await.unwrap();
    refused(&revision, "function \"f\"").await;

    let mut wrong = packed(&[("f", 4)]);
    for bytes in wrong.modules.values_mut() {
        *bytes = b"something else".as_slice().into();
    }
    let error = registry.stage(&wrong, "ada", None).await.unwrap_err();
    assert!(matches!(error, Error::Problems(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_again_catches_up_and_without_a_server_runs_its_copy() {
    let Some(mut nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let other = nats.node("other", &folder.path().join("other")).await;
    let node = nats.node("a", &folder.path().join("a")).await;
    let first = deploy(&registry, &packed(&[("f", 1)])).await;
    node.runs(first).await;
    drop(node);
    let second = deploy(&registry, &packed(&[("f", 2)])).await;
    other.runs(second).await;
    let node = nats.node("a", &folder.path().join("a")).await;
    node.runs(second).await;
    assert_eq!(node.call("f").await, 2);
    drop(node);
    nats.kill();
    let node = nats.node("a", &folder.path().join("a")).await;
    node.runs(second).await;
    assert_eq!(node.call("f").await, 2);
    nats.restart();
    let third = deploy_when_possible(&registry, &packed(&[("f", 3)])).await;
    node.runs(third).await;
    other.runs(third).await;
    assert_eq!((node.call("f").await, other.call("f").await), (3, 3));
}

/// Deploys once the server can be reached again and the nodes have noticed that.
async fn deploy_when_possible(registry: &Registry, packed: &Packed) -> u64 {
    within("a deployment succeeds", async {
        loop {
            let expected = registry.active().await.ok().flatten().map(|active| active.revision);
            if let Ok(revision) = registry.stage(packed, "ada", None).await {
                let quorum = Quorum::Nodes(2);
                let ready =
                    registry.wait_ready(revision.number, quorum, Duration::from_secs(30)).await;
                if let Ok(ready) = ready
                    && registry.activate(&ready, expected, "ada").await.is_ok()
                {
                    return revision.number;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// The number of modules in a node's folder.
fn modules(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|found| found == "wasm")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_that_no_kept_or_staged_revision_uses_are_removed() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let node = nats.node("a", folder.path()).await;
    for number in 1..=4 {
        let revision = deploy(&registry, &packed(&[("f", number), ("always", 99)])).await;
        node.runs(revision).await;
    }
    let staged = registry.stage(&packed(&[("f", 5)]), "ada", None).await.unwrap();
    ready(&registry, &staged).await.unwrap();
    let last = deploy(&registry, &packed(&[("f", 6)])).await;
    node.runs(last).await;
    // Of the revisions 4 and 6, and of the staged one.
    let expected = ["4", "99", "5", "6"].len();
    within("old modules are removed", async {
        while modules(folder.path()) != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    registry.roll_back(&Rollback::new(), "ada").await.unwrap();
    assert_eq!(node.call("f").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_whose_functions_cannot_start_is_refused_by_every_node() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let a = nats.node("a", &folder.path().join("a")).await;
    let b = nats.node("b", &folder.path().join("b")).await;
    let first = deploy(&registry, &packed(&[("f", 1)])).await;
    a.runs(first).await;
    b.runs(first).await;
    let f = "(func (export \"f\") (param i32 i32) (result i64) i64.const 2)";
    let hook = "(memory (export \"memory\") 1) (func (export \"wpc_buffer_v1\") (param i32) (result i32) i32.const 0)
        (func (export \"wpc_init\") (result i64) (loop br 0) i64.const 0)";
    let grows = "(memory (export \"memory\") 1) (start $s)
        (func $s (if (i32.lt_s (memory.grow (i32.const 99)) (i32.const 0)) (then unreachable)))";
    for (body, settings, reason) in [
        ("(func $s unreachable) (start $s)", "", "unreachable"),
        (hook, "limits = { timeout = \"100ms\" }", "time limit of 100 ms"),
        (grows, "limits = { memory = \"1 MiB\" }", "memory"),
    ] {
        let module = wat::parse_str(format!("(module {f} {body})")).unwrap();
        let packed = packed_module(&module, settings);
        let revision = registry.stage(&packed, "ada", None).await.unwrap();
        let error = ready(&registry, &revision).await.unwrap_err().to_string();
        assert!(error.contains("function \"f\"") && error.contains(reason), "{error}");
        both_refuse(&registry, &revision, Quorum::Nodes(2)).await;
        assert_eq!((a.call("f").await, b.call("f").await), (1, 1));
    }
    assert_eq!(registry.active().await.unwrap().unwrap().revision, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_deleted_and_created_again_is_followed() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let a = nats.node("a", &folder.path().join("a")).await;
    let b = nats.node("b", &folder.path().join("b")).await;
    deploy(&registry, &packed(&[("f", 1)])).await;
    a.runs(1).await;
    b.runs(1).await;
    let stores = jetstream::new(registry.connection().client().clone());
    for stream in ["KV_wpc_registry", "KV_wpc_staging", "OBJ_wpc_objects"] {
        stores.delete_stream(stream).await.unwrap();
    }
    a.problem("the registry has lost revision 1").await;
    assert_eq!(a.call("f").await, 1, "what the node runs stays");
    assert_eq!(deploy_when_possible(&registry, &packed(&[("f", 2)])).await, 1);
    for node in [&a, &b] {
        let mut state = node.sync.follow();
        within("the node runs the new revision", async {
            while node.call("f").await != 2 {
                state.changed().await.unwrap();
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_catches_up_with_fifty_functions() {
    let Some(nats) = Nats::start() else { return };
    let (registry, folder) = (nats.registry().await, TempDir::new().unwrap());
    let names: Vec<_> = (0..50).map(|number| (format!("f{number}"), number)).collect();
    let functions: Vec<_> = names.iter().map(|(name, result)| (name.as_str(), *result)).collect();
    let first = nats.node("a", &folder.path().join("a")).await;
    let revision = deploy(&registry, &packed(&functions)).await;
    first.runs(revision).await;
    for folder in ["a", "b"].map(|name| folder.path().join(name)) {
        let start = std::time::Instant::now();
        let node = nats.node("b", &folder).await;
        node.runs(revision).await;
        eprintln!("caught up with 50 functions in {:?}", start.elapsed());
        assert_eq!(node.call("f49").await, 49);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_without_nodes_is_not_ready() {
    let Some(nats) = Nats::start() else { return };
    let registry = nats.registry().await;
    let error = registry.revision(1).await.unwrap_err();
    assert!(error.to_string().contains("the first deployment creates it"), "{error}");
    let revision = registry.stage(&packed(&[("f", 1)]), "ada", None).await.unwrap();
    let error = ready(&registry, &revision).await.unwrap_err();
    assert!(error.to_string().contains("no node has answered"), "{error}");
    assert_eq!(registry.active().await.unwrap(), None);
}
