//! Server processes that answer `POST /v1/functions/add/call` with `[40,2]`.

use crate::guests::{Guests, here};
use crate::http::SERVERS;
use crate::{extism, guests};
use anyhow::{Context as _, Result, bail};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use wpc_host::{Options, WasmModule, WorkerProcedureCall};
use wpc_server::{Application, Server};

/// The subcommand of a server process.
pub(crate) const SUBCOMMAND: &str = "serve";

pub(crate) const WPC: &str = "wpc";
pub(crate) const AXUM: &str = "axum alone";
pub(crate) const EXTISM: &str = "Extism behind axum";
/// As `wpc serve` has by default: a plug-in that loops neither runs for ever nor delays other connections.
pub(crate) const EXTISM_LIMITED: &str =
    "Extism behind axum, with a time limit, on blocking threads";
/// As `wasmtime serve` has: no call can observe what another one left in memory.
pub(crate) const WPC_FRESH: &str = "wpc, a sandbox for each call";
pub(crate) const EXTISM_FRESH: &str = "Extism behind axum, a plug-in for each call";
pub(crate) const WASMTIME: &str = "wasmtime serve";

/// The workers or plug-ins, and the threads for HTTP where they run the guests too.
const THREADS: usize = 2;

/// The default time limit of a call in wpc.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// A running server process, which is killed when this is dropped.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The version of the command `wasmtime`, if it is installed.
pub(crate) fn wasmtime_version() -> Option<String> {
    let output = Command::new("wasmtime").arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    version.split_whitespace().nth(1).map(str::to_owned)
}

impl Serving {
    pub(crate) fn start(series: &str) -> Result<Self> {
        if series == WASMTIME { Self::start_wasmtime() } else { Self::start_own(series) }
    }

    fn start_own(series: &str) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([SUBCOMMAND, series])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().context("stdout should be piped")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("{series} did not start"))?;
        Ok(Self { address, process })
    }

    /// With the defaults of the command, except for its log of each request's output.
    fn start_wasmtime() -> Result<Self> {
        // The port is free again when the listener is dropped; the command cannot report one that it chose.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new("wasmtime")
            .args(["serve", "--addr", &address.to_string()])
            .arg(component()?)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let serving = Self { address, process };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("`wasmtime serve` did not start");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(serving)
    }
}

/// The file of the component that `wasmtime serve` runs.
fn component() -> Result<PathBuf> {
    let module = Guests::read()?.hello;
    let component = wit_component::ComponentEncoder::default().module(&module)?.encode()?;
    let path = here().join("guests/target").join(guests::TARGET).join("hello.component.wasm");
    std::fs::write(&path, component)?;
    Ok(path)
}

/// The child process: serves until it is killed.
pub(crate) fn run(series: &str) -> Result<()> {
    let guests = Guests::read()?;
    // As `wpc serve` has by default, because its workers run the guests.
    let is_own = [WPC, WPC_FRESH].contains(&series);
    let threads = if is_own { 1 } else { THREADS };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        if is_own {
            let wpc = WorkerProcedureCall::new(Options::default())?;
            let module = WasmModule::new(guests.wpc.as_slice());
            let module = if series == WPC_FRESH { module.isolate_calls() } else { module };
            wpc.define_worker_function("add", module)?;
            wpc.start_workers(THREADS)?;
            let server = Server::bind(any).await?;
            println!("{}", server.address());
            let application = Application::new(Arc::new(wpc));
            return Ok(server.serve(application, std::future::pending()).await?);
        }
        let path = "/v1/functions/{name}/call";
        let router = match series {
            AXUM => Router::new().route(path, post(echo)),
            EXTISM => {
                let plugins = extism::plugins(&extism::compile(&guests.extism)?, THREADS)?;
                Router::new().route(path, post(add)).with_state(plugins)
            }
            EXTISM_LIMITED => {
                let compiled = extism::compile_limited(&guests.extism, TIME_LIMIT)?;
                let plugins = extism::plugins(&compiled, THREADS)?;
                let state = Limited { plugins, free: Arc::new(Semaphore::new(THREADS)) };
                Router::new().route(path, post(add_limited)).with_state(state)
            }
            EXTISM_FRESH => {
                let compiled = extism::compile(&guests.extism)?;
                Router::new().route(path, post(add_fresh)).with_state(compiled)
            }
            other => bail!("unknown server {other:?}; there are {SERVERS:?}"),
        };
        let listener = tokio::net::TcpListener::bind(any).await?;
        println!("{}", listener.local_addr()?);
        Ok(axum::serve(listener, router).await?)
    })
}

async fn echo(Json(value): Json<Value>) -> Json<Value> {
    Json(value)
}

/// Calls the plug-in on the thread of the connection: there is a plug-in for each thread, so none waits, and the call is shorter than a
/// thread switch.
async fn add(
    State(plugins): State<::extism::Pool>,
    Json((a, b)): Json<(i32, i32)>,
) -> Result<Json<i32>, (StatusCode, String)> {
    response(extism::add(&plugins, a, b))
}

/// Plug-ins with a time limit.
#[derive(Clone)]
struct Limited {
    plugins: ::extism::Pool,
    /// Keeps requests from blocking more threads than there are plug-ins.
    free: Arc<Semaphore>,
}

/// As [`add`], on a thread that may block.
async fn add_limited(
    State(Limited { plugins, free }): State<Limited>,
    Json((a, b)): Json<(i32, i32)>,
) -> Result<Json<i32>, (StatusCode, String)> {
    let _free = free.acquire().await;
    let sum = tokio::task::spawn_blocking(move || extism::add(&plugins, a, b)).await;
    response(sum.map_err(anyhow::Error::from).flatten())
}

/// As [`add`], with a plug-in that was not used before.
async fn add_fresh(
    State(compiled): State<::extism::CompiledPlugin>,
    Json((a, b)): Json<(i32, i32)>,
) -> Result<Json<i32>, (StatusCode, String)> {
    response(extism::add_fresh(&compiled, a, b))
}

fn response(sum: Result<i32>) -> Result<Json<i32>, (StatusCode, String)> {
    sum.map(Json).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
