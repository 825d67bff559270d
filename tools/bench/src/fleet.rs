//! Clusters of several nodes in this process, each with a pool of its own, and a NATS server.

use crate::paced::Paced;
use anyhow::{Context as _, Result, anyhow};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wpc_cluster::{
    Client, ClusterOptions, Connection, DevelopmentServer, Node, NodeOptions, Quorum, Registry,
};
use wpc_deploy::document::Packed;
use wpc_deploy::{Deployment, Setup, Source};
use wpc_host::{
    Backend, CallArguments, CallOptions, Error, NodeState, ReplyFormat, ReplyValue,
    WorkerProcedureCall,
};

/// A cluster.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) runtime: Runtime,
    options: ClusterOptions,
    registry: Registry,
    // In this order: the server ends before its folder is removed.
    _server: DevelopmentServer,
    folder: TempDir,
}

/// A node of a cluster. Its workers end when this is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: Node,
    pool: WorkerProcedureCall,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.pool.stop_workers();
    }
}

/// How long nodes may take to be ready for a revision.
const READY: Duration = Duration::from_secs(120);

impl Fleet {
    /// A cluster without nodes.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = DevelopmentServer::start_own(&folder.path().join("nats"))?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let options = ClusterOptions::new(server.url());
        let registry = runtime.block_on(async {
            let registry = Registry::new(Connection::open(options.clone(), "bench").await?);
            registry.create().await?;
            anyhow::Ok(registry)
        })?;
        Ok(Self { runtime, options, registry, _server: server, folder })
    }

    /// A node with one worker. It keeps its modules and compiled code in folders of this cluster.
    pub(crate) fn join(&self, name: &str) -> Result<Member> {
        self.join_with(NodeOptions::new(name.parse()?), None)
    }

    /// A node whose calls take this time, on this many workers, without occupying a processor: as if it were another machine.
    pub(crate) fn join_paced(&self, name: &str, workers: usize, time: Duration) -> Result<Member> {
        let mut options = NodeOptions::new(name.parse()?);
        options.call_limit = Some(workers * 3);
        self.join_with(options, Some((workers, time)))
    }

    fn join_with(
        &self,
        mut options: NodeOptions,
        paced: Option<(usize, Duration)>,
    ) -> Result<Member> {
        let folder = self.folder.path().join(options.name.as_str());
        options.folder = Some(folder.join("data"));
        let source = Source::new("wpc.toml".into(), "[pool]\nworkers = 1\n".to_owned());
        let setup = Setup::new().modules_by_content().compile_cache(Some(folder.join("cache")));
        let manifest = source.parse().map_err(anyhow::Error::msg)?;
        let deployment = Deployment::open(&source, &manifest, setup)?;
        let pool = deployment.pool().clone();
        pool.start_workers(deployment.workers())?;
        let backend: Arc<dyn Backend> = match paced {
            Some((workers, time)) => Arc::new(Paced::new(pool.clone(), workers, time)),
            None => Arc::new(pool.clone()),
        };
        let joining = Node::join(options, self.options.clone(), deployment, backend);
        Ok(Member { node: self.runtime.block_on(joining)?, pool })
    }

    /// Deploys a manifest with these files, and returns the number of the revision when all nodes run it.
    pub(crate) fn deploy(
        &self,
        manifest: &str,
        files: &[(String, Vec<u8>)],
        members: &[&Member],
    ) -> Result<u64> {
        let packed = packed(manifest, files)?;
        self.deploy_packed(&packed, members)
    }

    /// The same with files that were read before.
    pub(crate) fn deploy_packed(&self, packed: &Packed, members: &[&Member]) -> Result<u64> {
        self.runtime.block_on(async {
            let active = self.registry.active().await?.map(|active| active.revision);
            let revision = self.registry.stage(packed, "bench", None).await?;
            let ready = self.registry.wait_ready(revision.number, Quorum::All, READY).await?;
            self.registry.activate(&ready, active, "bench").await?;
            while members.iter().any(|member| member.node.revision() != Some(revision.number)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(revision.number)
        })
    }

    /// A client that knows this many nodes that run what is active.
    pub(crate) fn client(&self, nodes: usize) -> Result<Client> {
        self.runtime.block_on(async {
            let client = Client::connect(self.options.clone()).await?;
            let ready = |client: &Client| {
                let nodes = client.information().nodes;
                nodes.iter().filter(|node| node.state == NodeState::Ready).count()
            };
            tokio::time::timeout(READY, async {
                while ready(&client) < nodes {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await
            .context("the nodes are not ready")?;
            Ok(client)
        })
    }
}

/// A manifest with these files.
pub(crate) fn packed(manifest: &str, files: &[(String, Vec<u8>)]) -> Result<Packed> {
    let folder = tempfile::tempdir()?;
    for (name, bytes) in files {
        std::fs::write(Path::new(folder.path()).join(name), bytes)?;
    }
    let source = Source::new(folder.path().join("wpc.toml"), manifest.to_owned());
    let manifest = source.parse().map_err(anyhow::Error::msg)?;
    Packed::read(&source, &manifest).map_err(|problems| anyhow!("{problems:?}"))
}

/// A call with bytes, which the function returns.
pub(crate) async fn echo(
    client: &Client,
    function: &str,
    bytes: Vec<u8>,
    options: &CallOptions,
) -> std::result::Result<bool, Error> {
    let length = bytes.len();
    let arguments = CallArguments::Bytes(bytes);
    let reply = client.submit(function, arguments, ReplyFormat::Bytes, options)?.await?;
    Ok(matches!(reply.value, ReplyValue::Bytes(bytes) if bytes.len() == length))
}
