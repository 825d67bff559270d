//! Processes that run functions together.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The processes that run the same functions, as one of them knows them, see
/// [`Backend::cluster`](crate::Backend::cluster). Each of them is a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterInformation {
    /// The name of this process as a node; `None` if it only calls functions.
    pub node: Option<String>,
    /// Whether this process can reach the others.
    pub is_connected: bool,
    /// How often the connection to the others was lost.
    pub disconnects: u64,
    /// The messages that were dropped because this process did not read them in time.
    pub dropped_messages: u64,
    /// Why the others cannot call this process reliably, for example because another one has its name; empty if nothing is known.
    pub problem: String,
    /// The revision of the functions that is active in the cluster; `None` if no revision is active, or if it is not known.
    pub active_revision: Option<u64>,
    /// The nodes, sorted by name.
    pub nodes: Vec<NodeInformation>,
}

impl ClusterInformation {
    /// The node that this process is.
    ///
    /// ```
    /// use wpc_host::{ClusterInformation, NodeInformation, NodeState};
    ///
    /// let mut cluster = ClusterInformation::default();
    /// cluster.node = Some("north".to_owned());
    /// cluster.nodes.push(NodeInformation::new("north", NodeState::Ready));
    /// assert!(cluster.own_node().is_some_and(|node| node.state == NodeState::Ready));
    /// ```
    #[must_use]
    pub fn own_node(&self) -> Option<&NodeInformation> {
        let name = self.node.as_deref()?;
        self.nodes.iter().find(|node| node.name == name)
    }
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeInformation {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: NodeState,
    /// The version of its program.
    pub version: String,
    /// The revision of the functions that it runs; `None` if it runs none.
    pub revision: Option<u64>,
    /// The number of its workers that accept calls.
    pub workers: usize,
    /// How many calls it accepts at once.
    pub call_limit: usize,
    /// The calls that it has accepted and not answered.
    pub calls_in_flight: usize,
    /// The calls from other processes that it has accepted since its start.
    pub calls_accepted: u64,
    /// The calls from other processes that it has refused since its start.
    pub calls_refused: u64,
    /// The time since it last reported.
    pub last_heartbeat: Duration,
    /// Why other processes cannot call it reliably, or why it does not run the active revision; empty if it has no problem.
    pub problem: String,
}

impl NodeInformation {
    /// A node without workers and calls. The other fields can be set.
    #[must_use]
    pub fn new(name: impl Into<String>, state: NodeState) -> Self {
        Self {
            name: name.into(),
            state,
            version: String::new(),
            revision: None,
            workers: 0,
            call_limit: 0,
            calls_in_flight: 0,
            calls_accepted: 0,
            calls_refused: 0,
            last_heartbeat: Duration::ZERO,
            problem: String::new(),
        }
    }
}

/// The state of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeState {
    /// It runs the functions of the active revision.
    Ready,
    /// It runs the functions of another revision.
    Behind,
    /// It finishes its calls and accepts no others.
    Draining,
    /// It has not reported for a long time.
    Lost,
}
