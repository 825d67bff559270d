//! The numbers of a server's connections and requests, for limits and metrics.

use crate::refusals::{RefusalReason, Refusals};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// The numbers of a server's connections and requests. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    body_bytes: AtomicUsize,
    refusals: Refusals,
    refused_certificates: OnceLock<Arc<AtomicU64>>,
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
        let refused = |reason| self.0.refusals.count(reason);
        refused(RefusalReason::Connections) + refused(RefusalReason::ConnectionsOfAddress)
    }

    /// The requests that were refused because too many were in progress, since the start.
    #[must_use]
    pub fn refused_requests(&self) -> u64 {
        self.0.refusals.count(RefusalReason::Requests)
    }

    /// The bytes of bodies, WebSocket messages and large responses of calls that are held in memory.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.0.body_bytes.load(Relaxed)
    }

    /// The requests and messages that were refused because all bodies together would have taken too much memory, since the start.
    #[must_use]
    pub fn refused_bodies(&self) -> u64 {
        self.0.refusals.count(RefusalReason::BodyMemory)
    }

    /// What was refused, and why.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    pub(crate) fn body_held(&self, bytes: usize) {
        self.0.body_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn body_dropped(&self, bytes: usize) {
        self.0.body_bytes.fetch_sub(bytes, Relaxed);
    }

    /// The TLS handshakes that failed or took too long, since the start.
    #[must_use]
    pub fn failed_handshakes(&self) -> u64 {
        self.0.refusals.count(RefusalReason::Handshake)
    }

    /// How often a new certificate was refused, since the start; the previous one stayed active.
    #[must_use]
    pub fn refused_certificates(&self) -> u64 {
        self.0.refused_certificates.get().map_or(0, |count| count.load(Relaxed))
    }

    /// Reports this count as that of refused certificates.
    pub(crate) fn set_refused_certificates(&self, count: &Arc<AtomicU64>) {
        // A server has one certificate.
        let _ = self.0.refused_certificates.set(Arc::clone(count));
    }

    pub(crate) fn connection_began(&self) {
        self.0.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_ended(&self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }

    /// Returns how many requests were in progress before.
    pub(crate) fn request_began(&self) -> usize {
        self.0.requests.fetch_add(1, Relaxed)
    }

    pub(crate) fn request_ended(&self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }
}
