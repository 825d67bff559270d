//! The nodes of a cluster at one moment, and how many calls they accept.

use super::sample::MAX_GAP;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use wpc_host::{ClusterInformation, NodeInformation, NodeState};

/// A cluster at one moment.
#[derive(Debug)]
pub(crate) struct ClusterSample {
    pub(crate) cluster: ClusterInformation,
    /// The accepted calls per second of each node, in the order of the nodes; `None` before its second report, and if it is lost.
    pub(crate) accept_rates: Vec<Option<f64>>,
}

/// The time of the same report is computed again for each sample and differs by less than this.
const SAME_REPORT: Duration = Duration::from_millis(10);

/// What the next sample is compared with. Nodes report by clocks of their own, so a rate is the difference between two reports, not between
/// two samples.
#[derive(Debug, Default)]
pub(super) struct Reports(HashMap<String, Report>);

#[derive(Debug)]
struct Report {
    at: Instant,
    accepted: u64,
    rate: Option<f64>,
}

impl Reports {
    pub(super) fn sample(&mut self, cluster: ClusterInformation, now: Instant) -> ClusterSample {
        self.0.retain(|name, _| cluster.nodes.iter().any(|node| node.name == *name));
        let accept_rates = cluster.nodes.iter().map(|node| self.rate(node, now)).collect();
        ClusterSample { cluster, accept_rates }
    }

    fn rate(&mut self, node: &NodeInformation, now: Instant) -> Option<f64> {
        let at = now.checked_sub(node.last_heartbeat).unwrap_or(now);
        let accepted = node.calls_accepted;
        let Some(report) = self.0.get_mut(&node.name) else {
            self.0.insert(node.name.clone(), Report { at, accepted, rate: None });
            return None;
        };
        let elapsed = at.saturating_duration_since(report.at);
        if elapsed > SAME_REPORT {
            let calls = accepted.saturating_sub(report.accepted) as f64;
            let rate = (elapsed <= MAX_GAP).then(|| calls / elapsed.as_secs_f64());
            *report = Report { at, accepted, rate };
        }
        report.rate.filter(|_| node.state != NodeState::Lost)
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
    fn a_rate_is_the_difference_of_two_reports_by_their_distance() {
        let mut reports = Reports::default();
        let start = Instant::now() + SECOND * 60;
        let mut rate =
            |accepted, age, now| reports.sample(cluster(accepted, age), now).accept_rates[0];
        assert_eq!(rate(100, SECOND, start), None);
        // The same report, later.
        assert_eq!(rate(100, SECOND * 2, start + SECOND), None);
        // Two seconds after the first one.
        assert_eq!(rate(300, SECOND, start + SECOND * 2), Some(100.0));
        assert_eq!(rate(300, SECOND * 2, start + SECOND * 3), Some(100.0));
    }

    #[test]
    fn a_node_that_started_again_has_no_negative_rate() {
        let mut reports = Reports::default();
        let start = Instant::now() + SECOND * 60;
        reports.sample(cluster(1_000, Duration::ZERO), start);
        let sample = reports.sample(cluster(5, Duration::ZERO), start + SECOND);
        assert_eq!(sample.accept_rates, [Some(0.0)]);
    }

    #[test]
    fn a_lost_node_has_no_rate_and_one_that_is_gone_is_forgotten() {
        let mut reports = Reports::default();
        let start = Instant::now() + SECOND * 60;
        reports.sample(cluster(0, Duration::ZERO), start);
        let mut lost = cluster(9, Duration::ZERO);
        lost.nodes[0].state = NodeState::Lost;
        assert_eq!(reports.sample(lost, start + SECOND).accept_rates, [None]);
        reports.sample(ClusterInformation::default(), start + SECOND * 2);
        assert!(reports.0.is_empty());
    }
}
