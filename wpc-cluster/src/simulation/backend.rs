//! A pool whose calls take simulated time. It records which calls it started.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use wpc_host::{
    Backend, BackendReply, CallArguments, CallId, CallOptions, CallOutcome, Error, ErrorCode,
    ErrorReport, EventSubscription, FunctionHash, FunctionInformation, HealthState, Options,
    PoolHealth, PoolMetrics, ReplyFormat, ReplyMetadata, ReplyValue, StreamOptions, SubmittedCall,
    SubmittedStream, Warming, WorkerHealth, WorkerId, WorkerProcedureCall,
};

/// What was started where: by the call's own number.
pub(crate) type Log = Arc<Mutex<HashMap<u64, Vec<Start>>>>;

/// A start of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) at: Instant,
    pub(crate) version: u64,
}

/// A simulated pool. Its functions have two arguments: the call's number, and how many microseconds it takes.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) log: Log,
    /// The version of the function, which it returns.
    pub(crate) version: Arc<Mutex<u64>>,
    /// Each runs one call at a time.
    workers: Arc<Semaphore>,
}

impl Pool {
    pub(crate) fn new(log: Log, version: Arc<Mutex<u64>>) -> Self {
        Self { log, version, workers: Arc::new(Semaphore::new(WORKERS)) }
    }
}

/// The workers of a pool.
pub(crate) const WORKERS: usize = 2;

impl Backend for Pool {
    fn submit(
        &self,
        _function: &str,
        arguments: CallArguments,
        _format: ReplyFormat,
        options: &CallOptions,
    ) -> Result<SubmittedCall, Error> {
        let CallArguments::Positional(values) = arguments else { panic!("other arguments") };
        let number = |at: usize| values[at].as_u64().unwrap();
        let (call, duration) = (number(0), Duration::from_micros(number(1)));
        let version = *self.version.lock().unwrap();
        let deadline = Instant::now() + options.get_timeout().unwrap_or(Duration::from_secs(30));
        let (log, workers) = (Arc::clone(&self.log), Arc::clone(&self.workers));
        let hash = FunctionHash::of(b"");
        Ok(SubmittedCall::new(CallId::from(call), hash, async move {
            let timeout =
                |outcome| Error::from(ErrorReport::new(ErrorCode::Timeout, outcome, "late"));
            let Ok(Ok(_worker)) = timeout_at(deadline, workers.acquire()).await else {
                return Err(timeout(CallOutcome::NotStarted));
            };
            let at = Instant::now();
            log.lock().unwrap().entry(call).or_default().push(Start { at, version });
            if timeout_at(deadline, sleep(duration)).await.is_err() {
                return Err(timeout(CallOutcome::Unknown));
            }
            let metadata = ReplyMetadata::new(hash, WorkerId::from(1));
            Ok(BackendReply::new(ReplyValue::Json(version.into()), metadata))
        }))
    }

    fn stream(
        &self,
        _: &str,
        _: CallArguments,
        _: &StreamOptions,
    ) -> Result<SubmittedStream, Error> {
        panic!("simulations have no streams")
    }

    fn function(&self, _: &str) -> Option<FunctionInformation> {
        None
    }

    fn functions(&self) -> Vec<FunctionInformation> {
        Vec::new()
    }

    fn visit_names(&self, _: &mut dyn FnMut(&str) -> bool) {}

    fn function_hash(&self, _: &str) -> Option<FunctionHash> {
        None
    }

    fn definitions_version(&self) -> u64 {
        0
    }

    fn revive(&self, _: &str) -> Result<bool, Error> {
        Ok(false)
    }

    fn warm(&self, _: &str) -> Warming {
        Box::pin(std::future::ready(Ok(())))
    }

    fn subscribe(&self, capacity: usize) -> EventSubscription {
        static POOL: OnceLock<WorkerProcedureCall> = OnceLock::new();
        POOL.get_or_init(|| WorkerProcedureCall::new(Options::default()).unwrap())
            .subscribe(capacity)
    }

    fn metrics(&self) -> PoolMetrics {
        PoolMetrics::default()
    }

    fn health(&self) -> PoolHealth {
        let worker = |id| WorkerHealth::new(WorkerId::from(id), HealthState::Ready);
        let mut health = PoolHealth::default();
        health.workers = vec![worker(1), worker(2)];
        health
    }
}
