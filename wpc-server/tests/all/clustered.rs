//! A pool that reports a cluster around itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use wpc_host::{
    Backend, CallArguments, CallOptions, ClusterInformation, Error, EventSubscription,
    FinishedCallSampler, FunctionHash, FunctionInformation, NodeInformation, NodeState,
    PoolMetrics, ReplyFormat, StreamOptions, SubmittedCall, SubmittedStream, Warming,
    WorkerProcedureCall,
};

/// A pool, and the cluster that it reports, which tests change.
#[derive(Debug, Clone)]
pub(crate) struct Clustered {
    wpc: WorkerProcedureCall,
    cluster: Arc<Mutex<ClusterInformation>>,
}

impl Clustered {
    pub(crate) fn new(wpc: &WorkerProcedureCall, cluster: ClusterInformation) -> Self {
        Self { wpc: wpc.clone(), cluster: Arc::new(Mutex::new(cluster)) }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut ClusterInformation)) {
        change(&mut self.cluster.lock().unwrap());
    }
}

/// A node with these calls, which reported a moment ago.
pub(crate) fn node(name: &str, state: NodeState, revision: u64, calls: usize) -> NodeInformation {
    let mut node = NodeInformation::new(name, state);
    node.version = "0.1.0".to_owned();
    (node.revision, node.workers, node.call_limit) = (Some(revision), 2, 64);
    (node.calls_in_flight, node.calls_accepted) = (calls, 1_000 + calls as u64);
    node.last_heartbeat = Duration::from_millis(300);
    node
}

/// A cluster whose node `north` is this process: `south` is behind the active revision, and `west` is lost.
pub(crate) fn cluster() -> ClusterInformation {
    let mut south = node("south", NodeState::Behind, 6, 5);
    south.problem = "the module of \"resize\" is damaged".to_owned();
    south.calls_refused = 3;
    let mut west = node("west", NodeState::Lost, 7, 0);
    west.last_heartbeat = Duration::from_secs(42);
    let mut cluster = ClusterInformation::default();
    (cluster.node, cluster.is_connected) = (Some("north".to_owned()), true);
    (cluster.disconnects, cluster.dropped_messages, cluster.active_revision) = (1, 2, Some(7));
    cluster.nodes = vec![node("north", NodeState::Ready, 7, 64), south, west];
    cluster
}

impl Backend for Clustered {
    fn submit(
        &self,
        function: &str,
        arguments: CallArguments,
        format: ReplyFormat,
        options: &CallOptions,
    ) -> Result<SubmittedCall, Error> {
        Backend::submit(&self.wpc, function, arguments, format, options)
    }

    fn stream(
        &self,
        function: &str,
        arguments: CallArguments,
        options: &StreamOptions,
    ) -> Result<SubmittedStream, Error> {
        Backend::stream(&self.wpc, function, arguments, options)
    }

    fn function(&self, name: &str) -> Option<FunctionInformation> {
        Backend::function(&self.wpc, name)
    }

    fn functions(&self) -> Vec<FunctionInformation> {
        Backend::functions(&self.wpc)
    }

    fn visit_names(&self, visit: &mut dyn FnMut(&str) -> bool) {
        Backend::visit_names(&self.wpc, visit);
    }

    fn function_hash(&self, name: &str) -> Option<FunctionHash> {
        Backend::function_hash(&self.wpc, name)
    }

    fn definitions_version(&self) -> u64 {
        Backend::definitions_version(&self.wpc)
    }

    fn revive(&self, function: &str) -> Result<bool, Error> {
        Backend::revive(&self.wpc, function)
    }

    fn warm(&self, function: &str) -> Warming {
        Backend::warm(&self.wpc, function)
    }

    fn subscribe(&self, capacity: usize) -> EventSubscription {
        Backend::subscribe(&self.wpc, capacity)
    }

    fn sample_finished_calls(&self, sampler: Option<FinishedCallSampler>) {
        Backend::sample_finished_calls(&self.wpc, sampler);
    }

    fn metrics(&self) -> PoolMetrics {
        Backend::metrics(&self.wpc)
    }

    fn cluster(&self) -> Option<ClusterInformation> {
        Some(self.cluster.lock().unwrap().clone())
    }
}
