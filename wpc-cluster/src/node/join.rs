//! How a process becomes a node.

use super::sync::{Folder, Sync};
use super::{Node, NodeOptions, Serving, namesake};
use crate::client::Client;
use crate::connection::Connection;
use crate::error::Error;
use crate::options::ClusterOptions;
use crate::registry::{Known, Registry};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wpc_deploy::Deployment;
use wpc_host::Backend;

/// How long a node waits for the registry before it reports itself without functions.
const SETTLE: Duration = Duration::from_secs(10);

impl Node {
    /// Joins a cluster: the pool of `deployment` runs what the registry states, and this process answers calls from others. The deployment
    /// must have no items, read its modules [by content](wpc_deploy::Setup::modules_by_content), and its workers must run. `backend` runs
    /// the calls: the deployment's pool, or what observes it. Must be called within a tokio runtime.
    ///
    /// If NATS cannot be reached, the node joins later. Until then, a node with a folder runs the revision that it ran last.
    ///
    /// ```no_run
    /// use wpc_cluster::{ClusterOptions, Node, NodeOptions};
    /// use wpc_deploy::{Deployment, Setup, Source};
    ///
    /// # async fn join() -> Result<(), Box<dyn std::error::Error>> {
    /// let source = Source::new("wpc.toml".into(), "[pool]\nworkers = 2\n".to_owned());
    /// let setup = Setup::new().modules_by_content();
    /// let deployment = Deployment::open(&source, &source.parse()?, setup)?;
    /// let pool = deployment.pool().clone();
    /// pool.start_workers(deployment.workers())?;
    /// let options = NodeOptions::new("north".parse()?);
    /// let cluster = ClusterOptions::new("nats://127.0.0.1:4222");
    /// let node = Node::join(options, cluster, deployment, std::sync::Arc::new(pool)).await?;
    /// // Calls of the whole cluster, for example for a server.
    /// let backend = node.backend();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Options`], [`Error::Connect`] if the server refuses the credentials, [`Error::NameInUse`] if a node with this name reports
    /// itself, and [`Error::File`] if the folder cannot be used.
    pub async fn join(
        options: NodeOptions,
        cluster: ClusterOptions,
        deployment: Deployment,
        backend: Arc<dyn Backend>,
    ) -> Result<Self, Error> {
        let folder = open_folder(options.folder.as_ref())?;
        let (name, keep) = (options.name.clone(), options.keep_revisions);
        let connection = Connection::open_later(cluster, &format!("wpc node {name}")).await?;
        let registry = Registry::new(connection.clone());
        let following = registry.follow_since(Known::of(folder.active(&registry).as_ref()));
        let functions = following.shared();
        let client = Client::start(connection, functions, Some(following)).await?;
        let (serving, workers) = (Serving::default(), deployment.workers());
        let node = Self::create(options, backend, workers, client, serving.clone());
        let epoch = node.0.epoch;
        let sync = Sync::start(name.clone(), epoch, registry, deployment, folder, keep, serving);
        // Without an answer in this time, the node serves nothing yet, and reports why.
        let settled = tokio::time::timeout(SETTLE, async {
            tokio::select! {
                () = sync.settled() => Ok(()),
                error = node.0.connection.refused() => Err(error),
            }
        });
        let (is_in_use, settled) = tokio::join!(namesake::is_in_use(&node.0), settled);
        if let Ok(Err(error)) = settled {
            return Err(error);
        }
        if is_in_use? {
            return Err(Error::NameInUse(name));
        }
        node.follow(sync).await?;
        // The server has reported by then what it does not permit of this. The event may be handled later, and is logged then.
        if node.0.connection.is_up() {
            node.0.connection.fence().await;
        }
        Ok(node)
    }
}

fn open_folder(path: Option<&PathBuf>) -> Result<Folder, Error> {
    match path {
        Some(path) => Folder::open(path),
        None => Folder::temporary(),
    }
}
