//! `wpc serve --cluster`: a server that is a node of a cluster.

use crate::cluster_options::{Cluster, ClusterArguments, Development, failure};
use crate::event_log::{self, Level};
use crate::failure::Failure;
use serde_json::json;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;
use wpc_cluster::{Node, NodeName, NodeOptions};
use wpc_deploy::{Apply, Deployment, Manifest, Problem, Report, Setup, Source};
use wpc_host::Backend;

/// The cluster that a server joins.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(crate) struct NodeArguments {
    #[command(flatten)]
    pub(crate) cluster: ClusterArguments,
    /// With `--cluster`: the name of this node, unique in the cluster: 1 to 64 letters, digits, `-` and `_`. By default, the
    /// name of the machine with a random suffix.
    #[arg(long, value_name = "NODE", env = "WPC_NAME")]
    name: Option<NodeName>,
    /// With `--cluster`: the maximum number of calls in progress of functions that cannot suspend. By default, three for each
    /// worker.
    #[arg(long, value_name = "N", env = "WPC_CALL_LIMIT")]
    call_limit: Option<NonZeroUsize>,
}

/// The tables of a manifest that define functions and what they need.
const TABLES: [&str; 4] = ["constants", "dependencies", "modules", "functions"];

/// A deployment whose functions the registry of a cluster defines.
pub(crate) struct Joining {
    pub(crate) deployment: Deployment,
    cluster: Cluster,
    options: NodeOptions,
}

/// A node, with the server for development if this process started one.
pub(crate) struct Joined {
    pub(crate) node: Node,
    _development: Option<Development>,
}

/// The manifest of a node, of which only the tables `[pool]` and `[server]` count.
#[derive(Debug)]
pub(crate) struct OwnSettings;

impl Joining {
    /// Prepares to join, if a cluster is named. `data` is the folder of the server, which keeps this many revisions.
    pub(crate) fn new(
        arguments: &NodeArguments,
        (data, keep_revisions): (Option<&Path>, NonZeroUsize),
        is_insecure: bool,
        source: &Source,
        setup: Setup,
    ) -> Option<Result<Self, Failure>> {
        let own = data.map(|data| data.join("nats"));
        let cluster = arguments.cluster.cluster(own.as_deref())?;
        let joining = || {
            let cluster = cluster?;
            if !is_insecure {
                cluster.options.require_credentials().map_err(failure)?;
            }
            if let Some(problem) = defined(source) {
                return Err(Failure::Problems(vec![problem]));
            }
            let deployment =
                Deployment::open(source, &source.parse()?, setup.modules_by_content())?;
            let mut options = NodeOptions::new(arguments.name.clone().unwrap_or_else(default_name));
            options.call_limit = arguments.call_limit.map(NonZeroUsize::get);
            options.folder = data.map(|data| data.join("cluster"));
            options.keep_revisions = keep_revisions.get();
            Ok(Self { deployment, cluster, options })
        };
        Some(joining())
    }

    /// Joins, and reports it.
    pub(crate) fn join(
        self,
        runtime: &Runtime,
        backend: Arc<dyn Backend>,
        as_json: bool,
    ) -> Result<Joined, Failure> {
        let Self { deployment, cluster, options } = self;
        if let Some(notice) = cluster.development.as_ref().and_then(Development::notice) {
            let line = if as_json {
                event_log::json_notice("nats", Level::Info, json!({ "message": notice }))
            } else {
                notice
            };
            // The reader of standard error may be gone.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        let joining = Node::join(options, cluster.options, deployment, backend);
        let node = runtime.block_on(joining).map_err(failure)?;
        report(&node, as_json);
        Ok(Joined { node, _development: cluster.development })
    }
}

/// Reports the state of a node that has joined.
fn report(node: &Node, as_json: bool) {
    let (name, cluster) = (node.name(), node.client().information());
    let line = if as_json {
        let fields = json!({ "node": name.as_str(), "is_connected": cluster.is_connected, "revision": node.revision(), "problem": node.obstacle() });
        event_log::json_notice("joined", Level::Info, fields)
    } else if !cluster.is_connected {
        let connection = node.client().connection();
        let reason = connection.failure().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!(
            "node {name}: NATS cannot be reached at {}{reason}; the node serves its own clients, and joins when NATS can be reached",
            connection.servers()
        )
    } else {
        let active = cluster.active_revision;
        let active =
            active.map_or_else(|| "nothing".to_owned(), |number| format!("revision {number}"));
        match node.obstacle() {
            None => format!("node {name} has joined; {active} is active"),
            Some(obstacle) => format!(
                "node {name} serves its own clients; {active} is active; other processes cannot call it reliably: {obstacle}"
            ),
        }
    };
    // The reader of standard error may be gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The problem of a manifest that defines functions of its own.
fn defined(source: &Source) -> Option<Problem> {
    let table = source.text().parse::<toml::Table>().ok()?;
    let found = TABLES.into_iter().find(|table_name| table.contains_key(*table_name))?;
    let message = format!(
        "[{found}] is not allowed in the manifest of a node: its functions are those of the cluster; deploy them with `wpc deploy --cluster`, and keep only [pool] and [server] here"
    );
    Some(Problem::environment(message))
}

impl Apply for OwnSettings {
    fn apply(&mut self, source: &Source, _: &Manifest) -> Report {
        let mut report = Report::default();
        report.problems.extend(defined(source));
        report
    }
}

/// The name of the machine with a random suffix.
fn default_name() -> NodeName {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let host = host.trim();
    NodeName::with_random_suffix(if host.is_empty() { "node" } else { host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_name_is_valid_and_unique() {
        let (one, other) = (default_name(), default_name());
        assert_ne!(one, other);
        assert!(one.as_str().len() <= 64);
    }

    #[test]
    fn the_manifest_of_a_node_defines_no_functions() {
        let problem = |text: &str| defined(&Source::new("wpc.toml".into(), text.to_owned()));
        assert!(problem("[pool]\nworkers = 1\n[server]\ngrace = \"1s\"\n").is_none());
        let found = problem("[functions.f]\nfile = \"f.wasm\"\n").unwrap();
        assert!(found.message.contains("wpc deploy --cluster"), "{found}");
    }
}
