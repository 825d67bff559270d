//! `wpc history` lists the revisions of a server, and `wpc ls` its functions.

use crate::client::ServerOptions;
#[cfg(feature = "cluster")]
use crate::cluster_deploy::{self, Listed};
#[cfg(feature = "cluster")]
use crate::cluster_options::ClusterArguments;
use crate::deploy::changes;
use crate::failure::Failure;
use crate::terminal;
use crate::text::{count, escape};
use serde::Deserialize as _;
use serde_json::Value;
use wpc_host::FunctionInformation;

#[derive(clap::Args)]
pub(crate) struct HistoryArguments {
    /// Show the manifest of a revision.
    #[arg(long, value_name = "REVISION", conflicts_with = "diff")]
    show: Option<u64>,
    /// Show what changed in a revision.
    #[arg(long, value_name = "REVISION")]
    diff: Option<u64>,
    /// With `--diff`: compare with this revision instead of the one before.
    #[arg(long, value_name = "REVISION", requires = "diff")]
    from: Option<u64>,
    /// The number of revisions to list.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    server: ServerOptions,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    cluster: ClusterArguments,
}

#[derive(clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    server: ServerOptions,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(crate) const HISTORY_HELP: &str = "\
Examples:
  wpc history --server http://127.0.0.1:7071
  wpc history --show 3 --server http://127.0.0.1:7071
  wpc history --diff 3 --from 1 --server http://127.0.0.1:7071
  wpc history --cluster nats://127.0.0.1:4222";

pub(crate) fn history(arguments: &HistoryArguments, as_json: bool) -> Result<(), Failure> {
    #[cfg(feature = "cluster")]
    if arguments.server.server.is_none() && arguments.cluster.is_named() {
        let listed = match (arguments.show, arguments.diff) {
            (Some(number), _) => Listed::Manifest(number),
            (None, Some(number)) => Listed::Changes(number, arguments.from),
            (None, None) => Listed::Last(arguments.limit as usize),
        };
        let found = cluster_deploy::history(&arguments.cluster, &listed)?;
        return match listed {
            Listed::Last(_) => cluster_deploy::print_list(found, NO_REVISION, as_json),
            Listed::Manifest(_) | Listed::Changes(..) => cluster_deploy::print(found, as_json),
        };
    }
    let client = arguments.server.required()?;
    let path = match (arguments.show, arguments.diff, arguments.from) {
        (Some(number), ..) => format!("/v1/revisions/{number}"),
        (None, Some(number), Some(from)) => format!("/v1/revisions/{number}/diff?from={from}"),
        (None, Some(number), None) => format!("/v1/revisions/{number}/diff"),
        (None, None, _) => format!("/v1/revisions?limit={}", arguments.limit),
    };
    let answer = client.json("GET", &path, None)?;
    if as_json {
        return terminal::print(format!("{answer}\n").as_bytes());
    }
    let text = if arguments.show.is_some() {
        let manifest = answer["manifest"].as_str().unwrap_or_default();
        manifest.lines().map(|line| escape(line) + "\n").collect()
    } else if arguments.diff.is_some() {
        match changes(&answer["changes"]) {
            changes if changes.is_empty() => "nothing differs\n".to_owned(),
            changes => changes,
        }
    } else {
        let revisions = answer["revisions"].as_array().into_iter().flatten();
        revisions.map(|revision| line(revision, &answer["active"])).collect()
    };
    print_list(&text, NO_REVISION)
}

/// What is shown instead of an empty list.
const NO_REVISION: &str = "nothing was deployed yet";
const NO_FUNCTION: &str = "no function is defined";

/// Prints a list. If it is empty, a note goes to standard error.
pub(crate) fn print_list(text: &str, none: &str) -> Result<(), Failure> {
    if text.is_empty() {
        terminal::note(none);
    }
    terminal::print(text.as_bytes())
}

/// A revision as a line; the active one is marked.
fn line(revision: &Value, active: &Value) -> String {
    let mark = if revision["number"] == *active { '*' } else { ' ' };
    let word = |name: &str| escape(revision[name].as_str().unwrap_or_default());
    let number = revision["number"].as_u64().unwrap_or_default();
    let (time, author, note) = (word("time"), word("author"), word("note"));
    let note = if note.is_empty() { note } else { format!("  {note}") };
    format!("{mark} {number:>4}  {time}  {author}{note}\n")
}

pub(crate) fn list(arguments: &ListArguments, as_json: bool) -> Result<(), Failure> {
    #[cfg(feature = "cluster")]
    if arguments.server.server.is_none() && arguments.cluster.is_named() {
        let found = cluster_deploy::list(&arguments.cluster)?;
        return cluster_deploy::print_list(found, NO_FUNCTION, as_json);
    }
    let client = arguments.server.required()?;
    let answer = client.json("GET", "/v1/functions", None)?;
    if as_json {
        return terminal::print(format!("{answer}\n").as_bytes());
    }
    let functions = Vec::<FunctionInformation>::deserialize(&answer["functions"]);
    let functions = functions.map_err(|error| {
        Failure::environment(format!("the server's list of functions cannot be read: {error}"))
    })?;
    let line = |function: &FunctionInformation| {
        let hash: String = function.function_hash_sha1.to_string().chars().take(12).collect();
        let signature = function.signature.as_ref().map(ToString::to_string).unwrap_or_default();
        let workers = count(function.installed_worker_count as u64, "worker");
        let shown = escape(&format!("{hash}  {}{signature}  on {workers}", function.name));
        shown + "\n"
    };
    let text: String = functions.iter().map(line).collect();
    print_list(&text, NO_FUNCTION)
}
