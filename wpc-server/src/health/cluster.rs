//! The check of a cluster in the probes of one of its processes.

use super::report::{Verdict, on_one_line};
use crate::cluster::state_name;
use std::fmt::Write as _;
use wpc_host::{ClusterInformation, NodeInformation, NodeState};

/// Whether this process is ready as a part of the cluster, and why. It contains no text from modules, because probes need no token.
pub(super) fn check(cluster: &ClusterInformation) -> (Verdict, String) {
    let own = cluster.own_node();
    if own.is_some_and(|own| own.state == NodeState::Draining) {
        return (
            Verdict::Failed,
            "this node is draining: it accepts no calls from other nodes".to_owned(),
        );
    }
    let degraded = |detail: String| (Verdict::Degraded, detail);
    if cluster.is_connected && !cluster.problem.is_empty() {
        return degraded(cluster.problem.clone());
    }
    match (cluster.is_connected, &cluster.node, own) {
        // It runs no functions, so every call would be refused.
        (false, None, _) => (Verdict::Failed, "the nodes cannot be reached".to_owned()),
        (false, Some(_), _) => degraded(
            "the other nodes cannot be reached; functions of this node are served".to_owned(),
        ),
        (true, Some(_), None) => degraded("this node has not reported yet".to_owned()),
        (true, _, Some(own)) if own.state == NodeState::Lost => degraded(format!(
            "the last heartbeat of this node arrived {} s ago",
            own.last_heartbeat.as_secs()
        )),
        (true, _, Some(own)) if own.state == NodeState::Behind => degraded(drift(own, cluster)),
        (true, ..) => (Verdict::Passed, summary(cluster)),
    }
}

fn drift(own: &NodeInformation, cluster: &ClusterInformation) -> String {
    let runs = own.revision.map_or("no revision".to_owned(), |number| format!("revision {number}"));
    let active = match cluster.active_revision {
        Some(active) if own.revision != Some(active) => format!("revision {active} is active"),
        Some(_) => "its content differs from that of the active revision".to_owned(),
        None => "no revision is active".to_owned(),
    };
    let reason = if own.problem.is_empty() { "" } else { "; `/readyz?verbose` shows the reason" };
    format!("this node runs {runs}, and {active}{reason}")
}

fn summary(cluster: &ClusterInformation) -> String {
    let ready = cluster.nodes.iter().filter(|node| node.state == NodeState::Ready).count();
    let nodes = cluster.nodes.len();
    let noun = if nodes == 1 { "node is" } else { "nodes are" };
    format!("{ready} of {nodes} {noun} ready")
}

/// A line for each node.
pub(super) fn lines(cluster: &ClusterInformation) -> String {
    let mut text = String::new();
    for node in &cluster.nodes {
        let verdict = match node.state {
            NodeState::Ready => Verdict::Passed,
            NodeState::Lost => Verdict::Failed,
            _ => Verdict::Degraded,
        };
        let _ = write!(text, "{} node {:?}: {}", verdict.mark(), node.name, state_name(node.state));
        match node.revision {
            Some(revision) => _ = write!(text, ", revision {revision}"),
            None => text += ", no revision",
        }
        if node.state == NodeState::Lost {
            let _ = write!(text, ", last heartbeat {} s ago", node.last_heartbeat.as_secs());
        } else {
            let _ = write!(text, ", {} of {} calls", node.calls_in_flight, node.call_limit);
        }
        if !node.problem.is_empty() {
            let _ = write!(text, ": {}", on_one_line(&node.problem));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(state: NodeState, revision: Option<u64>) -> ClusterInformation {
        let mut cluster = ClusterInformation::default();
        let mut own = NodeInformation::new("north", state);
        own.revision = revision;
        (cluster.node, cluster.is_connected) = (Some("north".to_owned()), true);
        cluster.active_revision = Some(4);
        cluster.nodes = vec![own, NodeInformation::new("south", NodeState::Lost)];
        cluster
    }

    #[test]
    fn other_nodes_do_not_decide_whether_this_one_is_ready() {
        let ready = cluster(NodeState::Ready, Some(4));
        assert_eq!(check(&ready), (Verdict::Passed, "1 of 2 nodes are ready".to_owned()));
    }

    #[test]
    fn a_process_without_functions_of_its_own_needs_the_nodes() {
        let mut client = cluster(NodeState::Ready, Some(4));
        (client.node, client.is_connected) = (None, false);
        assert_eq!(check(&client).0, Verdict::Failed);
        client.node = Some("north".to_owned());
        assert_eq!(check(&client).0, Verdict::Degraded);
    }

    #[test]
    fn a_node_that_others_cannot_call_is_degraded() {
        let mut shared = cluster(NodeState::Ready, Some(4));
        shared.problem = "the name is in use".to_owned();
        assert_eq!(check(&shared), (Verdict::Degraded, shared.problem.clone()));
    }

    #[test]
    fn a_node_that_drains_is_not_ready_whatever_else_is_wrong() {
        let mut draining = cluster(NodeState::Draining, None);
        draining.is_connected = false;
        assert_eq!(check(&draining).0, Verdict::Failed);
    }

    #[test]
    fn drift_names_both_revisions() {
        let detail = |revision| check(&cluster(NodeState::Behind, revision)).1;
        assert_eq!(detail(Some(3)), "this node runs revision 3, and revision 4 is active");
        assert_eq!(detail(None), "this node runs no revision, and revision 4 is active");
        assert_eq!(
            detail(Some(4)),
            "this node runs revision 4, and its content differs from that of the active revision"
        );
    }

    #[test]
    fn a_node_whose_reports_do_not_arrive_is_degraded() {
        assert_eq!(check(&cluster(NodeState::Lost, Some(4))).0, Verdict::Degraded);
        let mut absent = cluster(NodeState::Ready, Some(4));
        absent.nodes.clear();
        assert_eq!(check(&absent).0, Verdict::Degraded);
    }
}
