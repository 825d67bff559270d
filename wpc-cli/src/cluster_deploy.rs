//! What `wpc deploy`, `rollback`, `history` and `ls` do with `--cluster`.

use crate::cluster_options::{ClusterArguments, failure};
use crate::failure::Failure;
use crate::terminal;
use crate::text::{count, escape};
use serde_json::{Value, json};
use std::future::Future;
use std::io::Write as _;
use std::time::Duration;
use wpc_cluster::{Activation, Connection, Error, Quorum, Readiness, Registry, Revision, Rollback};
use wpc_deploy::document::{Packed, differences};
use wpc_deploy::{Manifest, Source};

/// How long nodes may take to compile a revision.
const READY_TIMEOUT: Duration = Duration::from_secs(300);

/// The output of a command: as JSON, and as text.
pub(crate) type Found = (Value, String);

/// Prints the output of a command.
pub(crate) fn print((value, text): Found, as_json: bool) -> Result<(), Failure> {
    let text = if as_json { format!("{value}\n") } else { text };
    terminal::print(text.as_bytes())
}

/// Prints a list. If it is empty, a note goes to standard error.
pub(crate) fn print_list(found: Found, none: &str, as_json: bool) -> Result<(), Failure> {
    if as_json { print(found, as_json) } else { crate::history::print_list(&found.1, none) }
}

/// Runs a command with the registry of a cluster.
fn run<F: Future<Output = Result<Found, Error>>>(
    arguments: &ClusterArguments,
    command: impl FnOnce(Registry) -> F,
) -> Result<Found, Failure> {
    let found = arguments.required()?.run(async |options| {
        let connection = Connection::open(options, "wpc").await?;
        command(Registry::new(connection)).await
    })?;
    found.map_err(failure)
}

/// Who changes the cluster, for its history: the user of this process.
fn author() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("USERNAME"));
    user.ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// The manifest to deploy, and how.
pub(crate) struct Deployment<'a> {
    pub(crate) source: &'a Source,
    pub(crate) manifest: &'a Manifest,
    pub(crate) note: Option<&'a str>,
    pub(crate) is_dry_run: bool,
    /// How many nodes must be ready; without a number, all.
    pub(crate) nodes: Option<usize>,
}

pub(crate) fn deploy(
    arguments: &ClusterArguments,
    deployment: &Deployment<'_>,
) -> Result<Found, Failure> {
    run(arguments, |registry| async move {
        let Deployment { source, manifest, note, is_dry_run, nodes } = *deployment;
        let packed = Packed::read(source, manifest).map_err(Error::Problems)?;
        let active = registry.last_trusted().await?.map(|active| active.revision);
        let before = match active {
            Some(number) => text(&registry, number).await?,
            None => String::new(),
        };
        let changes = changed(&before, &packed.text);
        let shown = crate::deploy::changes(&changes);
        if is_dry_run {
            let end = match shown.is_empty() {
                true => "nothing would change\n",
                false => "nothing was changed, because of --dry-run\n",
            };
            let found = json!({ "revision": null, "changes": changes, "previous": active });
            return Ok((found, shown + end));
        }
        let revision = registry.stage(&packed, &author(), note).await?;
        let mut found = json!({ "revision": &revision, "changes": changes, "previous": active });
        let number = revision.number;
        if Some(number) == active {
            let end = format!("nothing has changed; revision {number} is active\n");
            return Ok((found, shown + &end));
        }
        let ready = activate(&registry, &revision, active, nodes).await;
        let ready = ready.map_err(|error| of_source(error, source, &packed))?;
        found["nodes"] = json!(ready.ready);
        Ok((found, shown + &activated(&ready)))
    })
}

/// An error in the terms of the manifest that was deployed: its path, and the paths of modules instead of their hashes.
fn of_source(mut error: Error, source: &Source, packed: &Packed) -> Error {
    if let Error::Refused { refusals, .. } = &mut error {
        for problem in refusals.iter_mut().flat_map(|refusal| &mut refusal.problems) {
            for entry in &packed.entries {
                *problem = problem.replace(&entry.module, &entry.file.display().to_string());
            }
            // Only the names of modules differ from those of the manifest's text.
            if let Some(rest) = problem.strip_prefix("line ") {
                *problem = format!("{}:{rest}", source.path.display());
            }
        }
    }
    error
}

/// Waits for the nodes, and activates a revision.
async fn activate(
    registry: &Registry,
    revision: &Revision,
    expected: Option<u64>,
    nodes: Option<usize>,
) -> Result<Readiness, Error> {
    let quorum = nodes.map_or(Quorum::All, Quorum::Nodes);
    let waiting = registry.wait_ready_with(revision.number, quorum, READY_TIMEOUT, |waiting| {
        let line = escape(&format!("waiting: {waiting}"));
        // The reader of standard error may be gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    });
    let ready = waiting.await?;
    registry.activate(&ready, expected, &author()).await?;
    Ok(ready)
}

fn activated(ready: &Readiness) -> String {
    let mut text = String::new();
    for (node, problems) in &ready.refused {
        let line = format!("node {node} refuses it: {}", problems.join("; "));
        text += &format!("{}\n", escape(&line));
    }
    let nodes = count(ready.ready.len() as u64, "node");
    format!("{text}revision {} is active; {nodes} ready\n", ready.revision.number)
}

pub(crate) fn rollback(
    arguments: &ClusterArguments,
    rollback: &Rollback,
) -> Result<Found, Failure> {
    run(arguments, |registry| async move {
        let active = registry.active().await?.map(|active| active.revision);
        let revision = registry.roll_back(rollback, &author()).await?;
        if Some(revision.number) == active {
            let text = format!("nothing has changed; revision {} is active\n", revision.number);
            return Ok((json!({ "active": active, "previous": active }), text));
        }
        let ready = activate(&registry, &revision, active, None).await?;
        let found = json!({ "active": revision.number, "previous": active, "nodes": ready.ready });
        Ok((found, activated(&ready)))
    })
}

/// The part of the history to list.
pub(crate) enum Listed {
    Last(usize),
    Manifest(u64),
    /// A revision, and the one to compare it with; without one, the one before.
    Changes(u64, Option<u64>),
}

pub(crate) fn history(arguments: &ClusterArguments, listed: &Listed) -> Result<Found, Failure> {
    run(arguments, |registry| async move {
        match *listed {
            Listed::Manifest(number) => {
                let revision = registry.revision(number).await?;
                let manifest = registry.document(&revision).await?;
                let shown = manifest.lines().map(|line| escape(line) + "\n").collect();
                Ok((json!({ "revision": revision, "manifest": manifest }), shown))
            }
            Listed::Changes(number, from) => {
                let parent = registry.revision(number).await?.parent;
                let before = match from.or(parent) {
                    Some(from) => text(&registry, from).await?,
                    None => String::new(),
                };
                let changes = changed(&before, &text(&registry, number).await?);
                let shown = match crate::deploy::changes(&changes) {
                    shown if shown.is_empty() => "nothing differs\n".to_owned(),
                    shown => shown,
                };
                Ok((json!({ "changes": changes }), shown))
            }
            Listed::Last(limit) => {
                let active = registry.active().await?.map(|active| active.revision);
                let revisions = registry.revisions(limit).await?;
                let activations = registry.activations().await?;
                let never = never_active(&revisions, &activations);
                let state = |number| State::of(number, active, &never);
                let line = |revision: &Revision| line(revision, state(revision.number));
                let shown = revisions.iter().map(line).collect();
                let found =
                    json!({ "active": active, "revisions": revisions, "never_active": never });
                Ok((found, shown))
            }
        }
    })
}

/// The revisions that were never active: they were refused, abandoned, or wait for nodes. What was active before the oldest activation
/// that the registry keeps is not known.
fn never_active(revisions: &[Revision], activations: &[Activation]) -> Vec<u64> {
    let is_complete = activations.last().is_none_or(|first| first.previous.is_none());
    let oldest = activations.iter().map(|activation| activation.revision).min();
    let oldest = oldest.filter(|_| !is_complete).unwrap_or(0);
    let was_active = |number| activations.iter().any(|it| it.revision == number);
    let numbers = revisions.iter().map(|revision| revision.number);
    numbers.filter(|number| *number > oldest && !was_active(*number)).collect()
}

/// The state of a revision in the history.
enum State {
    Active,
    NeverActive,
    Earlier,
}

impl State {
    fn of(number: u64, active: Option<u64>, never_active: &[u64]) -> Self {
        if Some(number) == active {
            Self::Active
        } else if never_active.contains(&number) {
            Self::NeverActive
        } else {
            Self::Earlier
        }
    }
}

/// How many characters of a public key identify it.
const SHORT_KEY: usize = 12;

/// A revision as a line; the active one is marked.
fn line(revision: &Revision, state: State) -> String {
    let (mark, state) = match state {
        State::Active => ('*', ""),
        State::NeverActive => (' ', "  (never active)"),
        State::Earlier => (' ', ""),
    };
    let signer = revision.signer.as_deref().map(|key| key.get(..SHORT_KEY).unwrap_or(key));
    let signer = signer.map_or_else(String::new, |key| format!(" ({key}…)"));
    let note = revision.note.as_deref().map_or_else(String::new, |note| format!("  {note}"));
    let Revision { number, at, author, .. } = revision;
    escape(&format!("{mark} {number:>4}  {at}  {author}{signer}{state}{note}")) + "\n"
}

pub(crate) fn list(arguments: &ClusterArguments) -> Result<Found, Failure> {
    run(arguments, |registry| async move {
        let Some(active) = registry.active().await? else {
            return Ok((json!({ "revision": null, "functions": [] }), String::new()));
        };
        let functions = registry.index(active.index).await?.functions;
        let line = |function: &wpc_deploy::DeployedFunction| {
            let found = &function.information;
            let hash: String = found.function_hash_sha1.to_string().chars().take(12).collect();
            let signature = found.signature.as_ref().map(ToString::to_string).unwrap_or_default();
            escape(&format!("{hash}  {}{signature}", found.name)) + "\n"
        };
        let shown = functions.iter().map(line).collect();
        Ok((json!({ "revision": active.revision, "functions": functions }), shown))
    })
}

/// The text of a revision's manifest.
async fn text(registry: &Registry, number: u64) -> Result<String, Error> {
    registry.document(&registry.revision(number).await?).await
}

/// The differences of two manifests, in the form in which a server lists them.
fn changed(before: &str, after: &str) -> Value {
    let source = |text: &str| Source::new(wpc_deploy::MANIFEST_NAME.into(), text.to_owned());
    let side = |entry: Option<Value>| entry.map(|entry| json!({ "entry": entry }));
    let found = differences(&source(before), &source(after));
    let change = |difference: wpc_deploy::document::Difference| {
        let change = match (&difference.before, &difference.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        };
        json!({
            "change": change,
            "kind": difference.item.kind.as_str(),
            "name": difference.item.name,
            "before": side(difference.before),
            "after": side(difference.after),
        })
    };
    found.into_iter().map(change).collect()
}
