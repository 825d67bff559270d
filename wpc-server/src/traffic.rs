//! The numbers of a server's connections and requests, for limits and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The numbers of a server's connections and requests. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    refused_connections: AtomicU64,
    refused_requests: AtomicU64,
}

impl Traffic {
    /// The open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.load(Relaxed)
    }

    /// The requests in progress, including those whose response is being sent.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.requests.load(Relaxed)
    }

    /// The connections that were refused because there were too many, since the start.
    #[must_use]
    pub fn refused_connections(&self) -> u64 {
        self.0.refused_connections.load(Relaxed)
    }

    /// The requests that were refused because too many were in progress, since the start.
    #[must_use]
    pub fn refused_requests(&self) -> u64 {
        self.0.refused_requests.load(Relaxed)
    }

    pub(crate) fn connection_began(&self) {
        self.0.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_ended(&self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }

    pub(crate) fn connection_refused(&self) {
        self.0.refused_connections.fetch_add(1, Relaxed);
    }

    /// Returns how many requests were in progress before.
    pub(crate) fn request_began(&self) -> usize {
        self.0.requests.fetch_add(1, Relaxed)
    }

    pub(crate) fn request_ended(&self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }

    pub(crate) fn request_refused(&self) {
        self.0.refused_requests.fetch_add(1, Relaxed);
    }
}
