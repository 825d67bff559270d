//! The measurements of a server: metrics for Prometheus, requests, and for how long its pool has been saturated.

mod cluster;
mod encoder;
mod functions;
mod pool;
mod process;
mod requests;
mod saturation;
mod server;

pub(crate) use functions::DEFAULT_MAX;
pub use requests::{FinishedRequest, ReportedRequests};
pub(crate) use requests::{Requests, StatusClass, UNMATCHED};
pub(crate) use saturation::{HIGH, LOW, Saturation};

use crate::traffic::Traffic;
use cluster::ClusterCollector;
use pool::PoolCollector;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;
use server::{ProcessCollector, ServerCollector};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wpc_host::Backend;

/// Returns the number of entries that are not served.
pub(crate) type CountUnserved = Box<dyn Fn() -> usize + Send + Sync>;

type OnRequest = Box<dyn Fn(&FinishedRequest) + Send + Sync>;

/// The measurements of one server.
pub(crate) struct Telemetry {
    registry: Registry,
    pool: Arc<PoolCollector>,
    server: Arc<ServerCollector>,
    requests: Arc<Requests>,
    saturation: Mutex<Saturation>,
    on_request: Option<(ReportedRequests, OnRequest)>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("saturation", &self.saturation).finish_non_exhaustive()
    }
}

/// The format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricsFormat {
    /// The text format 0.0.4 of Prometheus.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Telemetry {
    pub(crate) fn new(backend: Arc<dyn Backend>, traffic: Traffic) -> Self {
        let requests = Arc::<Requests>::default();
        let cluster = ClusterCollector::new(Arc::clone(&backend));
        let pool = Arc::new(PoolCollector::new(backend));
        let server = Arc::new(ServerCollector::new(Arc::clone(&requests), traffic));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&pool)));
        registry.register_collector(Box::new(cluster));
        registry.register_collector(Box::new(Arc::clone(&server)));
        registry.register_collector(Box::new(ProcessCollector));
        Self { registry, pool, server, requests, saturation: Mutex::default(), on_request: None }
    }

    /// Sets the number of functions with metrics of their own, before the first scrape.
    pub(crate) fn set_max_functions(&self, max: usize) {
        self.pool.set_max_functions(max);
    }

    pub(crate) fn set_dropped_lines(&self, lines: Arc<AtomicU64>) {
        self.server.set_dropped_lines(lines);
    }

    /// Reports this number of entries that are not served.
    pub(crate) fn count_unserved(&self, count: CountUnserved) {
        self.server.count_unserved(count);
    }

    /// Every metric as text.
    pub(crate) fn text(&self, format: MetricsFormat) -> Result<String, fmt::Error> {
        let mut text = String::new();
        match format {
            MetricsFormat::Prometheus => prometheus_text::encode(&mut text, &self.registry)?,
            MetricsFormat::OpenMetrics => text::encode(&mut text, &self.registry)?,
        }
        Ok(text)
    }

    pub(crate) fn requests(&self) -> &Arc<Requests> {
        &self.requests
    }

    pub(crate) fn set_on_request(&mut self, which: ReportedRequests, report: OnRequest) {
        self.on_request = Some((which, report));
    }

    /// Whether requests may be reported.
    pub(crate) fn reports(&self) -> bool {
        self.on_request.is_some()
    }

    /// The closure that reports a request with this status, if it is reported.
    pub(crate) fn report(&self, status: Option<u16>) -> Option<&OnRequest> {
        let (which, report) = self.on_request.as_ref()?;
        which.includes(status).then_some(report)
    }

    /// Records the share of taken slots, and returns for how long the pool has been saturated.
    pub(crate) fn saturated_for(&self, share: f64) -> Duration {
        let mut saturation = self.saturation.lock().unwrap_or_else(PoisonError::into_inner);
        saturation.observe(share, Instant::now())
    }
}
