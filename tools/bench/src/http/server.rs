//! Server processes: wpc, and the baseline, a handler of the same framework without a sandbox.

use crate::workspace;
use anyhow::{Context as _, Result, anyhow};
use axum::Json;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use tokio::net::TcpListener;
use wpc_deploy::Setup;
use wpc_host::{Options, WorkerProcedureCall};
use wpc_server::{Application, Deployments, Server, Store};

/// The subcommand of a server process, before the name of the server.
pub(crate) const SERVE: &str = "serve";

/// A server to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Contestant {
    /// A server of this project with two workers.
    Wpc,
    /// The same, with an empty data folder.
    Deployed,
    /// A handler that parses JSON and returns it. It has two threads, as many as there are cores.
    Bare,
}

/// A running server process. It ends when this is dropped, because its standard input is closed.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    process: Child,
    input: Option<ChildStdin>,
}

impl Serving {
    pub(crate) fn start(contestant: Contestant) -> Result<Self> {
        let name = match contestant {
            Contestant::Wpc => "wpc",
            Contestant::Deployed => "deployed",
            Contestant::Bare => "bare",
        };
        let mut process = Command::new(std::env::current_exe()?)
            .args([SERVE, name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start a server")?;
        let mut line = String::new();
        let output = process.stdout.take().context("the server has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let input = process.stdin.take();
        Ok(Self { address: line.trim().parse()?, process, input })
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}

/// Serves until standard input ends.
pub(crate) fn serve(contestant: Contestant) -> Result<()> {
    let threads = match contestant {
        // As `wpc serve` has by default.
        Contestant::Wpc | Contestant::Deployed => 1,
        Contestant::Bare => 2,
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(threads).enable_all();
    if contestant != Contestant::Bare {
        // As `wpc serve` does.
        runtime.global_queue_interval(8);
    }
    let runtime = runtime.build()?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let data = tempfile::tempdir()?;
    match contestant {
        Contestant::Bare => {
            let listener = runtime.block_on(TcpListener::bind(any))?;
            println!("{}", listener.local_addr()?);
            let router = axum::Router::new()
                .route("/v1/functions/{name}/call", post(echo))
                .layer(DefaultBodyLimit::max(16 << 20));
            runtime.spawn(async { axum::serve(listener, router).await });
        }
        Contestant::Wpc => {
            let wpc = WorkerProcedureCall::new(Options::default())?;
            let sdk = std::fs::read(workspace::root()?.join("fixtures/wasm/sdk.wasm"))?;
            for function in ["add", "join"] {
                wpc.define_worker_function(function, sdk.as_slice())?;
            }
            wpc.start_workers(2)?;
            let server = runtime.block_on(Server::bind(any))?;
            println!("{}", server.address());
            let application = Application::new(Arc::new(wpc));
            runtime.spawn(server.serve(application, std::future::pending()));
        }
        Contestant::Deployed => {
            let store = Store::open(data.path())?;
            let cache = Some(data.path().join("cache"));
            let deployments = Deployments::open(store, Setup::new(), cache)
                .map_err(|refusal| anyhow!("failed to open the data folder: {refusal:?}"))?;
            let pool = deployments.pool().clone();
            pool.start_workers(2)?;
            let server = runtime.block_on(Server::bind(any))?;
            println!("{}", server.address());
            let application = Application::builder(Arc::new(pool)).deployments(deployments);
            runtime.spawn(server.serve(application.build(), std::future::pending()));
        }
    }
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    runtime.shutdown_background();
    drop(data);
    Ok(())
}

async fn echo(Json(value): Json<Value>) -> Json<Value> {
    Json(value)
}
