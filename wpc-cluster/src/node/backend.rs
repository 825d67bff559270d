//! A node as the backend of a server: calls run in its own pool if possible, and on other nodes otherwise.

use super::{Intake, Node, tasks};
use crate::protocol::admission::Admitted;
use futures::StreamExt as _;
use std::sync::Arc;
use wpc_host::{
    Backend, CallArguments, CallOptions, ClusterInformation, Error, EventSubscription,
    FinishedCallSampler, FunctionHash, FunctionHealth, FunctionInformation, PoolHealth,
    PoolMetrics, ReplyFormat, StreamOptions, SubmittedCall, SubmittedStream, Warming,
};

/// Where a call runs.
enum Target {
    /// In the pool of this process, with a slot among its calls.
    Local(Admitted),
    /// On another node.
    Remote,
}

impl Node {
    /// Where a call to a function runs: here if the pool has its active definition and the node has a free slot. While the other nodes
    /// cannot be reached, the definition in the pool runs even if it is not the active one.
    fn target(&self, function: &str) -> Target {
        let inner = &self.0;
        let snapshot = inner.client.snapshot();
        let active = snapshot.functions.get(function).map(|function| function.definition);
        let here = inner.serving.read(|served| served.functions.get(function).copied());
        let is_alone = !inner.connection.is_up() || active.is_none();
        let here = here.filter(|here| is_alone || active == Some(here.definition));
        let admitted = here.and_then(|here| inner.admission.admit(here.can_suspend).ok());
        admitted.map_or(Target::Remote, Target::Local)
    }
}

impl Backend for Node {
    fn submit(
        &self,
        function: &str,
        arguments: CallArguments,
        format: ReplyFormat,
        options: &CallOptions,
    ) -> Result<SubmittedCall, Error> {
        match self.target(function) {
            Target::Local(admitted) => {
                let call = self.0.pool.submit(function, arguments, format, options)?;
                let (id, hash, fuel) = (call.id(), call.function_hash_sha1(), call.fuel_meter());
                let call = SubmittedCall::new(id, hash, async move {
                    let _admitted = admitted;
                    call.await
                });
                Ok(call.with_fuel_meter(fuel))
            }
            Target::Remote => self.0.client.submit(function, arguments, format, options),
        }
    }

    fn stream(
        &self,
        function: &str,
        arguments: CallArguments,
        options: &StreamOptions,
    ) -> Result<SubmittedStream, Error> {
        match self.target(function) {
            Target::Local(admitted) => {
                let stream = self.0.pool.stream(function, arguments, options)?;
                let (id, hash) = (stream.id(), stream.function_hash_sha1());
                let fuel = stream.fuel_meter();
                let parts = stream.map(move |part| {
                    let _ = &admitted;
                    part
                });
                Ok(SubmittedStream::new(id, hash, parts).with_fuel_meter(fuel))
            }
            Target::Remote => self.0.client.stream(function, arguments, options),
        }
    }

    fn function(&self, name: &str) -> Option<FunctionInformation> {
        let own = self.0.pool.function(name);
        own.or_else(|| {
            let snapshot = self.0.client.snapshot();
            snapshot.functions.get(name).map(|function| function.information.clone())
        })
    }

    fn functions(&self) -> Vec<FunctionInformation> {
        let mut functions = self.0.pool.functions();
        let snapshot = self.0.client.snapshot();
        let own: std::collections::HashSet<_> =
            functions.iter().map(|function| function.name.clone()).collect();
        let others = snapshot.functions.values().map(|function| &function.information);
        functions.extend(others.filter(|function| !own.contains(&function.name)).cloned());
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        functions
    }

    fn visit_names(&self, visit: &mut dyn FnMut(&str) -> bool) {
        let mut goes_on = true;
        self.0.pool.visit_names(&mut |name| {
            goes_on = visit(name);
            goes_on
        });
        let snapshot = self.0.client.snapshot();
        let mut others =
            snapshot.functions.keys().filter(|name| self.0.pool.function_hash(name).is_none());
        while goes_on && let Some(name) = others.next() {
            goes_on = visit(name);
        }
    }

    fn function_hash(&self, name: &str) -> Option<FunctionHash> {
        self.0.pool.function_hash(name).or_else(|| {
            let snapshot = self.0.client.snapshot();
            snapshot.functions.get(name).map(|function| function.information.function_hash_sha1)
        })
    }

    fn definitions_version(&self) -> u64 {
        let active = self.0.client.snapshot().revision.unwrap_or(0);
        self.0.pool.definitions_version().wrapping_add(active << 32)
    }

    fn revive(&self, function: &str) -> Result<bool, Error> {
        self.0.pool.revive(function)
    }

    fn warm(&self, function: &str) -> Warming {
        self.0.pool.warm(function)
    }

    fn subscribe(&self, capacity: usize) -> EventSubscription {
        self.0.pool.subscribe(capacity)
    }

    fn sample_finished_calls(&self, sampler: Option<FinishedCallSampler>) {
        self.0.pool.sample_finished_calls(sampler);
    }

    fn metrics(&self) -> PoolMetrics {
        self.0.pool.metrics()
    }

    fn cluster(&self) -> Option<ClusterInformation> {
        let mut cluster = self.0.client.information();
        cluster.node = Some(self.0.name.to_string());
        cluster.problem = self.0.obstacle().unwrap_or_default();
        Some(cluster)
    }

    fn set_draining(&self, is_draining: bool) {
        let inner = &self.0;
        let intake = if is_draining { Intake::Paused } else { Intake::Open };
        // A node that leaves does not return.
        let has_changed = inner.intake.send_if_modified(|current| {
            let changes = !current.leaves() && *current != intake;
            if changes {
                *current = intake;
            }
            changes
        });
        if has_changed {
            let inner = Arc::clone(inner);
            // Callers choose other nodes from this report on.
            inner.runtime.clone().spawn(async move { tasks::send_heartbeat(&inner).await });
        }
    }

    fn health(&self) -> PoolHealth {
        self.0.pool.health()
    }

    fn function_health(&self) -> Vec<FunctionHealth> {
        self.0.pool.function_health()
    }
}
