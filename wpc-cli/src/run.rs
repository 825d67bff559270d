//! `wpc run`: runs the pool of a manifest. Calls are JSON lines on standard input, and answers are JSON lines on
//! standard output.

use crate::cache::Cache;
use crate::event_log::{self, Level};
use crate::failure::{self, Failure};
use crate::json_lines::{Service, serve};
use crate::option_values;
use crate::signals::Signals;
use crate::target::MAX_JSON;
use crate::terminal;
use crate::text::{count, escape};
use bytesize::ByteSize;
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use wpc_deploy::{Deployment, Problem, Reload, Reloader, Source, Watch};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The manifest, or its folder.
    #[arg(default_value = wpc_deploy::MANIFEST_NAME)]
    manifest: PathBuf,
    /// Check the manifest and the modules that it names, and exit.
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    /// Watch the manifest and the files that it names, and apply changes. If a change is rejected, the previous
    /// definition stays active.
    #[arg(long)]
    watch: bool,
    /// Write answers in the order of their calls, instead of the order in which the calls complete.
    #[arg(long)]
    ordered: bool,
    /// Maximum number of concurrent calls; further lines are read when a call completes.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    outstanding: u32,
    /// Maximum size of a line of standard input, such as `16MiB`. A longer line ends the input, and the exit code is
    /// 1. Default: 256 MiB.
    #[arg(long, value_name = "SIZE", value_parser = option_values::size)]
    max_line: Option<ByteSize>,
    /// Minimum severity of the log lines and events that are written to standard error.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Info)]
    log_level: Level,
}

pub(crate) const HELP: &str = "\
Example:
  echo '{\"id\": 1, \"function\": \"greet\", \"arguments\": [\"Ada\"]}' | wpc run wpc.toml

A call may also have \"timeout\" (\"500ms\"), \"fuel\", \"pin\" (a SHA-1) and \"affinity\" (a string). Its answer has the
call's \"id\", \"call\" (the call's number in log lines), and either \"value\" or \"error\" with code, message and
\"retry_can_help\". With \"stream\": true each item that the function yields is written as a line with \"id\", \"call\"
and \"item\" before the answer. The answer's \"items\" is their number.

The manifest, with paths relative to its folder:
  [pool]                     # workers, and the library's options by their names
  workers = 4
  call_timeout = \"10s\"
  [constants]
  GREETING = \"Hello\"
  LIMIT = { type = \"u32\", value = 3 }
  [dependencies.path_dep]    # by alias
  file = \"path.wasm\"
  [functions.greet]          # by name; add `export` if the module's export has another name
  file = \"greeter.wasm\"
  grants = [\"clock\"]         # as for `wpc call --grant`, except stdin
  limits = { timeout = \"1s\", memory = \"16 MiB\", fuel = 1000000 }
  isolated = true            # a fresh sandbox for each call
  [modules.tools]            # every function of a module
  file = \"tools.wasm\"

SIGHUP reloads the manifest and its files, as `--watch` does when they change. After SIGINT or SIGTERM no more lines
are read, and running calls are interrupted after the pool's `stop_timeout`. A second such signal ends the process at
once with exit code 130. Before the pool is ready, SIGINT and SIGTERM end the process at once with exit code 0.

See docs/manifest.md for the reference of the manifest.";

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    if arguments.check {
        return check(arguments, cache, as_json);
    }
    // A capacity of one, because a pending request covers any further ones.
    let (reload_request, requests) = sync_channel(1);
    // Before anything that takes time, because SIGHUP would end the process otherwise.
    let signals = Signals::handle(reload_request.clone())?;
    let source = Source::read(&arguments.manifest)?;
    let manifest = source.parse()?;
    // Created before the files are read, and followed once the pool is ready.
    let watch = if arguments.watch {
        Watch::with_requests(&source, &manifest, reload_request, requests)?
    } else {
        Watch::only_requests(reload_request, requests)
    };
    let setup = cache.setup()?.on_event(event_log::lines(as_json, arguments.log_level));
    let deployment = Deployment::open(&source, &manifest, setup)?;
    let wpc = deployment.pool().clone();
    let limit = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
    let service = Service {
        is_ordered: arguments.ordered,
        outstanding: deployment.capacity().min(arguments.outstanding as usize),
        stop_timeout: deployment.stop_timeout(),
        max_line: arguments.max_line.map_or(MAX_JSON, limit),
        as_json,
    };
    let workers = deployment.workers();
    wpc.start_workers(workers)?;
    let path = arguments.manifest.clone();
    let reloader = Reloader::new(deployment, &path);
    signals.ready();
    // A supervisor may send a signal to stop as soon as it reads this line.
    report_ready(&wpc, workers, as_json);
    let report = move |reload: &Reload| write_reload(reload, &path, as_json);
    let following = reloader.follow(watch, report)?;
    let served = serve(&wpc, &service, signals);
    wpc.stop_workers();
    // Dropping the pool's last handle writes its pending events, and the reloader has one of the handles.
    following.stop(RELOAD_WAIT);
    drop(wpc);
    served
}

/// How long the process waits at its end for a reload in progress, which may compile large modules.
pub(crate) const RELOAD_WAIT: Duration = Duration::from_secs(1);

/// Reports whether the manifest and its modules are valid.
fn check(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let source = Source::read(&arguments.manifest)?;
    let manifest = source.parse()?;
    let setup = cache.setup()?.on_event(event_log::lines(as_json, arguments.log_level));
    let deployment = Deployment::open(&source, &manifest, setup)?;
    let functions = deployment.pool().get_remote_functions();
    let text = if as_json {
        json!({ "functions": functions }).to_string()
    } else {
        let functions = count(functions.len() as u64, "function");
        format!("{} is valid: {functions}", source.path.display())
    };
    terminal::print(format!("{text}\n").as_bytes())
}

/// Reports that the pool accepts calls.
fn report_ready(wpc: &wpc_host::WorkerProcedureCall, workers: usize, as_json: bool) {
    let functions = wpc.get_remote_functions().len();
    let line = if as_json {
        let fields = json!({ "functions": functions, "workers": workers });
        event_log::json_notice("ready", Level::Info, fields)
    } else {
        let functions = count(functions as u64, "function");
        format!("ready: {functions} on {}", count(workers as u64, "worker"))
    };
    // The reader of standard error may be gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Reports that no part of the manifest is rejected any more.
fn report_recovered(path: &Path, as_json: bool) {
    let path = Source::path(path);
    let line = if as_json {
        event_log::json_notice("recovered", Level::Info, json!({ "manifest": path }))
    } else {
        escape(&format!("recovered: all definitions of {} are active", path.display()))
    };
    // The reader of standard error may be gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The line about a problem, which begins with `what` as text: `refused` if it is an error, otherwise `warning`.
pub(crate) fn problem_line(level: Level, what: &str, problem: &Problem, as_json: bool) -> String {
    if as_json {
        let event = if level == Level::Error { "refused" } else { "warning" };
        let fields = json!({ "problem": failure::problem_json(problem) });
        event_log::json_notice(event, level, fields)
    } else {
        escape(&format!("{what}: {problem}"))
    }
}

/// Writes each change, problem and warning of a reload as a line to standard error.
pub(crate) fn write_reload(reload: &Reload, path: &Path, as_json: bool) {
    let mut lines = Vec::new();
    let report = &reload.report;
    let changes = [("defined", &report.defined), ("removed", &report.removed)];
    for (what, items) in changes {
        for item in items {
            lines.push(if as_json {
                event_log::json_notice(what, Level::Info, json!({ "what": item.to_string() }))
            } else {
                escape(&format!("{what} {item}"))
            });
        }
    }
    let rejected = "update rejected; the previous definition stays active";
    let refused = report
        .problems
        .iter()
        .map(|problem| problem_line(Level::Error, rejected, problem, as_json));
    lines.extend(refused);
    let warnings = reload.warnings.iter();
    lines.extend(warnings.map(|problem| problem_line(Level::Warn, "warning", problem, as_json)));
    for line in lines {
        // The reader of standard error may be gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    if reload.has_recovered {
        report_recovered(path, as_json);
    }
}
