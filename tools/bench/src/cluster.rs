//! A cluster of one node in this process, and a NATS server, which is a process.

use crate::workspace;
use anyhow::Result;
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
use wpc_host::{Backend, Limits};

/// A node that runs an echo of bytes, a client of it, and the same without the functions: two connections to the server.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) runtime: Runtime,
    pub(crate) client: Client,
    pub(crate) node: Node,
    /// The pool of the node.
    pub(crate) pool: Arc<dyn Backend>,
    /// Requests to `bare.echo` are answered with their own content, on a connection of its own.
    pub(crate) bare: async_nats::Client,
    // In this order: the server ends before its folder is removed.
    _server: DevelopmentServer,
    _folder: TempDir,
}

/// The subject at which a bare responder returns what it gets.
pub(crate) const ECHO: &str = "bare.echo";

impl Cluster {
    /// Starts everything.
    pub(crate) fn start() -> Result<Self> {
        let echo = workspace::root()?.join("fixtures/wasm/size_echo.wasm");
        let folder = tempfile::tempdir()?;
        let server = DevelopmentServer::start_own(folder.path())?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let options = ClusterOptions::new(server.url());
        let (client, node, pool, bare) = runtime.block_on(async {
            let source = Source::new("wpc.toml".into(), "[pool]\nworkers = 1\n".to_owned());
            let setup = Setup::new().modules_by_content();
            let deployment =
                Deployment::open(&source, &source.parse().map_err(anyhow::Error::msg)?, setup)?;
            let pool = deployment.pool().clone();
            pool.start_workers(deployment.workers())?;
            let pool: Arc<dyn Backend> = Arc::new(pool);
            let mut own = NodeOptions::new("bench".parse()?);
            own.call_limit = Some(256);
            let node = Node::join(own, options.clone(), deployment, Arc::clone(&pool)).await?;
            deploy(&options, &echo).await?;
            let client = Client::connect(options).await?;
            while !client.information().nodes.iter().any(|node| node.revision.is_some()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let responder = async_nats::connect(server.url()).await?;
            tokio::spawn(respond(responder));
            let bare = async_nats::connect(server.url()).await?;
            anyhow::Ok((client, node, pool, bare))
        })?;
        Ok(Self { runtime, client, node, pool, bare, _server: server, _folder: folder })
    }
}

/// Returns to each request what it contains.
async fn respond(client: async_nats::Client) -> Result<()> {
    use futures::StreamExt as _;
    let mut requests = client.subscribe(ECHO).await?;
    while let Some(request) = requests.next().await {
        if let Some(reply) = request.reply {
            client.publish(reply, request.payload).await?;
        }
    }
    Ok(())
}

/// Deploys the function `echo`.
async fn deploy(options: &ClusterOptions, echo: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::copy(echo, folder.path().join("echo.wasm"))?;
    let text = "[functions.echo]\nfile = \"echo.wasm\"\n".to_owned();
    let source = Source::new(folder.path().join("wpc.toml"), text);
    let manifest = source.parse().map_err(anyhow::Error::msg)?;
    let packed =
        Packed::read(&source, &manifest).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let registry = Registry::new(Connection::open(options.clone(), "bench").await?);
    let revision = registry.stage(&packed, "bench", None).await?;
    let ready = registry.wait_ready(revision.number, Quorum::All, Limits::default().compile_time);
    registry.activate(&ready.await?, None, "bench").await?;
    Ok(())
}
