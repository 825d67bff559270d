//! The metrics of the server itself: requests, connections and the process.

use super::CountUnserved;
use super::encoder::Families;
use super::process::Process;
use super::requests::{Requests, StatusClass};
use crate::refusals::RefusalReason;
use crate::traffic::Traffic;
use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt::{self, Error};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Reads the counters of requests at each scrape.
pub(super) struct ServerCollector {
    requests: Arc<Requests>,
    traffic: Traffic,
    /// Log lines that were dropped.
    dropped_lines: ArcSwap<AtomicU64>,
    /// Empty if the server has no deployments.
    count_unserved: OnceLock<CountUnserved>,
}

impl fmt::Debug for ServerCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCollector").field("traffic", &self.traffic).finish_non_exhaustive()
    }
}

impl ServerCollector {
    pub(super) fn new(requests: Arc<Requests>, traffic: Traffic) -> Self {
        Self {
            requests,
            traffic,
            dropped_lines: ArcSwap::default(),
            count_unserved: OnceLock::new(),
        }
    }

    pub(super) fn set_dropped_lines(&self, lines: Arc<AtomicU64>) {
        self.dropped_lines.store(lines);
    }

    pub(super) fn count_unserved(&self, count: CountUnserved) {
        // The first one stays.
        let _ = self.count_unserved.set(count);
    }
}

impl Collector for ServerCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut families = Families(encoder);
        let routes = self.requests.routes();
        let classes = routes.iter().flat_map(|(route, counters)| {
            StatusClass::ALL.into_iter().filter_map(move |class| {
                let count = counters.of_class(class);
                let labels = [("route", &**route), ("status", class.as_str())];
                (count > 0).then_some((labels, count))
            })
        });
        families.counters(
            "wpc_http_requests",
            "Requests by their route and the class of their status; aborted if the client disconnected before.",
            classes,
        )?;
        families.histograms(
            "wpc_http_request_duration",
            "The time from the head of a request until the head of its response.",
            routes.iter().map(|(route, counters)| {
                ([("route", &**route)], counters.seconds(), counters.buckets())
            }),
        )?;
        let now = |gauge: &std::sync::atomic::AtomicUsize| gauge.load(Ordering::Relaxed) as u64;
        families.gauge(
            "wpc_http_requests_in_flight",
            "Requests in progress.",
            now(self.requests.in_flight()),
        )?;
        let traffic = &self.traffic;
        families.gauge(
            "wpc_http_connections",
            "Open connections.",
            traffic.connections() as u64,
        )?;
        families.counter(
            "wpc_http_refused_connections",
            "Connections that were refused because there were too many.",
            traffic.refused_connections(),
        )?;
        families.counter(
            "wpc_http_refused_requests",
            "Requests that were refused because too many were in progress. They are not counted by route.",
            traffic.refused_requests(),
        )?;
        families.counters(
            "wpc_http_refusals",
            "Connections and requests that were refused before they reached a handler, by reason.",
            RefusalReason::ALL
                .iter()
                .map(|reason| ([("reason", reason.as_str())], traffic.refusals().count(*reason))),
        )?;
        families.bytes(
            "wpc_http_body_memory",
            "The bytes of bodies, WebSocket messages and large responses that are held in memory.",
            traffic.body_bytes() as u64,
        )?;
        families.counter(
            "wpc_http_refused_bodies",
            "Requests and messages that were refused because all bodies together would have taken too much memory.",
            traffic.refused_bodies(),
        )?;
        families.counter(
            "wpc_tls_failed_handshakes",
            "TLS handshakes that failed or took too long.",
            traffic.failed_handshakes(),
        )?;
        families.counter(
            "wpc_tls_refused_certificates",
            "Reloads that refused a new certificate; the previous one stayed active.",
            traffic.refused_certificates(),
        )?;
        if let Some(count) = self.count_unserved.get() {
            families.gauge(
                "wpc_not_served_entries",
                "Functions, constants and modules of the active revision that are not served.",
                count() as u64,
            )?;
        }
        families.counter(
            "wpc_log_lines_dropped",
            "Log lines that were dropped because the log was not read fast enough.",
            self.dropped_lines.load().load(Ordering::Relaxed),
        )
    }
}

/// Reads the figures of the process at each scrape.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut families = Families(encoder);
        let process = Process::read();
        if let Some(bytes) = process.resident_bytes {
            families.bytes(
                "process_resident_memory",
                "The resident memory size of the process.",
                bytes,
            )?;
        }
        if let Some(bytes) = process.virtual_bytes {
            families.bytes("process_virtual_memory", "The address space of the process.", bytes)?;
        }
        if let Some(seconds) = process.cpu_seconds {
            families.seconds("process_cpu", "The processor time of the process.", seconds)?;
        }
        if let Some(seconds) = process.start_seconds {
            families.time(
                "process_start_time",
                "The start time of the process since the Unix epoch.",
                seconds,
            )?;
        }
        if let Some(threads) = process.threads {
            families.gauge("process_threads", "The threads of the process.", threads)?;
        }
        if let Some(open) = process.open_descriptors {
            families.gauge("process_open_fds", "Open file descriptors.", open)?;
        }
        if let Some(max) = process.max_descriptors {
            families.gauge("process_max_fds", "The maximum of process_open_fds.", max)?;
        }
        Ok(())
    }
}
