//! Clusters of up to 100 nodes with 10,000 functions. Their costs are inputs: how long calls take, and how long messages are on
//! their way.

use super::backend::{Log, Pool, WORKERS};
use super::{definition, index};
use crate::client::Client;
use crate::connection::Connection;
use crate::connection::bus::Bus;
use crate::node::{Node, NodeOptions, Served, ServedFunction, Serving};
use crate::options::ClusterOptions;
use crate::snapshot::Snapshot;
use arc_swap::ArcSwap;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use wpc_deploy::DeployedFunction;
use wpc_host::{
    CallArguments, CallOptions, FunctionHash, FunctionInformation, ReplyFormat, Sha256Hash,
};

const FUNCTIONS: u64 = 10_000;
const CLIENTS: usize = 20;
/// How long a call takes on average. It takes from 0 to twice as long.
const SERVICE: Duration = Duration::from_millis(10);
const MAX_SERVICE_US: u64 = 20_000;
const LIMIT: Duration = Duration::from_millis(400);

/// The results of a load.
#[derive(Debug)]
struct Figures {
    /// Answers within their time limit, as a share of what all workers could give.
    goodput: f64,
    /// Calls that were refused, as a share of all.
    refused: f64,
    p50: Duration,
    p99: Duration,
    /// The calls of the node with the most, in relation to the average.
    most: f64,
}

fn name(function: u64) -> String {
    format!("f{function}")
}

fn functions() -> Vec<DeployedFunction> {
    let hash = FunctionHash::of(b"");
    let function = |number| {
        let information = FunctionInformation::new(name(number), hash);
        DeployedFunction::new(information, definition(number))
    };
    (0..FUNCTIONS).map(function).collect()
}

async fn join(bus: &Bus, number: usize, functions: &Arc<ArcSwap<Snapshot>>) -> Node {
    let mut options = ClusterOptions::new("bus");
    options.heartbeat_interval = Duration::from_millis(300);
    let connection = Connection::simulated(bus.port(), options);
    let client = Client::start(connection, Arc::clone(functions), None).await.unwrap();
    let serving = Serving::default();
    serving.change(|served| {
        let of = |function: &Arc<DeployedFunction>| {
            let name = function.information.name.clone();
            let definition = function.definition;
            (name, ServedFunction { definition, can_suspend: false, is_metered: false })
        };
        *served = Served {
            revision: Some(1),
            index: index(1),
            functions: functions.load().functions.values().map(of).collect(),
        };
    });
    let pool = Pool::new(Log::default(), Arc::new(Mutex::new(1)));
    let options = NodeOptions::new(format!("n{number}").parse().unwrap());
    let node = Node::create(options, Arc::new(pool), WORKERS, client, serving);
    node.start().await.unwrap();
    node
}

/// Calls arrive at random, at `load` times what all workers can take, for 400 ms.
async fn measure(number_of_nodes: usize, load: f64, seed: u64) -> Figures {
    let bus = Bus::new(seed);
    let snapshot = Snapshot::new(1, index(1), functions());
    let shared = Arc::new(ArcSwap::from_pointee(snapshot));
    let mut nodes = Vec::new();
    for number in 0..number_of_nodes {
        nodes.push(join(&bus, number, &shared).await);
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let connection = Connection::simulated(bus.port(), ClusterOptions::new("bus"));
        clients.push(Client::start(connection, Arc::clone(&shared), None).await.unwrap());
    }
    sleep(Duration::from_millis(50)).await;
    let mut random = StdRng::seed_from_u64(seed);
    let capacity = (number_of_nodes * WORKERS) as f64 / SERVICE.as_secs_f64();
    let (start, time) = (Instant::now(), Duration::from_millis(400));
    let (mut at, mut calls) = (start, Vec::new());
    while at < start + time {
        // The time between arrivals of a Poisson process.
        let uniform: f64 = random.random();
        at += Duration::from_secs_f64(-(1.0 - uniform).ln() / (capacity * load));
        sleep_until(at).await;
        let client = clients[random.random_range(0..CLIENTS)].clone();
        let function = name(random.random_range(0..FUNCTIONS));
        let duration = random.random_range(0..MAX_SERVICE_US);
        calls.push(tokio::spawn(async move {
            let arguments = CallArguments::Positional(vec![0.into(), duration.into()]);
            let options = CallOptions::new().timeout(LIMIT);
            let sent = Instant::now();
            let call = client.submit(&function, arguments, ReplyFormat::Json, &options);
            call.unwrap().await.map(|_| sent.elapsed())
        }));
    }
    let (all, mut latencies) = (calls.len(), Vec::new());
    for call in calls {
        if let Ok(latency) = call.await.unwrap() {
            latencies.push(latency);
        }
    }
    latencies.sort_unstable();
    let accepted: Vec<_> = nodes.iter().map(Node::calls_accepted).collect();
    let average = accepted.iter().sum::<u64>() as f64 / number_of_nodes as f64;
    Figures {
        goodput: latencies.len() as f64 / (capacity * time.as_secs_f64()),
        refused: 1.0 - latencies.len() as f64 / all as f64,
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
        most: *accepted.iter().max().unwrap() as f64 / average,
    }
}

fn simulate(nodes: usize, load: f64) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let figures = runtime.block_on(measure(nodes, load, 7));
    println!("{nodes} nodes, load {load}: {figures:?}");
    figures
}

#[test]
fn nodes_share_their_load() {
    let figures = simulate(20, 0.7);
    assert!(figures.refused < 0.01, "{figures:?}");
    assert!(figures.most < 1.6, "{figures:?}");
    assert!(figures.p50 < SERVICE * 3 && figures.p99 < SERVICE * 8, "{figures:?}");
}

#[test]
fn nodes_stay_useful_under_five_times_their_load() {
    let figures = simulate(5, 5.0);
    assert!(figures.goodput > 0.8, "{figures:?}");
    assert!(figures.p99 < LIMIT, "{figures:?}");
}

/// For the figures of `docs/cluster.md`.
#[test]
#[ignore = "it takes minutes"]
fn a_hundred_nodes() {
    for load in [0.5, 0.7, 0.9, 5.0] {
        simulate(100, load);
    }
}

#[test]
fn all_definitions_differ() {
    let hashes: std::collections::HashSet<Sha256Hash> =
        functions().into_iter().map(|function| function.definition).collect();
    assert_eq!(hashes.len() as u64, FUNCTIONS);
}
