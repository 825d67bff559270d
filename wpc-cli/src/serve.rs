//! `wpc serve`: serves the pool of a manifest over HTTP.

use crate::access_options::AccessOptions;
use crate::cache::Cache;
use crate::event_log::{self, Level};
use crate::failure::Failure;
use crate::lines::report_stop;
use crate::run::{RELOAD_WAIT, write_reload};
use crate::signals::Signals;
use serde_json::json;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use wpc_deploy::{Deployment, Reload, Reloader, Source, Watch};
use wpc_server::{Application, Server};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The manifest, or its folder. Without it, `wpc.toml` is served if it exists, and otherwise nothing is defined.
    manifest: Option<PathBuf>,
    /// Address and port to listen on; port 0 chooses a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7071")]
    listen: SocketAddr,
    /// Watch the manifest and the files that it names, and apply changes. If a change is rejected, the previous
    /// definition stays active.
    #[arg(long)]
    watch: bool,
    /// Minimum severity of the log lines and events that are written to standard error.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Info)]
    log_level: Level,
    #[command(flatten)]
    access: AccessOptions,
}

pub(crate) const HELP: &str = "\
Examples:
  wpc serve
  wpc serve shop/wpc.toml --listen 127.0.0.1:8000 --watch
  curl http://127.0.0.1:7071/v1/functions/greet/call -d '[\"Ada\"]' -H 'content-type: application/json'

After SIGINT or SIGTERM the server reports that it is not ready, serves for the time of `--grace`, and then finishes the
requests in progress; their calls are interrupted after the pool's `stop_timeout`. A second such signal ends the process at
once with exit code 130.

See docs/server.md for the interface for clients.";

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    // A capacity of one, because a pending request covers any further ones.
    let (reload_request, requests) = sync_channel(1);
    // Before anything that takes time, because SIGHUP would end the process otherwise.
    let mut signals = Signals::handle(reload_request.clone())?;
    let path = arguments.manifest.clone().unwrap_or_else(|| wpc_deploy::MANIFEST_NAME.into());
    let source = if arguments.manifest.is_none() && !path.exists() {
        Source::new(path.clone(), String::new())
    } else {
        Source::read(&path)?
    };
    let manifest = source.parse()?;
    let watch = if arguments.watch {
        Watch::with_requests(&source, &manifest, reload_request, requests)?
    } else {
        Watch::only_requests(reload_request, requests)
    };
    let setup = cache.setup()?.on_event(event_log::lines(as_json, arguments.log_level));
    let deployment = Deployment::open(&source, &manifest, setup)?;
    let wpc = deployment.pool().clone();
    // For the histograms of the metrics; it costs two readings of the clock per call.
    wpc.collect_latencies(true);
    let stop_timeout = deployment.stop_timeout();
    wpc.start_workers(deployment.workers())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("wpc-http")
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(format!("failed to start the server: {error}")))?;
    let failed = |error: wpc_server::ServerError| Failure::environment(error.to_string());
    let server = runtime.block_on(Server::bind(arguments.listen)).map_err(failed)?;
    signals.ready();
    report_ready(&server, as_json);
    let report = move |reload: &Reload| write_reload(reload, &path, as_json);
    let following = Reloader::new(deployment, source.path).follow(watch, report)?;
    let application =
        Application::builder(Arc::new(wpc.clone())).access(&arguments.access.settings()).build();
    let pool = wpc.clone();
    let server = server.grace(arguments.access.grace).finish(async move {
        // Calls in progress finish within the stop timeout.
        let _ = pool.stop_workers_async().await;
    });
    let stop = async move {
        signals.first().await;
        report_stop(stop_timeout, as_json);
    };
    let served = runtime.block_on(server.serve(application, stop)).map_err(failed);
    wpc.stop_workers();
    following.stop(RELOAD_WAIT);
    served
}

/// Reports that the server accepts connections.
fn report_ready(server: &Server, as_json: bool) {
    let address = server.address();
    let line = if as_json {
        let time = event_log::time(std::time::SystemTime::now());
        json!({ "event": "ready", "time": time, "url": format!("http://{address}") }).to_string()
    } else {
        format!("ready: http://{address}")
    };
    // The reader of standard error may be gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}
