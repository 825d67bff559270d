//! A chaos run over a cluster of processes: nodes of the command `wpc` and NATS servers on this machine, which are killed, stopped,
//! drained and started again while callers call, revisions are activated and nodes are overloaded.
//!
//! Invariants:
//!
//! * Every call ends once, within its time limit and a grace, with an allowed outcome.
//! * A value is from a revision that was active between the call and its answer, or was superseded so shortly before the call that
//!   its caller could not know.
//! * A call to a function that is not pure starts at most once, and not at all if its error states so.
//! * Calls of pure functions succeed whichever node fails, and whichever of three NATS servers.
//! * A node that ends after SIGTERM loses no call.
//! * No guest starts after its deadline.
//! * At the end every node runs the active revision, and no call is in flight. No large argument or result is stored, apart from results of
//!   nodes that were killed, and from arguments that were being stored when a NATS server was killed.

mod callers;
mod faults;
mod guest_log;
mod nodes;
mod revisions;
mod servers;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::object_store::ObjectStore;
use callers::Kind;
use faults::{Fault, Faults, healed};
use futures::StreamExt as _;
use guest_log::GuestLog;
use nodes::Nodes;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use revisions::Revisions;
use servers::Servers;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;
use wpc_cluster::{Client, ClusterOptions, Connection, Quorum, Registry};

/// The number of clients, each with a connection of its own, and of callers of each.
const CLIENTS: usize = 3;
const CALLERS: usize = 4;

/// How long a state may take to be reached at the start and at the end. Only a hang reaches it.
const SETTLE: Duration = Duration::from_secs(30);

/// Runs a cluster of processes, and lets them fail.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The duration in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The number of nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=20))]
    nodes: u64,
    /// The number of NATS servers: 1, or 3, of which each can fail.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3))]
    servers: u64,
    /// The random seed; the same seed makes the same choices.
    #[arg(long)]
    seed: Option<u64>,
}

/// The cluster and what happened in it.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) clients: Vec<Client>,
    pub(crate) faults: Faults,
    pub(crate) revisions: Revisions,
    pub(crate) log: Arc<GuestLog>,
    pub(crate) node_count: usize,
    next: AtomicU64,
    has_ended: AtomicBool,
    calls: Mutex<Calls>,
    // In this order: nodes and servers end before their folder is removed.
    nodes: Mutex<Nodes>,
    servers: Mutex<Servers>,
    _folder: TempDir,
}

/// The numbers of calls whose starts are checked at the end.
#[derive(Debug, Default)]
struct Calls {
    once: Vec<u64>,
    not_started: Vec<u64>,
}

impl Scene {
    pub(crate) fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn any_node(&self, random: &mut SmallRng) -> usize {
        random.random_range(0..self.node_count)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn started_once(&self, number: u64) {
        self.calls().once.push(number);
    }

    pub(crate) fn not_started(&self, number: u64) {
        self.calls().not_started.push(number);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn pause(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// How often each kind of call had each outcome, how often the revisions were changed, and how late callers learned of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    calls: BTreeMap<(Kind, &'static str), u64>,
    changes: BTreeMap<&'static str, u64>,
    /// Without and with a failed NATS server.
    stalest: [Duration; 2],
}

impl Tally {
    pub(crate) fn count(&mut self, kind: Kind, outcome: &'static str) {
        *self.calls.entry((kind, outcome)).or_default() += 1;
    }

    pub(crate) fn staleness(&mut self, staleness: Duration, has_server_failed: bool) {
        let stalest = &mut self.stalest[usize::from(has_server_failed)];
        *stalest = staleness.max(*stalest);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (key, count) in &other.calls {
            *self.calls.entry(*key).or_default() += count;
        }
        for (change, count) in &other.changes {
            *self.changes.entry(change).or_default() += count;
        }
        for (stalest, other) in self.stalest.iter_mut().zip(other.stalest) {
            *stalest = other.max(*stalest);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} calls", self.calls.values().sum::<u64>())?;
        for ((kind, outcome), count) in &self.calls {
            writeln!(f, "{count:>10}  {:<8} {outcome}", kind.as_str())?;
        }
        for (change, count) in &self.changes {
            writeln!(f, "{count:>10}  revisions: {change}")?;
        }
        let [usually, after_server] = self.stalest;
        write!(
            f,
            "answers of a revision that was superseded before the call: up to {usually:.0?} before, {after_server:.0?} while a NATS server failed"
        )
    }
}

/// Runs it, and checks the invariants.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("soak of a cluster, {} s, seed {seed}", arguments.seconds);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let scene = Arc::new(start(arguments).await?);
        callers::prove_late_starts(&scene).await?;
        let caused = cause(&scene, seed, arguments.seconds).await;
        if caused.is_err() {
            eprint!("{}", scene.faults.recent());
            eprintln!("{:#?}", scene.clients[0].information());
        }
        let tally = caused?;
        println!("{tally}");
        for (fault, count) in scene.faults.counts() {
            println!("{count:>10}  {}", fault.as_str());
        }
        check_end(&scene).await
    })?;
    println!("all invariants hold");
    Ok(())
}

/// Asks until the answer is without an error.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + SETTLE;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("not within {SETTLE:?}: {what}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Starts the servers and the nodes, activates the first revision, and connects the clients.
async fn start(arguments: &Arguments) -> Result<Scene> {
    let (node_count, servers) =
        (usize::try_from(arguments.nodes)?, usize::try_from(arguments.servers)?);
    ensure!(servers != 2, "two NATS servers cannot agree when one fails: use 1 or 3");
    let folder = tempfile::tempdir()?;
    let servers = Servers::start(servers, folder.path())?;
    let mut options = ClusterOptions::new(servers.urls());
    options.replicas = servers.count();
    let registry = eventually("the NATS servers store the registry", async || {
        let connection = Connection::open(options.clone(), "soak deployer").await?;
        let registry = Registry::new(connection);
        registry.create().await?;
        Ok(registry)
    })
    .await?;
    let log = Arc::new(GuestLog::default());
    let nodes = Nodes::start(node_count, folder.path(), servers.urls(), &log)?;
    let revisions = Revisions::new(registry);
    revisions.deploy(Quorum::All).await?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect(options.clone()).await?);
    }
    let scene = Scene {
        clients,
        faults: Faults::default(),
        revisions,
        log,
        node_count,
        next: AtomicU64::new(1),
        has_ended: AtomicBool::new(false),
        calls: Mutex::default(),
        nodes: Mutex::new(nodes),
        servers: Mutex::new(servers),
        _folder: folder,
    };
    healed(&scene, "the start").await?;
    Ok(scene)
}

/// Calls, changes and failures, each in a task of its own.
async fn cause(scene: &Arc<Scene>, seed: u64, seconds: u64) -> Result<Tally> {
    let mut seeds = SmallRng::seed_from_u64(seed);
    let mut random = || SmallRng::seed_from_u64(seeds.random());
    let mut tasks: JoinSet<Result<Tally>> = JoinSet::new();
    for number in 0..CLIENTS * CALLERS {
        let client = scene.clients[number % CLIENTS].clone();
        tasks.spawn(callers::call_often(Arc::clone(scene), client, random()));
    }
    tasks.spawn(callers::overload(Arc::clone(scene), random()));
    let changing = ending(scene, change(scene, random()));
    let causing = ending(scene, faults::cause(Arc::clone(scene), random()));
    let bar = crate::progress_bar(seconds)?;
    let start = Instant::now();
    let running = async {
        let mut tally = Tally::default();
        let result = async {
            while start.elapsed() < Duration::from_secs(seconds) && !scene.has_ended() {
                bar.set_position(start.elapsed().as_secs());
                let next = tokio::time::timeout(Duration::from_millis(200), tasks.join_next());
                if let Ok(Some(ended)) = next.await {
                    tally.add(&ended??);
                }
            }
            anyhow::Ok(())
        };
        let result = result.await;
        scene.end();
        result?;
        while let Some(ended) = tasks.join_next().await {
            tally.add(&ended??);
        }
        anyhow::Ok(tally)
    };
    let (tally, changed, caused) = tokio::join!(running, changing, causing);
    bar.finish_and_clear();
    let mut tally = tally?;
    caused?;
    tally.add(&changed?);
    Ok(tally)
}

/// Ends the run if this fails.
async fn ending<T>(scene: &Scene, running: impl Future<Output = Result<T>>) -> Result<T> {
    let result = running.await;
    if result.is_err() {
        scene.end();
    }
    result
}

/// Changes the revision from time to time.
async fn change(scene: &Scene, mut random: SmallRng) -> Result<Tally> {
    let mut tally = Tally::default();
    while !scene.has_ended() {
        let changed = scene.revisions.change(&mut random, scene.node_count).await?;
        *tally.changes.entry(changed).or_default() += 1;
        scene.pause(random.random_range(100..2000)).await;
    }
    Ok(tally)
}

/// Checks what must be true after the run.
async fn check_end(scene: &Scene) -> Result<()> {
    healed(scene, "the end").await?;
    eventually("every node is ready for a revision", async || {
        Ok(scene.revisions.deploy(Quorum::All).await?)
    })
    .await?;
    let active = scene.revisions.registry().active().await?.context("nothing is active")?.revision;
    eventually("every node and client has the active revision", async || {
        for client in &scene.clients {
            let cluster = client.information();
            let has_it = |revision| revision == Some(active);
            ensure!(
                has_it(cluster.active_revision)
                    && cluster.nodes.iter().all(|node| has_it(node.revision)),
                "revision {active} is active: {cluster:#?}"
            );
            ensure!(client.pending_calls() == 0, "{} calls wait", client.pending_calls());
            let busy = cluster.nodes.iter().find(|node| node.calls_in_flight > 0);
            ensure!(busy.is_none(), "calls are in flight: {busy:#?}");
        }
        Ok(())
    })
    .await?;
    for client in &scene.clients {
        let (value, expected) = (callers::last(scene, client).await?, scene.revisions.last_value());
        ensure!(value == Some(expected), "{value:?} was returned, not {expected}");
    }
    let urls = scene.servers().urls().to_owned();
    // A node that has ended leaves the results that their callers did not read. Arguments can arrive after they were deleted if a server
    // failed meanwhile.
    let ended = scene.faults.count(Fault::Killed) + scene.faults.count(Fault::Drained);
    let server_failures = scene.faults.count(Fault::Server);
    let stored = eventually("no large argument or result is stored", async || {
        let stored = stored_payloads(&urls).await?;
        let results = stored.iter().filter(|name| name.ends_with(".result")).count();
        let arguments = stored.len() - results;
        ensure!(results <= ended * nodes::CALLS && arguments <= server_failures, "{stored:?}");
        Ok(stored.len())
    })
    .await?;
    println!("{stored} large arguments and results are left for the servers to delete");
    scene.nodes().end()?;
    let calls = scene.calls();
    scene.log.check_starts("which is not pure", 1, &calls.once)?;
    scene.log.check_starts("whose error states that it did not start", 0, &calls.not_started)?;
    let (starts, late) = scene.log.counts();
    println!("{starts} starts, {} refused calls that did not start", calls.not_started.len());
    // The call that proves that late starts are noticed, and one for each worker of a node that was stopped: the process may have been
    // stopped between its last look at the clock and the guest's first instruction.
    let stops = scene.faults.count(Fault::Stopped);
    ensure!(late <= 1 + stops * nodes::WORKERS, "{late} guests started after their deadline");
    println!("{} guests started after their deadline, in {stops} stops of a node", late - 1);
    Ok(())
}

/// The store of large arguments and results.
async fn payloads(urls: &str) -> Result<ObjectStore> {
    let servers: Vec<&str> = urls.split(',').collect();
    let client = async_nats::connect(servers).await?;
    Ok(async_nats::jetstream::new(client).get_object_store("wpc_payloads").await?)
}

/// Waits until large arguments can be stored.
async fn stores_payloads(scene: &Scene) -> Result<()> {
    const PROBE: &str = "probe";
    let urls = scene.servers().urls().to_owned();
    eventually("large arguments can be stored", async || {
        let store = payloads(&urls).await?;
        store.put(PROBE, &mut PROBE.as_bytes()).await?;
        Ok(store.delete(PROBE).await?)
    })
    .await
}

/// The names of the stored arguments and results.
async fn stored_payloads(urls: &str) -> Result<Vec<String>> {
    let mut objects = payloads(urls).await?.list().await?;
    let mut names = Vec::new();
    while let Some(object) = objects.next().await {
        names.push(object?.name);
    }
    Ok(names)
}
