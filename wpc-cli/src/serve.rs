//! `wpc serve`: serves the pool of a manifest over HTTP.

use crate::access_options::AccessOptions;
use crate::cache::Cache;
#[cfg(feature = "cluster")]
use crate::cluster_log;
#[cfg(feature = "cluster")]
use crate::cluster_node::{Joining, NodeArguments, OwnSettings};
use crate::configuration;
use crate::connection_options::ConnectionOptions;
use crate::event_log::{self, Level};
use crate::failure::Failure;
use crate::json_lines::report_stop;
use crate::listen_options::{self, ListenOptions};
use crate::log_options::LogOptions;
use crate::log_writer::LogWriter;
use crate::option_values;
use crate::remedy::Interface;
use crate::run::{RELOAD_WAIT, problem_line, write_reload};
use crate::signals::Signals;
use crate::text::{count, escape};
use clap::FromArgMatches as _;
use serde_json::json;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use wpc_deploy::{Deployment, Following, Policy, Problem, Reload, Reloader, Setup, Source, Watch};
use wpc_host::{Backend, WorkerProcedureCall};
use wpc_server::{
    Application, Deployments, IdempotencyBounds, OpenTelemetry, Refusal, Server, ServerError,
    Settings, State, Store,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The manifest, or its folder. Without it, `wpc.toml` is served if it exists, and otherwise nothing is defined.
    #[arg(env = "WPC_MANIFEST")]
    manifest: Option<PathBuf>,
    /// Accept the header `Idempotency-Key`: a repeated request gets the first response, and the
    /// call is not run again.
    #[arg(long)]
    idempotency: bool,
    /// Watch the manifest and the files that it names, and apply changes. If a change is rejected, the previous
    /// definition stays active.
    #[arg(long)]
    watch: bool,
    /// Keep deployments, tokens and the audit log in this folder, and let clients deploy. The manifest is deployed at the
    /// start, and when it is reloaded, if it has changed since it was last deployed.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// With `--data`: allow deployments to use a folder or a secret of this machine. One of read=FOLDER, write=FOLDER,
    /// secret=env:NAME, secret=file:PATH; repeat it for more. Other grants are always allowed.
    #[arg(long, value_name = "GRANT", requires = "data")]
    allow: Vec<String>,
    /// With `--data`: the number of revisions that are kept. Older revisions are removed, except the active one and its
    /// predecessor. Modules that no revision needs are removed as well.
    #[arg(long, value_name = "N", default_value = "100", value_parser = option_values::at_least_one)]
    keep_revisions: NonZeroUsize,
    #[command(flatten)]
    listen: ListenOptions,
    #[command(flatten)]
    connections: ConnectionOptions,
    #[command(flatten)]
    log: LogOptions,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    node: NodeArguments,
    #[command(flatten)]
    access: AccessOptions,
}

/// Runs at each reload, after the manifest was applied, to read other files again.
type ReloadHook = Box<dyn Fn() -> Result<(), Failure> + Send>;

pub(crate) const HELP: &str = "\
Examples:
  wpc serve
  wpc serve shop/wpc.toml --listen 127.0.0.1:8000 --watch
  wpc serve --data /var/lib/wpc --allow read=/srv/photos --admin-listen unix:/run/wpc/admin.sock
  wpc serve --cluster nats://127.0.0.1:4222 --name north
  wpc serve --listen 0.0.0.0:7071 --tokens tokens.toml --tls-certificate server.pem --tls-key key.pem
  curl http://127.0.0.1:7071/v1/functions/greet/call -d '[\"Ada\"]' -H 'content-type: application/json'

After SIGINT or SIGTERM the server reports that it is not ready, serves for the duration of `--grace`, and then finishes
the requests in progress; their calls are interrupted after the pool's `stop_timeout`. A second such signal ends the process
at once with exit code 130.

An option such as `--log-level` can also be set by the environment variable `WPC_LOG_LEVEL`, or by the key `log_level` in
the table [server] of the manifest. The command line takes precedence over the environment, and the environment over the
table. SIGHUP reloads the manifest, but not the table [server].

See docs/server.md for the manual of the server.";

/// The arguments with the options of the manifest's table `[server]`. `command` is the whole command.
pub(crate) fn configured(first: Arguments, command: clap::Command) -> Result<Arguments, Failure> {
    let source = first.source()?;
    let table = source.parse()?.server;
    if table.is_empty() {
        return Ok(first);
    }
    let words = std::env::args_os();
    let matches = configuration::matches(command, "serve", &table, &source, words)?;
    Arguments::from_arg_matches(&matches).map_err(|error| Failure::usage(error.to_string()))
}

impl Arguments {
    fn path(&self) -> PathBuf {
        self.manifest.clone().unwrap_or_else(|| wpc_deploy::MANIFEST_NAME.into())
    }

    /// What deployments may use. A folder that does not exist may be created later.
    fn policy(&self, as_json: bool) -> Result<Policy, Failure> {
        // The command line is checked when it is parsed, but not the table [server].
        if !self.allow.is_empty() && self.data.is_none() {
            return Err(Failure::usage(
                "`allow` needs `data`: without a data folder, clients cannot deploy",
            ));
        }
        let policy = Policy::of(&self.allow).map_err(Failure::usage)?;
        for (item, path) in policy.missing() {
            let message = format!("`--allow {item}`: {} does not exist", path.display());
            report_problem(Level::Warn, "warning", &Problem::environment(message), as_json);
        }
        Ok(policy)
    }

    /// The failure to protect an address that other machines can reach.
    fn unprotected(&self, error: &ServerError) -> Failure {
        let ServerError::Open { address, .. } = error else {
            return Failure::environment(error.to_string());
        };
        let remedy = match &self.data {
            Some(data) => format!(
                "create one with `wpc token create --data {} --name NAME --scope admin`",
                data.display()
            ),
            None => "start the server with `--data FOLDER`, and create a token with `wpc token create --data FOLDER --name NAME --scope admin`; or with `--tokens FILE`, and `wpc token create --file FILE --name NAME --scope call`".to_owned(),
        };
        Failure::usage(format!(
            "{address} can be reached by other machines, and no token is required; {remedy}; or listen on 127.0.0.1, or add `--insecure`"
        ))
    }

    /// What joins the named cluster.
    #[cfg(feature = "cluster")]
    fn joining(&self, source: &Source, setup: Setup) -> Result<Deployed, Failure> {
        let data = (self.data.as_deref(), self.keep_revisions);
        let is_insecure = self.access.is_insecure();
        let joining = Joining::new(&self.node, data, is_insecure, source, setup);
        match joining.transpose()? {
            Some(joining) => {
                let deployment = Box::new(joining.deployment.clone());
                Ok(Deployed::Cluster(deployment, Some(Box::new(joining))))
            }
            None => Err(Failure::usage("no cluster is named; name one with `--cluster URL`")),
        }
    }

    /// The manifest; an empty one if none is named and this folder has none.
    fn source(&self) -> Result<Source, Failure> {
        let path = self.path();
        if self.manifest.is_none() && !path.exists() {
            return Ok(Source::new(path, String::new()));
        }
        Ok(Source::read(&path)?)
    }
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let as_json = arguments.log.is_json(as_json);
    let policy = arguments.policy(as_json)?;
    // A capacity of one, because a pending request covers any further ones.
    let (reload_request, requests) = sync_channel(1);
    // Before anything that takes time, because SIGHUP would end the process otherwise.
    let mut signals = Signals::handle(reload_request.clone())?;
    let (certificate, limits) = (arguments.listen.certificate()?, arguments.connections.limits()?);
    let exporter =
        OpenTelemetry::from_environment().map_err(|error| Failure::usage(error.to_string()))?;
    let (path, source) = (arguments.path(), arguments.source()?);
    let manifest = source.parse()?;
    let watch = if arguments.watch {
        Watch::with_requests(&source, &manifest, reload_request, requests)?
    } else {
        Watch::only_requests(reload_request, requests)
    };
    let setup = cache.setup()?.on_event(event_log::lines(as_json, arguments.log.level()));
    let store = arguments.data.as_deref().map(Store::open).transpose();
    let store = store.map_err(|error| Failure::environment(error.to_string()))?;
    let data = arguments.data.as_deref().zip(store.as_ref());
    let access = arguments.access.open(data)?;
    let reloaded = access.clone();
    let mut hooks: Vec<ReloadHook> = vec![Box::new(move || reloaded.reload())];
    if let Some(certificate) = certificate.clone() {
        hooks.push(Box::new(move || listen_options::reload(&certificate)));
    }
    let report = move |reload: &Reload| {
        write_reload(reload, &path, as_json);
        let failures = hooks.iter().filter_map(|hook| hook().err());
        failures.for_each(|failure| failure.write(as_json, Interface::MANIFEST));
    };
    let (log, writing) = LogWriter::start()?;
    let log = Arc::new(log);
    let mut deployed = match data {
        #[cfg(feature = "cluster")]
        _ if arguments.node.cluster.is_named() => {
            cluster_log::start(as_json, arguments.log.level(), &log);
            arguments.joining(&source, setup.policy(policy))?
        }
        Some((data, store)) => {
            let setup = setup.policy(policy);
            let deployed =
                Deployed::in_folder(data, store.clone(), &source, setup, cache, as_json)?;
            deployed.keep_revisions(arguments.keep_revisions, as_json);
            deployed
        }
        None => Deployed::Manifest(Box::new(Deployment::open(&source, &manifest, setup)?)),
    };
    let (wpc, workers, stop_timeout) = deployed.pool();
    // The histograms of the metrics need latencies, which cost two readings of the clock per call.
    wpc.collect_latencies(true);
    wpc.start_workers(workers)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // Answers of workers wake connections through the runtime's shared queue. By default it is polled about every 200 µs under load,
        // which would add to their latency.
        .global_queue_interval(8)
        .thread_name("wpc-http")
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(format!("failed to start the server: {error}")))?;
    let failed = |error: ServerError| Failure::environment(error.to_string());
    let server = runtime.block_on(arguments.listen.bind(certificate))?;
    let server = server.limits(limits);
    let backend: Arc<dyn Backend> = Arc::new(wpc.clone());
    let backend = match &exporter {
        Some(exporter) => exporter.observe(backend),
        None => backend,
    };
    #[cfg(feature = "cluster")]
    let (backend, joined) = match deployed.take_joining() {
        Some(joining) => {
            let joined = joining.join(&runtime, backend, as_json)?;
            (joined.node.backend(), Some(joined))
        }
        None => (backend, None),
    };
    let mut settings = Settings::default();
    arguments.connections.set(&mut settings);
    settings.idempotency = arguments.idempotency.then(IdempotencyBounds::default);
    let mut application = access.apply(Application::builder(backend).settings(settings));
    if let Deployed::Folder(deployments) = &deployed {
        application = application.deployments(deployments.clone());
    }
    let application = arguments.log.report(application, as_json, LogWriter::clone(&log)).build();
    server.check(&application).map_err(|error| arguments.unprotected(&error))?;
    signals.ready();
    let functions = wpc.get_remote_functions().len();
    report_ready(&server, functions, workers, as_json);
    if let Some(hint) = deployed.hint(&arguments.path()).filter(|_| functions == 0 && !as_json) {
        // The reader of standard error may be gone.
        let _ = writeln!(std::io::stderr(), "{}", escape(&hint));
    }
    let following = deployed.follow(source.path, watch, report)?;
    let pool = wpc.clone();
    #[cfg(feature = "cluster")]
    let node = joined.as_ref().map(|joined| joined.node.clone());
    let server = server.grace(arguments.access.grace).finish(async move {
        // Calls in progress finish within the stop timeout.
        #[cfg(feature = "cluster")]
        if let Some(node) = node {
            node.drain(stop_timeout).await;
        }
        let _ = pool.stop_workers_async().await;
    });
    let stop = async move {
        signals.first().await;
        report_stop(stop_timeout, as_json);
    };
    let served = runtime.block_on(server.serve(application, stop)).map_err(failed);
    wpc.stop_workers();
    following.stop(RELOAD_WAIT);
    if let Some(exporter) = exporter {
        exporter.shutdown();
    }
    drop(log);
    writing.finish();
    served
}

/// The source of the functions that a server serves.
enum Deployed {
    /// A manifest, which is read again at each reload.
    Manifest(Box<Deployment>),
    /// What clients deploy to a data folder.
    Folder(Deployments),
    /// The registry of a cluster, and what joins it: `Some` until the server has joined the cluster.
    #[cfg(feature = "cluster")]
    Cluster(Box<Deployment>, Option<Box<Joining>>),
}

impl Deployed {
    /// Opens the deployments of a data folder, and deploys the manifest to it.
    fn in_folder(
        data: &Path,
        store: Store,
        source: &Source,
        setup: Setup,
        cache: &Cache,
        as_json: bool,
    ) -> Result<Self, Failure> {
        // Compiled code is kept even if the service has no home folder.
        let compile_cache = cache.folder_or(|| data.join("cache"))?;
        let opened = if source.text().is_empty() {
            Deployments::open(store, setup, compile_cache).map(|deployments| (deployments, None))
        } else {
            Deployments::open_with_file(store, setup, compile_cache, source)
        };
        let (deployments, refused) = opened.map_err(|refusal| match refusal {
            Refusal::Problems(problems) => Failure::Problems(problems),
            refusal => Failure::environment(refusal.to_string()),
        })?;
        let State { active, problems, .. } = deployments.state();
        let revision = active.map(|active| format!("not served in revision {active}"));
        report_refused(revision.as_deref().unwrap_or("not served"), &problems, as_json);
        if let Some(refusal) = refused {
            let problems = match refusal {
                Refusal::Problems(problems) => problems,
                refusal => vec![Problem::environment(refusal.to_string())],
            };
            report_refused("the manifest is not deployed", &problems, as_json);
        }
        Ok(Self::Folder(deployments))
    }

    /// What joins the cluster, once.
    #[cfg(feature = "cluster")]
    fn take_joining(&mut self) -> Option<Joining> {
        match self {
            Self::Cluster(_, joining) => joining.take().map(|joining| *joining),
            Self::Manifest(_) | Self::Folder(_) => None,
        }
    }

    /// Removes revisions beyond this number. If that fails, as on a full disk, calls are served nevertheless.
    fn keep_revisions(&self, count: NonZeroUsize, as_json: bool) {
        let Self::Folder(deployments) = self else { return };
        if let Err(error) = deployments.keep_revisions(count) {
            let problem = Problem::environment(error.to_string());
            report_refused("old revisions are not removed", &[problem], as_json);
        }
    }

    /// What to do if no function is defined. Nodes of a cluster may receive their functions later.
    fn hint(&self, path: &Path) -> Option<String> {
        match self {
            Self::Manifest(_) if path.exists() => Some(format!(
                "no function is served: {} defines none",
                Source::path(path).display()
            )),
            Self::Manifest(_) => Some(format!(
                "no function is served: this folder has no `{}`; name a manifest with `wpc serve MANIFEST`",
                path.display()
            )),
            Self::Folder(_) => Some(
                "no function is served yet; deploy a manifest with `wpc deploy --server URL`"
                    .to_owned(),
            ),
            #[cfg(feature = "cluster")]
            Self::Cluster(..) => None,
        }
    }

    /// The pool, the number of workers to start, and how long calls may take to finish after a stop.
    fn pool(&self) -> (WorkerProcedureCall, usize, Duration) {
        match self {
            Self::Manifest(deployment) => {
                (deployment.pool().clone(), deployment.workers(), deployment.stop_timeout())
            }
            Self::Folder(deployments) => {
                (deployments.pool().clone(), deployments.workers(), deployments.stop_timeout())
            }
            #[cfg(feature = "cluster")]
            Self::Cluster(deployment, _) => {
                (deployment.pool().clone(), deployment.workers(), deployment.stop_timeout())
            }
        }
    }

    /// Follows the manifest: at requests, and when its files change if they are watched.
    fn follow(
        self,
        path: PathBuf,
        watch: Watch,
        report: impl FnMut(&Reload) + Send + 'static,
    ) -> Result<Following, Failure> {
        Ok(match self {
            Self::Manifest(deployment) => Reloader::new(*deployment, path).follow(watch, report)?,
            Self::Folder(deployments) => {
                Reloader::new(deployments, path).optional().follow(watch, report)?
            }
            #[cfg(feature = "cluster")]
            Self::Cluster(..) => {
                Reloader::new(OwnSettings, path).optional().follow(watch, report)?
            }
        })
    }
}

/// Reports the items that are not served.
fn report_refused(what: &str, problems: &[Problem], as_json: bool) {
    for problem in problems {
        report_problem(Level::Error, what, problem, as_json);
    }
}

/// Reports a problem, in text with a line that begins with `what`.
fn report_problem(level: Level, what: &str, problem: &Problem, as_json: bool) {
    let line = problem_line(level, what, problem, as_json);
    // The reader of standard error may be gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Reports that the server accepts connections.
fn report_ready(server: &Server, functions: usize, workers: usize, as_json: bool) {
    let (url, administration) = (server.url(), server.administration_url());
    let text = if as_json {
        let mut fields = json!({ "url": url, "functions": functions, "workers": workers });
        if let Some(administration) = administration {
            fields["administration"] = administration.into();
        }
        event_log::json_notice("ready", Level::Info, fields)
    } else {
        let administration = administration.map(|url| format!("\nadministration: {url}"));
        let functions = count(functions as u64, "function");
        let workers = count(workers as u64, "worker");
        format!("ready: {url} ({functions} on {workers}){}", administration.unwrap_or_default())
    };
    // The reader of standard error may be gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}
