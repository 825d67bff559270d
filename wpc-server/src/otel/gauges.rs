//! Metrics of the pool, which are read when they are exported.

use opentelemetry::metrics::Meter;
use std::sync::{Arc, Weak};
use wpc_host::{Backend, PoolHealth};

/// A gauge that is read from a pool's health.
type Read = fn(&PoolHealth) -> usize;

pub(super) fn register(meter: &Meter, backend: &Arc<dyn Backend>) {
    let gauges: [(&'static str, &'static str, Read); 4] = [
        (
            "wpc.pending_calls",
            "Calls that were dispatched to workers and are not answered.",
            |pool| pool.pending_calls,
        ),
        ("wpc.pending_calls.limit", "The maximum of wpc.pending_calls.", |pool| {
            pool.pending_call_limit
        }),
        ("wpc.waiting_calls", "Accepted calls that no worker can take at the moment.", |pool| {
            pool.waiting_calls
        }),
        ("wpc.workers", "Workers that accept calls.", PoolHealth::workers_up),
    ];
    for (name, description, read) in gauges {
        // The exporter does not keep the pool alive.
        let backend: Weak<dyn Backend> = Arc::downgrade(backend);
        let gauge = meter.u64_observable_gauge(name).with_description(description);
        gauge
            .with_callback(move |observer| {
                if let Some(backend) = backend.upgrade() {
                    observer.observe(read(&backend.health()) as u64, &[]);
                }
            })
            .build();
    }
}
