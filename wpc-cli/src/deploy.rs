//! `wpc deploy` and `wpc rollback`: change what a server with a data folder serves.

use crate::client::{Client, ServerOptions};
#[cfg(feature = "cluster")]
use crate::cluster_deploy::{self, Deployment};
#[cfg(feature = "cluster")]
use crate::cluster_options::ClusterArguments;
use crate::failure::Failure;
use crate::refused_deployment as refused;
use crate::terminal;
use crate::text::escape;
use serde_json::{Value, json};
use std::path::PathBuf;
use wpc_deploy::Source;
use wpc_deploy::document::Packed;

#[derive(clap::Args)]
pub(crate) struct DeployArguments {
    /// The manifest, or its folder.
    #[arg(default_value = wpc_deploy::MANIFEST_NAME)]
    manifest: PathBuf,
    /// Show what would change. Modules are uploaded, but nothing is registered or activated.
    #[arg(long)]
    dry_run: bool,
    /// The reason for the change, for the history.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    server: ServerOptions,
    /// With `--cluster`: activate the manifest when this many nodes are ready, even if others refuse it. Without it, all nodes must
    /// be ready. The command waits for them for at most 5 minutes.
    #[cfg(feature = "cluster")]
    #[arg(long, value_name = "N", requires = "cluster")]
    nodes: Option<std::num::NonZeroUsize>,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    cluster: ClusterArguments,
}

#[derive(clap::Args)]
pub(crate) struct RollbackArguments {
    /// The revision to return to. Without it, the one that was active before.
    revision: Option<u64>,
    /// The revision to return to, like the argument REVISION.
    #[arg(long, value_name = "REVISION", conflicts_with = "revision")]
    to: Option<u64>,
    /// Roll back only the item of the manifest that defines this function.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// The reason for the change, for the history.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    server: ServerOptions,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(crate) const DEPLOY_HELP: &str = "\
Examples:
  wpc deploy --server http://127.0.0.1:7071
  wpc deploy shop/wpc.toml --server http://127.0.0.1:7071 --dry-run
  WPC_SERVER=http://127.0.0.1:7071 wpc deploy --note 'Round prices up'
  wpc deploy --cluster nats://127.0.0.1:4222

Only modules that the server does not have are uploaded. Nothing is built; see `wpc build`. If another client deploys at the
same time, the command fails and changes nothing.";

pub(crate) const ROLLBACK_HELP: &str = "\
Examples:
  wpc rollback --server http://127.0.0.1:7071
  wpc rollback 17 --server http://127.0.0.1:7071
  wpc rollback 17 --function price --server http://127.0.0.1:7071
  wpc rollback --cluster nats://127.0.0.1:4222";

pub(crate) fn deploy(arguments: &DeployArguments, as_json: bool) -> Result<(), Failure> {
    #[cfg(feature = "cluster")]
    if arguments.server.server.is_none() && arguments.cluster.is_named() {
        let source = Source::read(&arguments.manifest)?;
        let manifest = source.parse()?;
        let deployment = Deployment {
            source: &source,
            manifest: &manifest,
            note: arguments.note.as_deref(),
            is_dry_run: arguments.dry_run,
            nodes: arguments.nodes.map(Into::into),
        };
        let found = cluster_deploy::deploy(&arguments.cluster, &deployment)?;
        return cluster_deploy::print(found, as_json);
    }
    let client = arguments.server.required()?;
    let source = Source::read(&arguments.manifest)?;
    let manifest = source.parse()?;
    let packed = Packed::read(&source, &manifest).map_err(Failure::Problems)?;
    let deployment = client.json("GET", "/v1/deployment", None)?;
    let active = deployment["active"].clone();
    let path = format!("/v1/revisions?dry_run={}", arguments.dry_run);
    let body = json!({ "manifest": packed.text, "base": active, "note": arguments.note });
    let mut registered = register(&client, (&source, &packed), &path, &body)?;
    let number = registered["revision"]["number"].clone();
    // Items that the server refused at its start are tried again, even if the manifest has not changed.
    let is_incomplete = deployment["not_served"].as_array().is_some_and(|items| !items.is_empty());
    let is_activated = !arguments.dry_run && (number != active || is_incomplete);
    if is_activated {
        let body = json!({ "revision": number, "expected": active });
        let active = client.json("POST", "/v1/active", Some(&body));
        active.map_err(|failure| refused::manifest(failure, &source, &packed))?;
    }
    if as_json {
        registered["previous"] = active;
        return terminal::print(format!("{registered}\n").as_bytes());
    }
    let mut text = changes(&registered["changes"]) + pool_notice(&registered);
    text += &match (arguments.dry_run, is_activated) {
        (true, _) if text.is_empty() => "nothing would change\n".to_owned(),
        (true, _) => "nothing was changed, because of --dry-run\n".to_owned(),
        (false, false) => format!("nothing has changed; revision {number} is active\n"),
        (false, true) if number == active => {
            format!(
                "revision {number} is active; the items that were not served are defined again\n"
            )
        }
        (false, true) => format!("revision {number} is active\n"),
    };
    terminal::print(text.as_bytes())
}

/// Uploads the modules that the server does not have, and then registers a manifest.
fn register(
    client: &Client,
    (source, packed): (&Source, &Packed),
    path: &str,
    body: &Value,
) -> Result<Value, Failure> {
    let register = || client.json("POST", path, Some(body));
    let of_manifest = |failure| refused::manifest(failure, source, packed);
    let problem = match register() {
        Err(Failure::Remote(problem)) if problem.code() == "modules_missing" => problem,
        result => return result.map_err(of_manifest),
    };
    let missing = problem.member("missing").and_then(Value::as_array);
    for hash in missing.into_iter().flatten().filter_map(Value::as_str) {
        let name = format!("{hash}.wasm");
        let Some(module) = packed.modules.get(&name) else { continue };
        let request = client.request("POST", &format!("/v1/modules?sha256={hash}"));
        let sent = client.send(request.header("content-type", "application/wasm"), &**module);
        sent.map_err(|failure| refused::module(failure, &name, source, packed))?;
    }
    register().map_err(of_manifest)
}

pub(crate) fn rollback(arguments: &RollbackArguments, as_json: bool) -> Result<(), Failure> {
    #[cfg(feature = "cluster")]
    if arguments.server.server.is_none() && arguments.cluster.is_named() {
        let mut rollback = wpc_cluster::Rollback::new();
        rollback.to = arguments.revision.or(arguments.to);
        rollback.function.clone_from(&arguments.function);
        rollback.note.clone_from(&arguments.note);
        let found = cluster_deploy::rollback(&arguments.cluster, &rollback)?;
        return cluster_deploy::print(found, as_json);
    }
    let client = arguments.server.required()?;
    let body = json!({
        "to": arguments.revision.or(arguments.to),
        "function": arguments.function,
        "note": arguments.note,
    });
    let changed = client.json("POST", "/v1/rollback", Some(&body));
    let changed = changed.map_err(refused::without_lines)?;
    let text = if as_json { format!("{changed}\n") } else { activated(&changed) };
    terminal::print(text.as_bytes())
}

/// What changed with an activation, and the revision that is active now.
pub(crate) fn activated(changed: &Value) -> String {
    let mut text = String::new();
    for name in ["defined", "removed"] {
        let items = changed[name].as_array().into_iter().flatten();
        for item in items.filter_map(Value::as_str) {
            text += &format!("{name} {}\n", escape(item));
        }
    }
    text += pool_notice(changed);
    text + &format!("revision {} is active\n", changed["active"])
}

/// A line about the table `[pool]`, if it does not apply to the running pool.
fn pool_notice(changed: &Value) -> &'static str {
    if changed["pool_outdated"] == true {
        "[pool] has changed; it takes effect when the server restarts\n"
    } else {
        ""
    }
}

/// The items that differ, one per line, each followed by its differences.
pub(crate) fn changes(changes: &Value) -> String {
    let mut text = String::new();
    for change in changes.as_array().into_iter().flatten() {
        let word = |name: &str| change[name].as_str().unwrap_or_default();
        let line = format!("{} {} \"{}\"", word("change"), word("kind"), word("name"));
        text += &format!("{}\n", escape(&line));
        if word("change") == "changed" {
            for (part, name) in [("entry", None), ("module", Some("module"))] {
                let sides = [&change["before"][part], &change["after"][part]];
                text += &members(sides, name);
            }
        }
    }
    text
}

/// The members that differ between two objects. Other values are returned as they are.
fn members([before, after]: [&Value; 2], prefix: Option<&str>) -> String {
    let shown = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        value => escape(&value.to_string()),
    };
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        let is_same = before == after;
        return if is_same {
            String::new()
        } else {
            format!("  {} -> {}\n", shown(before), shown(after))
        };
    };
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let none = Value::Null;
    let differing = names.into_iter().filter_map(|name| {
        let sides = [old.get(name).unwrap_or(&none), new.get(name).unwrap_or(&none)];
        (sides[0] != sides[1]).then(|| {
            let name = prefix.map_or_else(|| name.clone(), |prefix| format!("{prefix} {name}"));
            format!("  {}: {} -> {}\n", escape(&name), shown(sides[0]), shown(sides[1]))
        })
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_what_differs() {
        let side = |file: &str, grants: &[&str], signature: &str| {
            json!({
                "entry": { "file": file, "grants": grants },
                "module": { "size": 7, "signatures": { "f": signature } },
            })
        };
        let found = json!([
            { "kind": "function", "name": "g", "change": "added", "before": null, "after": side("1", &[], "") },
            {
                "kind": "function",
                "name": "f",
                "change": "changed",
                "before": side("1", &[], "() -> i32"),
                "after": side("2", &["clock"], "() -> \u{1b}[31m"),
            },
            {
                "kind": "constant",
                "name": "C",
                "change": "changed",
                "before": { "entry": 1 },
                "after": { "entry": 2 },
            },
        ]);
        let expected = "added function \"g\"
changed function \"f\"
  file: \"1\" -> \"2\"
  grants: [] -> [\"clock\"]
  module signatures: {\"f\":\"() -> i32\"} -> {\"f\":\"() -> \\\\u001b[31m\"}
changed constant \"C\"
  1 -> 2
";
        assert_eq!(changes(&found), expected.replace("\\\\u", "\\u"));
    }
}
