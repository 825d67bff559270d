//! `wpc run`: a pool as a manifest says, calls as JSON lines on standard input, answers as JSON lines on
//! standard output.

use crate::cache::Cache;
use crate::deployment::{Deployment, Report};
use crate::failure::{self, Failure};
use crate::manifest::Source;
use crate::problem::Problem;
use crate::terminal;
use crate::watch::{self, Watch};
use futures::channel::mpsc;
use futures::future::Either;
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wpc_host::{CallOptions, PendingJson, WorkerProcedureCall};

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
}

pub(crate) const HELP: &str = "\
Example:
  echo '{\"id\": 1, \"function\": \"greet\", \"arguments\": [\"Ada\"]}' | wpc run wpc.toml

A line may also have \"timeout\" (\"500ms\"), \"fuel\", \"pin\" (a SHA-1) and \"affinity\" (a text). Its answer has its id, and
\"value\", or \"error\" with code and message.

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

docs/manifest.md tells all of it.";

/// A call as a line of standard input says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    /// Given back as it was written.
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    function: String,
    #[serde(default)]
    arguments: Vec<Value>,
    #[serde(default, with = "humantime_serde")]
    timeout: Option<Duration>,
    fuel: Option<u64>,
    /// The SHA-1 that the function must have.
    pin: Option<String>,
    affinity: Option<String>,
}

/// What is wanted of a line that is no call.
#[derive(Default, Deserialize)]
struct OnlyId<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 256 << 20;

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let source = Source::read(&arguments.manifest)?;
    let manifest = source.parse()?;
    let watch = if arguments.watch { Some(Watch::new(&source, &manifest)?) } else { None };
    let mut deployment = Deployment::open(&source, &manifest, cache, as_json)?;
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
    let outstanding = deployment.room().min(arguments.outstanding as usize);
    wpc.start_workers(deployment.workers)?;
    if let Some(watch) = watch {
        let path = source.path.clone();
        let mut told = Vec::new();
        watch.follow(move || reload(&mut deployment, &path, &mut told, as_json))?;
    }
    let served = serve(&wpc, arguments.ordered, outstanding);
    wpc.stop_workers();
    served
}

/// Reads the manifest anew and brings the pool to it; gives what is to be followed from now on. Problems that
/// were `told` the last time are not told again.
fn reload(
    deployment: &mut Deployment,
    path: &Path,
    told: &mut Vec<Problem>,
    as_json: bool,
) -> Option<watch::Followed> {
    let read = Source::read(path).and_then(|source| Ok((source.parse()?, source)));
    let (mut report, followed) = match read {
        Ok((manifest, source)) => {
            let followed = watch::Followed::of(&source, &manifest);
            (deployment.bring_to(&source, &manifest), Some(followed))
        }
        Err(problem) => (Report { problems: vec![problem], ..Report::default() }, None),
    };
    let problems = report.problems.clone();
    report.problems.retain(|problem| !told.contains(problem));
    *told = problems;
    tell(&report, as_json);
    followed
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
                format!("{what} {item}")
            });
        }
    }
    for problem in &report.problems {
        lines.push(if as_json {
            json!({ "event": "refused", "problem": failure::problem_json(problem) }).to_string()
        } else {
            format!("not so, and what stood there stays: {problem}")
        });
    }
    for line in lines {
        // Whoever reads this may be gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Until standard input ends, or somebody asks for an end: then no more lines are taken, and what was taken is
/// answered.
fn serve(wpc: &WorkerProcedureCall, is_ordered: bool, outstanding: usize) -> Result<(), Failure> {
    let (mut end, ended) = mpsc::channel::<()>(1);
    ctrlc::set_handler(move || {
        // Asked again, it is under way already.
        let _ = end.try_send(());
    })
    .map_err(|error| Failure::machine(format!("no handler for signals: {error}")))?;
    let ended = ended.into_future();
    // Room for one: who writes calls is held up when enough are under way.
    let (sender, lines) = mpsc::channel(0);
    #[expect(clippy::disallowed_methods, reason = "ends with standard input, or the process")]
    std::thread::Builder::new()
        .name("wpc-input".to_owned())
        .spawn(move || read_lines(sender))
        .map_err(|error| Failure::machine(format!("no thread for standard input: {error}")))?;
    let calls = lines.take_until(ended).map(|line| match submit(wpc, line) {
        Ok((id, call)) => Either::Left(async move {
            match call.answer().await {
                Ok(answer) => {
                    let mut told = json!({
                        "value": answer.value,
                        "function_hash_sha1": answer.metadata.function_hash_sha1,
                    });
                    if let Some(fuel) = answer.metadata.fuel_used {
                        told["fuel_used"] = fuel.into();
                    }
                    with_id(&id, &told)
                }
                Err(error) => with_id(&id, &json!({ "error": failure::error_json(&error) })),
            }
        }),
        Err(answer) => Either::Right(std::future::ready(answer)),
    });
    let mut answers = if is_ordered {
        calls.buffered(outstanding).left_stream()
    } else {
        calls.buffer_unordered(outstanding).right_stream()
    };
    futures::executor::block_on(async {
        while let Some(answer) = answers.next().await {
            terminal::print(format!("{answer}\n").as_bytes())?;
        }
        Ok(())
    })
}

/// A line with its number, or why there is none.
type Input = (usize, Result<Vec<u8>, String>);

fn read_lines(mut sender: mpsc::Sender<Input>) {
    let mut input = std::io::stdin().lock();
    for number in 1.. {
        let mut line = Vec::new();
        let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let is_cut = line.len() as u64 == MAX_LINE && line.last() != Some(&b'\n');
        let (line, is_last) = match read {
            Ok(0) => return,
            Ok(_) if is_cut => {
                (Err(format!("it has more than {MAX_LINE} bytes, and no more is read")), true)
            }
            Ok(_) if line.trim_ascii().is_empty() => continue,
            Ok(_) => (Ok(line), false),
            Err(error) => (Err(error.to_string()), true),
        };
        // Nobody listens any more once standard output is gone.
        if futures::executor::block_on(sender.send((number, line))).is_err() || is_last {
            return;
        }
    }
}

/// Puts the call's id before the rest of an object.
fn with_id(id: &str, rest: &Value) -> String {
    format!("{{\"id\":{id},{}", &rest.to_string()[1..])
}

/// Sends a line's call off, or gives the answer that says why not.
fn submit(
    wpc: &WorkerProcedureCall,
    (number, line): Input,
) -> Result<(String, PendingJson), String> {
    let wrong = |id: &str, why: String| {
        let message = format!("line {number}: {why}");
        with_id(id, &json!({ "error": { "code": "usage", "message": message } }))
    };
    const NO_ID: &str = "null";
    let line = line.map_err(|why| wrong(NO_ID, why))?;
    // What reads a structure would also take a list.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(wrong(
            NO_ID,
            "a call is a JSON object, as in {\"function\": \"f\"}".to_owned(),
        ));
    }
    let call: Line<'_> = serde_json::from_slice(&line).map_err(|error| {
        let only: OnlyId<'_> = serde_json::from_slice(&line).unwrap_or_default();
        wrong(only.id.map_or(NO_ID, RawValue::get), error.to_string())
    })?;
    let id = call.id.map_or(NO_ID, RawValue::get);
    let mut options = CallOptions::new().wait_for_room();
    if let Some(timeout) = call.timeout {
        options = options.time_limit(timeout);
    }
    if let Some(fuel) = call.fuel {
        options = options.fuel(fuel);
    }
    if let Some(pin) = &call.pin {
        options = options.pin(pin.parse().map_err(|error| wrong(id, format!("`pin`: {error}")))?);
    }
    if let Some(key) = &call.affinity {
        options = options.affinity(key);
    }
    match wpc.submit_json(&call.function, &call.arguments, &options) {
        Ok(pending) => Ok((id.to_owned(), pending)),
        Err(error) => Err(with_id(id, &json!({ "error": failure::error_json(&error) }))),
    }
}
