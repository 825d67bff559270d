//! The metrics of a cluster and its nodes.

use super::encoder::{Families, Labels};
use crate::cluster::{STATES, state_name};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::collections::BTreeSet;
use std::fmt::Error;
use std::sync::{Arc, Mutex, PoisonError};
use wpc_host::{Backend, ClusterInformation, NodeInformation, NodeState};

/// How many nodes have metrics of their own. With 100 nodes, a scrape has 1,300 lines about them.
const MAX_NODES: usize = 100;

/// Reads the state of the cluster from a backend at each scrape. Without a cluster it writes nothing.
#[derive(Debug)]
pub(super) struct ClusterCollector {
    backend: Arc<dyn Backend>,
    nodes: Mutex<Nodes>,
}

impl ClusterCollector {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, nodes: Mutex::default() }
    }
}

/// The names of the nodes that have metrics of their own. A node keeps them while it is known, so that its counters have no gaps.
#[derive(Debug, Default)]
struct Nodes(BTreeSet<String>);

impl Nodes {
    /// Adds new nodes up to the maximum, and this one in any case.
    fn update(&mut self, cluster: &ClusterInformation) {
        self.0.retain(|name| cluster.nodes.iter().any(|node| node.name == *name));
        for node in &cluster.nodes {
            let is_own = cluster.node.as_ref() == Some(&node.name);
            if is_own || self.0.len() < MAX_NODES {
                self.0.insert(node.name.clone());
            }
        }
    }
}

impl Collector for ClusterCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(cluster) = self.backend.cluster() else { return Ok(()) };
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.update(&cluster);
        let own: Vec<_> =
            cluster.nodes.iter().filter(|node| nodes.0.contains(&node.name)).collect();
        drop(nodes);
        let mut families = Families(encoder);
        write_cluster(&mut families, &cluster)?;
        write_states(&mut families, &own)?;
        write_calls(&mut families, &own)
    }
}

fn write_cluster(families: &mut Families<'_>, cluster: &ClusterInformation) -> Result<(), Error> {
    families.gauge(
        "wpc_cluster_connected",
        "Whether this process can reach the others: 1 or 0.",
        cluster.is_connected.into(),
    )?;
    families.counter(
        "wpc_cluster_disconnects",
        "How often the connection to the others was lost.",
        cluster.disconnects,
    )?;
    families.counter(
        "wpc_cluster_dropped_messages",
        "Messages that were dropped because this process did not read them in time.",
        cluster.dropped_messages,
    )?;
    if let Some(active) = cluster.active_revision {
        families.gauge(
            "wpc_cluster_active_revision",
            "The revision of the functions that is active in the cluster.",
            active,
        )?;
    }
    let count = |state| cluster.nodes.iter().filter(|node| node.state == state).count() as u64;
    families.gauges(
        "wpc_cluster_nodes",
        "All nodes by state, including those without metrics of their own.",
        None,
        STATES.map(|state| ([("state", state_name(state))], count(state))),
    )
}

type Node<'a> = &'a NodeInformation;

/// A value of each node.
fn of_each<'a>(
    nodes: &'a [Node<'_>],
    value: impl Fn(Node<'_>) -> u64 + 'a,
) -> impl Iterator<Item = (Labels<'a, 1>, u64)> {
    nodes.iter().map(move |node| ([("node", &*node.name)], value(node)))
}

fn write_states(families: &mut Families<'_>, nodes: &[Node<'_>]) -> Result<(), Error> {
    families.gauges(
        "wpc_node_up",
        "Whether a node sends heartbeats: 0 if it is lost, otherwise 1.",
        None,
        of_each(nodes, |node| (node.state != NodeState::Lost).into()),
    )?;
    families.gauges(
        "wpc_node_state",
        "The state of a node: 1 for its current state, 0 for the others.",
        None,
        nodes.iter().flat_map(|node| {
            STATES.map(|state| {
                let labels = [("node", &*node.name), ("state", state_name(state))];
                (labels, (node.state == state).into())
            })
        }),
    )?;
    families.info(
        "wpc_node",
        "The version of a node's program.",
        nodes.iter().map(|node| [("node", &*node.name), ("version", &*node.version)]),
    )?;
    families.gauges(
        "wpc_node_revision",
        "The revision of the functions that a node runs; 0 if it runs none.",
        None,
        of_each(nodes, |node| node.revision.unwrap_or_default()),
    )?;
    families.times(
        "wpc_node_last_heartbeat_age",
        "The time since a node's last heartbeat.",
        nodes.iter().map(|node| ([("node", &*node.name)], node.last_heartbeat.as_secs_f64())),
    )
}

fn write_calls(families: &mut Families<'_>, nodes: &[Node<'_>]) -> Result<(), Error> {
    families.gauges(
        "wpc_node_workers",
        "The workers of a node that accept calls.",
        None,
        of_each(nodes, |node| node.workers as u64),
    )?;
    families.gauges(
        "wpc_node_calls_in_flight",
        "The calls that a node has accepted and not answered.",
        None,
        of_each(nodes, |node| node.calls_in_flight as u64),
    )?;
    families.gauges(
        "wpc_node_calls_limit",
        "The maximum of wpc_node_calls_in_flight.",
        None,
        of_each(nodes, |node| node.call_limit as u64),
    )?;
    families.counters(
        "wpc_node_calls_accepted",
        "The calls from other processes that a node has accepted.",
        of_each(nodes, |node| node.calls_accepted),
    )?;
    families.counters(
        "wpc_node_calls_refused",
        "The calls from other processes that a node has refused.",
        of_each(nodes, |node| node.calls_refused),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(own: &str, names: impl IntoIterator<Item = String>) -> ClusterInformation {
        let mut cluster = ClusterInformation::default();
        cluster.node = Some(own.to_owned());
        let nodes = names.into_iter().map(|name| NodeInformation::new(name, NodeState::Ready));
        cluster.nodes = nodes.collect();
        cluster
    }

    #[test]
    fn the_number_of_nodes_is_bounded_and_this_one_is_among_them() {
        let mut nodes = Nodes::default();
        let names = (0..MAX_NODES * 2).map(|number| format!("node{number:03}"));
        nodes.update(&cluster("node199", names.clone()));
        assert!(nodes.0.contains("node000") && nodes.0.contains("node199"));
        assert_eq!(nodes.0.len(), MAX_NODES + 1);
        nodes.update(&cluster("node199", names));
        assert_eq!(nodes.0.len(), MAX_NODES + 1, "no node is counted twice");
    }

    #[test]
    fn a_node_that_is_not_known_any_more_frees_its_slot_for_another() {
        let mut nodes = Nodes::default();
        let names = |from: usize| (from..from + MAX_NODES).map(|number| format!("node{number:03}"));
        nodes.update(&cluster("node050", names(0)));
        nodes.update(&cluster("node050", names(1)));
        assert!(!nodes.0.contains("node000") && nodes.0.contains("node100"));
    }
}
