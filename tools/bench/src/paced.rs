//! A pool whose calls take a fixed time without occupying a processor, so that a node in this process is like one on another
//! machine.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use wpc_host::{
    Backend, CallArguments, CallOptions, CallOutcome, Error, ErrorCode, ErrorReport,
    EventSubscription, FunctionHash, FunctionInformation, PoolHealth, PoolMetrics, ReplyFormat,
    StreamOptions, SubmittedCall, SubmittedStream, Warming, WorkerProcedureCall,
};

/// A pool whose calls take a fixed time on simulated workers.
#[derive(Debug)]
pub(crate) struct Paced {
    pool: WorkerProcedureCall,
    workers: Arc<Semaphore>,
    time: Duration,
}

impl Paced {
    pub(crate) fn new(pool: WorkerProcedureCall, workers: usize, time: Duration) -> Self {
        Self { pool, workers: Arc::new(Semaphore::new(workers)), time }
    }
}

/// The pool's methods, called through the trait, because those of the pool have the same names.
impl Backend for Paced {
    fn submit(
        &self,
        function: &str,
        arguments: CallArguments,
        format: ReplyFormat,
        options: &CallOptions,
    ) -> Result<SubmittedCall, Error> {
        let call = Backend::submit(&self.pool, function, arguments, format, options)?;
        let (id, hash) = (call.id(), call.function_hash_sha1());
        let (workers, time) = (Arc::clone(&self.workers), self.time);
        let limit = options.get_timeout().unwrap_or(Duration::MAX);
        Ok(SubmittedCall::new(id, hash, async move {
            let Ok(Ok(_worker)) = tokio::time::timeout(limit, workers.acquire()).await else {
                let text = "the call waited for a worker until its time limit";
                let report = ErrorReport::new(ErrorCode::Timeout, CallOutcome::NotStarted, text);
                return Err(report.into());
            };
            tokio::time::sleep(time).await;
            call.await
        }))
    }

    fn stream(
        &self,
        function: &str,
        arguments: CallArguments,
        options: &StreamOptions,
    ) -> Result<SubmittedStream, Error> {
        Backend::stream(&self.pool, function, arguments, options)
    }

    fn function(&self, name: &str) -> Option<FunctionInformation> {
        Backend::function(&self.pool, name)
    }

    fn functions(&self) -> Vec<FunctionInformation> {
        Backend::functions(&self.pool)
    }

    fn visit_names(&self, visit: &mut dyn FnMut(&str) -> bool) {
        Backend::visit_names(&self.pool, visit);
    }

    fn function_hash(&self, name: &str) -> Option<FunctionHash> {
        Backend::function_hash(&self.pool, name)
    }

    fn definitions_version(&self) -> u64 {
        Backend::definitions_version(&self.pool)
    }

    fn revive(&self, function: &str) -> Result<bool, Error> {
        Backend::revive(&self.pool, function)
    }

    fn warm(&self, function: &str) -> Warming {
        Backend::warm(&self.pool, function)
    }

    fn subscribe(&self, capacity: usize) -> EventSubscription {
        Backend::subscribe(&self.pool, capacity)
    }

    fn metrics(&self) -> PoolMetrics {
        Backend::metrics(&self.pool)
    }

    fn health(&self) -> PoolHealth {
        Backend::health(&self.pool)
    }
}
