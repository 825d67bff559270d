//! The nodes of a cluster as JSON, and the names of their states.

use serde::{Serialize, Serializer};
use wpc_host::{ClusterInformation, NodeInformation, NodeState};

/// The states of nodes.
pub(crate) const STATES: [NodeState; 4] =
    [NodeState::Ready, NodeState::Behind, NodeState::Draining, NodeState::Lost];

/// The name of a state in metrics and in text.
pub(crate) const fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Ready => "ready",
        NodeState::Behind => "behind",
        NodeState::Draining => "draining",
        NodeState::Lost => "lost",
        _ => "unknown",
    }
}

/// A cluster as JSON, with all of its nodes.
#[derive(Debug)]
pub(crate) struct ReportedCluster(pub(crate) ClusterInformation);

impl Serialize for ReportedCluster {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes = self.0.nodes.iter().map(NodeEntry::from).collect();
        ClusterHead { nodes: Some(nodes), ..ClusterHead::from(&self.0) }.serialize(serializer)
    }
}

/// A cluster as JSON; its nodes are omitted if they are sent separately.
#[derive(Debug, Serialize)]
pub(crate) struct ClusterHead<'a> {
    /// The name of this process as a node; `null` if it only calls functions.
    node: Option<&'a str>,
    is_connected: bool,
    disconnects: u64,
    dropped_messages: u64,
    /// Why others cannot call this process reliably; empty if nothing is known.
    problem: &'a str,
    active_revision: Option<u64>,
    /// How many nodes there are.
    node_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<NodeEntry<'a>>>,
}

impl<'a> From<&'a ClusterInformation> for ClusterHead<'a> {
    fn from(cluster: &'a ClusterInformation) -> Self {
        Self {
            node: cluster.node.as_deref(),
            is_connected: cluster.is_connected,
            disconnects: cluster.disconnects,
            dropped_messages: cluster.dropped_messages,
            problem: &cluster.problem,
            active_revision: cluster.active_revision,
            node_count: cluster.nodes.len(),
            nodes: None,
        }
    }
}

/// A node as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct NodeEntry<'a> {
    name: &'a str,
    state: NodeState,
    version: &'a str,
    revision: Option<u64>,
    workers: usize,
    call_limit: usize,
    calls_in_flight: usize,
    calls_accepted: u64,
    calls_refused: u64,
    last_heartbeat_seconds: f64,
    problem: &'a str,
}

impl<'a> From<&'a NodeInformation> for NodeEntry<'a> {
    fn from(node: &'a NodeInformation) -> Self {
        Self {
            name: &node.name,
            state: node.state,
            version: &node.version,
            revision: node.revision,
            workers: node.workers,
            call_limit: node.call_limit,
            calls_in_flight: node.calls_in_flight,
            calls_accepted: node.calls_accepted,
            calls_refused: node.calls_refused,
            // A report takes about a millisecond through the network, so a higher precision would have no meaning.
            last_heartbeat_seconds: node.last_heartbeat.as_millis() as f64 / 1e3,
            problem: &node.problem,
        }
    }
}

impl<'a> NodeEntry<'a> {
    /// The same with texts of at most this many bytes.
    pub(crate) fn shortened(self, max: usize) -> Self {
        let cut = |text: &'a str| &text[..text.floor_char_boundary(max)];
        Self { version: cut(self.version), problem: cut(self.problem), ..self }
    }
}
