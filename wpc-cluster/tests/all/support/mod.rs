//! Parts of the tests: NATS servers, clusters of three of them, and links that fail.
//!
//! ```ignore
//! #[tokio::test(flavor = "multi_thread")]
//! async fn a_sentence() {
//!     let Some(server) = NatsServer::start() else { return };
//!     let connection = Connection::open(server.options(), "test").await.unwrap();
//! }
//! ```
//!
//! Without a `nats-server`, tests print that they are skipped, or fail if `WPC_REQUIRE_NATS` is set.

#![allow(dead_code, reason = "what tests may need, not what they need today")]

pub(crate) mod certificates;
pub(crate) mod fault_proxy;
pub(crate) mod nats_cluster;
pub(crate) mod nats_server;

pub(crate) use fault_proxy::FaultProxy;
pub(crate) use nats_cluster::NatsCluster;
pub(crate) use nats_server::NatsServer;

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use wpc_cluster::{ClusterOptions, Error, Node, NodeOptions};
use wpc_deploy::{Deployment, Setup, Source};

/// How long a test waits for something that must happen. Long, because the machine may be busy; a test that waits this long has
/// failed.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The output of a future that must end.
///
/// # Panics
///
/// With `what` if it does not end.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIME_LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("did not happen within {TIME_LIMIT:?}: {what}"),
    }
}

/// Asks until the answer is `Some`. For states that cannot be awaited; where there is an event, wait for that.
///
/// # Panics
///
/// With `what` if that does not happen.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Options of a connection to these servers, without credentials. Other programs may keep this process from running for seconds, which
/// must not make its nodes lost or its connections fail.
pub(crate) fn options(servers: &str) -> ClusterOptions {
    let mut options = ClusterOptions::new(servers);
    options.heartbeat_interval = Duration::from_secs(1);
    options.connect_timeout = Duration::from_secs(30);
    options
}

/// A free port that no other process gets by chance: it is below those from which the system chooses.
pub(crate) fn free_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let offset = std::process::id().wrapping_mul(16).wrapping_add(count) % 10_000;
        let port = 20_000 + u16::try_from(offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A node with two workers and no functions that joins with these options.
pub(crate) async fn join(name: &str, options: ClusterOptions) -> Node {
    join_with(NodeOptions::new(name.parse().unwrap()), options).await
}

/// The same, with these options of the node.
pub(crate) async fn join_with(node: NodeOptions, options: ClusterOptions) -> Node {
    try_join(node, options).await.unwrap()
}

/// The same, or why the node does not join.
pub(crate) async fn try_join(node: NodeOptions, options: ClusterOptions) -> Result<Node, Error> {
    let source = Source::new("wpc.toml".into(), "[pool]\nworkers = 2\n".to_owned());
    let setup = Setup::new().modules_by_content();
    let deployment = Deployment::open(&source, &source.parse().unwrap(), setup).unwrap();
    let pool = deployment.pool().clone();
    pool.start_workers(deployment.workers()).unwrap();
    Node::join(node, options, deployment, Arc::new(pool)).await
}
