//! The nodes of a cluster in a frame.

use super::frame::{List, SHORT_TEXT, to_json};
use crate::cluster::NodeEntry;
use crate::live::ClusterSample;
use serde::Serialize;
use wpc_host::NodeState;

/// The maximum number of bytes of JSON that the nodes take. The rows of functions have the rest.
const MAX_BYTES: usize = 12 << 10;

#[derive(Serialize)]
struct Node<'a> {
    #[serde(flatten)]
    entry: NodeEntry<'a>,
    /// The calls per second that it accepts.
    accept_rate: Option<f64>,
}

/// The nodes as elements of a JSON array: this one first, then those that are not ready, as many as fit.
pub(super) fn nodes(sample: &ClusterSample) -> String {
    let cluster = &sample.cluster;
    let mut nodes: Vec<_> = cluster.nodes.iter().zip(&sample.accept_rates).collect();
    nodes.sort_by_key(|(node, _)| {
        (cluster.node.as_ref() != Some(&node.name), node.state == NodeState::Ready)
    });
    let mut list = List::new(MAX_BYTES);
    for (node, rate) in nodes {
        let entry = NodeEntry::from(node).shortened(SHORT_TEXT);
        if !list.push(to_json(&Node { entry, accept_rate: *rate })) {
            break;
        }
    }
    list.json
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use wpc_host::{ClusterInformation, NodeInformation};

    #[test]
    fn of_many_nodes_this_one_and_those_with_problems_are_sent() {
        let mut cluster = ClusterInformation::default();
        cluster.node = Some("node998".to_owned());
        for number in 0..1_000 {
            let mut node = NodeInformation::new(format!("node{number:03}"), NodeState::Ready);
            node.problem = "\u{1}".repeat(1_000);
            cluster.nodes.push(node);
        }
        cluster.nodes[999].state = NodeState::Lost;
        let sample = ClusterSample { cluster, accept_rates: vec![None; 1_000] };
        let json = nodes(&sample);
        assert!(json.len() <= MAX_BYTES);
        let nodes: Vec<Value> = serde_json::from_str(&format!("[{json}]")).unwrap();
        assert_eq!((&nodes[0]["name"], &nodes[1]["name"]), (&"node998".into(), &"node999".into()));
        assert_eq!(nodes[2]["name"], "node000");
    }
}
