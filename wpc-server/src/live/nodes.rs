//! The nodes of a cluster at one moment, and how many calls they accept.

use super::sample::MAX_GAP;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use wpc_host::{ClusterInformation, NodeInformation, NodeState};

/// A cluster at one moment.
#[derive(Debug)]
pub(crate) struct ClusterSample {
    pub(crate) cluster: ClusterInformation,
    /// The accepted calls per second of each node, in the order of the nodes; `None` before its second heartbeat, and if it is lost.
    pub(crate) accept_rates: Vec<Option<f64>>,
}

/// The time of the same heartbeat is computed again for each sample and differs by less than this.
const SAME_HEARTBEAT: Duration = Duration::from_millis(10);

/// What the next sample is compared with. Nodes send heartbeats by clocks of their own, so a rate is the difference between two heartbeats, not between
/// two samples.
#[derive(Debug, Default)]
pub(super) struct Heartbeats(HashMap<String, Heartbeat>);

#[derive(Debug)]
struct Heartbeat {
    at: Instant,
    accepted: u64,
    rate: Option<f64>,
}

impl Heartbeats {
    pub(super) fn sample(&mut self, cluster: ClusterInformation, now: Instant) -> ClusterSample {
        self.0.retain(|name, _| cluster.nodes.iter().any(|node| node.name == *name));
        let accept_rates = cluster.nodes.iter().map(|node| self.rate(node, now)).collect();
        ClusterSample { cluster, accept_rates }
    }

    fn rate(&mut self, node: &NodeInformation, now: Instant) -> Option<f64> {
        let at = now.checked_sub(node.last_heartbeat).unwrap_or(now);
        let accepted = node.calls_accepted;
        let Some(heartbeat) = self.0.get_mut(&node.name) else {
            self.0.insert(node.name.clone(), Heartbeat { at, accepted, rate: None });
            return None;
        };
        let elapsed = at.saturating_duration_since(heartbeat.at);
        if elapsed > SAME_HEARTBEAT {
            let calls = accepted.saturating_sub(heartbeat.accepted) as f64;
            let rate = (elapsed <= MAX_GAP).then(|| calls / elapsed.as_secs_f64());
            *heartbeat = Heartbeat { at, accepted, rate };
        }
        heartbeat.rate.filter(|_| node.state != NodeState::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(accepted: u64, age: Duration) -> ClusterInformation {
        let mut node = NodeInformation::new("north", NodeState::Ready);
        (node.calls_accepted, node.last_heartbeat) = (accepted, age);
        let mut cluster = ClusterInformation::default();
        cluster.nodes.push(node);
        cluster
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_the_difference_of_two_heartbeats_by_their_distance() {
        let mut heartbeats = Heartbeats::default();
        let start = Instant::now() + SECOND * 60;
        let mut rate =
            |accepted, age, now| heartbeats.sample(cluster(accepted, age), now).accept_rates[0];
        assert_eq!(rate(100, SECOND, start), None);
        // The same heartbeat, later.
        assert_eq!(rate(100, SECOND * 2, start + SECOND), None);
        // Two seconds after the first one.
        assert_eq!(rate(300, SECOND, start + SECOND * 2), Some(100.0));
        assert_eq!(rate(300, SECOND * 2, start + SECOND * 3), Some(100.0));
    }

    #[test]
    fn a_node_that_started_again_has_no_negative_rate() {
        let mut heartbeats = Heartbeats::default();
        let start = Instant::now() + SECOND * 60;
        heartbeats.sample(cluster(1_000, Duration::ZERO), start);
        let sample = heartbeats.sample(cluster(5, Duration::ZERO), start + SECOND);
        assert_eq!(sample.accept_rates, [Some(0.0)]);
    }

    #[test]
    fn a_lost_node_has_no_rate_and_one_that_is_gone_is_forgotten() {
        let mut heartbeats = Heartbeats::default();
        let start = Instant::now() + SECOND * 60;
        heartbeats.sample(cluster(0, Duration::ZERO), start);
        let mut lost = cluster(9, Duration::ZERO);
        lost.nodes[0].state = NodeState::Lost;
        assert_eq!(heartbeats.sample(lost, start + SECOND).accept_rates, [None]);
        heartbeats.sample(ClusterInformation::default(), start + SECOND * 2);
        assert!(heartbeats.0.is_empty());
    }
}
