//! `wpc run`: a pool as a manifest says, calls as JSON lines on standard input, answers as JSON lines on
//! standard output.

use crate::cache::Cache;
use crate::deployment::{Deployment, Report};
use crate::event_log::{self, Level};
use crate::failure::{self, Failure};
use crate::file::MAX_JSON;
use crate::manifest::Source;
use crate::problem::Problem;
use crate::serve::{Service, serve};
use crate::signals::Signals;
use crate::terminal;
use crate::text::escape;
use crate::watch::{Files, Watch};
use bytesize::ByteSize;
use serde_json::json;
use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The manifest, or the folder that has one.
    #[arg(default_value = crate::manifest::NAME)]
    manifest: PathBuf,
    /// Checks the manifest and all that it names, and ends.
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    /// Follows the manifest and the files that it names: what changes is defined anew, and what is broken
    /// leaves what stood there.
    #[arg(long)]
    watch: bool,
    /// Gives the answers in the order of the calls, not in that in which they end.
    #[arg(long)]
    ordered: bool,
    /// How many calls are under way at once; no more lines are read while there are so many.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    outstanding: u32,
    /// How many bytes a line of standard input may have, as in `256MiB`, which is the default. At a longer one
    /// reading ends, and the exit code is 1.
    #[arg(long, value_name = "SIZE")]
    max_line: Option<ByteSize>,
    /// Which log lines and events of the pool are written to standard error: those of this level and of the more
    /// severe ones.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Info)]
    log_level: Level,
}

pub(crate) const HELP: &str = "\
Example:
  echo '{\"id\": 1, \"function\": \"greet\", \"arguments\": [\"Ada\"]}' | wpc run wpc.toml

A line may also have \"timeout\" (\"500ms\"), \"fuel\", \"pin\" (a SHA-1) and \"affinity\" (a text). Its answer has its id,
\"call\" (the number of the call in log lines), and \"value\", or \"error\" with code, message and \"retry_can_help\".

The manifest, paths from its own folder:
  [pool]                     # workers, and the options of the library by their names
  workers = 4
  call_timeout = \"10s\"
  [constants]
  GREETING = \"Hello\"
  LIMIT = { type = \"u32\", value = 3 }
  [dependencies.path_dep]    # by alias
  file = \"path.wasm\"
  [functions.greet]          # by name; `export` where the module calls it otherwise
  file = \"greeter.wasm\"
  grants = [\"clock\"]         # as `wpc call --grant`, but stdin
  limits = { time = \"1s\", memory = \"16 MiB\", fuel = 1000000 }
  isolated = true            # a fresh sandbox for each call
  [modules.tools]            # every function of a module
  file = \"tools.wasm\"

On SIGHUP the manifest and its files are read anew, as `--watch` does when they change. On SIGINT or SIGTERM no more lines are read, and calls have the pool's `stop_timeout` to end before they
are interrupted. A second signal ends the process at once, with exit code 130.

docs/manifest.md documents the manifest.";

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let source = Source::read(&arguments.manifest)?;
    let manifest = source.parse()?;
    let watch = if arguments.watch { Some(Watch::new(&source, &manifest)?) } else { None };
    let deployment = Deployment::open(
        &source,
        &manifest,
        cache,
        event_log::lines(as_json, arguments.log_level),
    )?;
    let wpc = deployment.pool().clone();
    if arguments.check {
        let said = if as_json {
            json!({ "functions": wpc.get_remote_functions() }).to_string()
        } else {
            format!(
                "{} is fine: {} functions",
                source.path.display(),
                wpc.get_remote_functions().len()
            )
        };
        return terminal::print(format!("{said}\n").as_bytes());
    }
    let limit = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
    let service = Service {
        is_ordered: arguments.ordered,
        outstanding: deployment.room().min(arguments.outstanding as usize),
        stop_timeout: deployment.stop_timeout(),
        max_line: arguments.max_line.map_or(MAX_JSON, limit),
        as_json,
    };
    wpc.start_workers(deployment.workers)?;
    let workers = deployment.workers;
    let path = arguments.manifest.clone();
    let mut reported = HashSet::new();
    let deployment = Arc::new(Mutex::new(Some(deployment)));
    let shared = Arc::clone(&deployment);
    let mut reload = move || {
        let mut deployment = shared.lock().unwrap_or_else(PoisonError::into_inner);
        // There is none when the process ends.
        reload(deployment.as_mut()?, &path, &mut reported, as_json)
    };
    let signals = if let Some(watch) = watch {
        let signals = Signals::handle(watch.change())?;
        watch.follow(reload)?;
        signals
    } else {
        let (ask, asked) = sync_channel(1);
        let signals = Signals::handle(ask)?;
        let follow = move || {
            while asked.recv().is_ok() {
                reload();
            }
        };
        #[expect(clippy::disallowed_methods, reason = "one, as long as the process")]
        let thread = std::thread::Builder::new().name("wpc-reload".to_owned()).spawn(follow);
        thread.map_err(|error| Failure::machine(format!("no thread to reload: {error}")))?;
        signals
    };
    // From here on signals are handled: a supervisor may send one as soon as it reads this line.
    report_ready(&wpc, workers, as_json);
    let served = serve(&wpc, &service, signals);
    wpc.stop_workers();
    // The end of the pool's last handle writes the events that wait. A reload that is under way is not waited for.
    if let Ok(mut deployment) = deployment.try_lock() {
        drop(deployment.take());
    }
    drop(wpc);
    served
}

/// Reads the manifest anew and brings the pool to it; returns the files to follow from now on. Problems that
/// were `reported` the last time are not reported again.
fn reload(
    deployment: &mut Deployment,
    path: &Path,
    reported: &mut HashSet<Problem>,
    as_json: bool,
) -> Option<Files> {
    let read = Source::read(path).and_then(|source| Ok((source.parse()?, source)));
    let (mut report, files) = match read {
        Ok((manifest, source)) => {
            let files = Files::of(&source, &manifest);
            (deployment.bring_to(&source, &manifest), Some(files))
        }
        Err(problem) => (Report { problems: vec![problem], ..Report::default() }, None),
    };
    let problems = report.problems.iter().cloned().collect();
    report.problems.retain(|problem| !reported.contains(problem));
    let was_refused = !reported.is_empty();
    *reported = problems;
    tell(&report, as_json);
    if was_refused && reported.is_empty() {
        report_recovered(path, as_json);
    }
    files
}

/// Calls are taken from now on.
fn report_ready(wpc: &wpc_host::WorkerProcedureCall, workers: usize, as_json: bool) {
    let functions = wpc.get_remote_functions().len();
    let line = if as_json {
        let time = event_log::time(std::time::SystemTime::now());
        json!({ "event": "ready", "time": time, "functions": functions, "workers": workers })
            .to_string()
    } else {
        let plural = |count| if count == 1 { "" } else { "s" };
        format!(
            "ready: {functions} function{} on {workers} worker{}",
            plural(functions),
            plural(workers)
        )
    };
    // The reader of standard error may be gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Nothing of the manifest is refused any more.
fn report_recovered(path: &Path, as_json: bool) {
    let path = Source::path(path);
    let line = if as_json {
        let time = event_log::time(std::time::SystemTime::now());
        json!({ "event": "recovered", "time": time, "manifest": path }).to_string()
    } else {
        escape(&format!("recovered: everything in {} is in effect", path.display()))
    };
    // The reader of standard error may be gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What changed, a line each on standard error.
fn tell(report: &Report, as_json: bool) {
    let mut lines = Vec::new();
    let changes = [("defined", &report.defined), ("removed", &report.removed)];
    for (what, items) in changes {
        for item in items {
            lines.push(if as_json {
                json!({ "event": what, "what": item.to_string() }).to_string()
            } else {
                escape(&format!("{what} {item}"))
            });
        }
    }
    for problem in &report.problems {
        lines.push(if as_json {
            json!({ "event": "refused", "problem": failure::problem_json(problem) }).to_string()
        } else {
            escape(&format!("update rejected; the previous definition stays active: {problem}"))
        });
    }
    for line in lines {
        // The reader of standard error may be gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
