//! Counters of requests by route, and the report of a finished request.

use crate::refusals::RefusalReason;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use wpc_host::CallId;

/// The maximum number of routes with counters of their own. Routes are templates such as `/v1/functions/{name}/call`, so a server has far
/// fewer.
const MAX_ROUTES: usize = 256;

/// The route of requests that no route matches.
pub(crate) const UNMATCHED: &str = "unmatched";

/// The upper bounds of the buckets in microseconds.
pub(crate) const BOUNDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// The class of a request's outcome in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusClass {
    Informational,
    Success,
    Redirection,
    ClientError,
    ServerError,
    /// The client disconnected before there was a response.
    Aborted,
}

impl StatusClass {
    pub(crate) const ALL: [Self; 6] = [
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
        Self::Aborted,
    ];

    pub(crate) fn of(status: u16) -> Self {
        match status {
            0..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::Aborted => "aborted",
        }
    }
}

/// The counters of one route.
#[derive(Debug, Default)]
pub(crate) struct RouteCounters {
    by_class: [AtomicU64; StatusClass::ALL.len()],
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl RouteCounters {
    pub(crate) fn count(&self, class: StatusClass, duration: Duration) {
        self.by_class[class as usize].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|micros| micros * 1_000 < nanos);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn of_class(&self, class: StatusClass) -> u64 {
        self.by_class[class as usize].load(Ordering::Relaxed)
    }

    /// The upper bounds in seconds with the number of requests in each bucket.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.buckets.iter().map(|count| count.load(Ordering::Relaxed))).collect()
    }

    /// The sum of the durations in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64()
    }
}

type Routes = HashMap<Arc<str>, Arc<RouteCounters>>;

/// The counters of all routes. A request finds those of its route without a lock.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    routes: ArcSwap<Routes>,
    in_flight: AtomicUsize,
}

impl Requests {
    pub(crate) fn route(&self, route: &str) -> Arc<RouteCounters> {
        if let Some(counters) = self.routes.load().get(route) {
            return Arc::clone(counters);
        }
        self.add(route)
    }

    #[cold]
    fn add(&self, route: &str) -> Arc<RouteCounters> {
        let new = Arc::<RouteCounters>::default();
        self.routes.rcu(|routes| {
            let mut routes = Routes::clone(routes);
            if routes.len() < MAX_ROUTES {
                routes.entry(route.into()).or_insert_with(|| Arc::clone(&new));
            }
            routes
        });
        self.routes.load().get(route).map_or(new, Arc::clone)
    }

    /// Every route with its counters, sorted.
    pub(crate) fn routes(&self) -> Vec<(Arc<str>, Arc<RouteCounters>)> {
        let routes = self.routes.load();
        let mut all: Vec<_> = routes.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }

    pub(crate) fn in_flight(&self) -> &AtomicUsize {
        &self.in_flight
    }
}

/// Which requests are reported to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportedRequests {
    /// Those with a status of 400 or higher, and those whose client disconnected.
    Failed,
    /// All of them.
    All,
}

impl ReportedRequests {
    pub(crate) fn includes(self, status: Option<u16>) -> bool {
        self == Self::All || status.is_none_or(|status| status >= 400)
    }
}

/// A request that was answered, or whose client disconnected, see
/// [`Builder::on_request`](crate::Builder::on_request).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FinishedRequest {
    /// The method, such as `POST`.
    pub method: String,
    /// The route's template, such as `/v1/functions/{name}/call`; `unmatched` if no route matches.
    pub route: String,
    /// The status of the response; `None` if the client disconnected before.
    pub status: Option<u16>,
    /// The code of the problem in the response.
    pub code: Option<String>,
    /// Why it was refused before it reached a handler; `None` if it was not. Such requests are also reported at a bounded
    /// rate, see [`Builder::on_refusal`](crate::Builder::on_refusal).
    pub refusal: Option<RefusalReason>,
    /// The time until the head of the response.
    pub duration: Duration,
    /// The function in the path, as the client wrote it.
    pub function: Option<String>,
    /// The call, if the request made one.
    pub call: Option<CallId>,
    /// The trace id that the client sent, as 32 hexadecimal digits.
    pub trace: Option<String>,
    /// The name of the client, if it was authenticated.
    pub principal: Option<String>,
}
