//! The bounds on connections.

use std::time::Duration;

/// The bounds on a server's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// The maximum number of connections. Further ones are closed, without TLS after an answer with 503. Default: 16,384.
    pub max_connections: usize,
    /// The maximum number of connections from one IP address. Default: 12,288, so that one client alone cannot use all of them.
    pub max_connections_per_address: usize,
    /// The maximum number of requests in progress. Further ones are answered with 503. Requests for the
    /// server's health and metrics are counted, but not refused. Default: 4,096.
    pub max_requests: usize,
    /// The maximum size of a request's line and headers in bytes. A larger one is answered with 431, and so is a
    /// request with more than 100 headers. Default: 32 KiB.
    pub max_header_size: usize,
    /// The maximum number of bytes of all bodies and WebSocket messages together, from their arrival until their request ends, and of
    /// all responses of calls from 64 KiB on. A request beyond it is answered with 503, and a WebSocket is closed. Modules that are uploaded are not counted, because they
    /// are written to disk as they arrive. It should be at least [`Settings::max_body`](crate::Settings::max_body).
    /// Default: 512 MiB.
    pub max_body_memory: usize,
    /// How long a client may take to send a request's line and headers, and how long a TLS handshake may take. Default: 10 s.
    pub header_timeout: Duration,
    /// How long a connection may be open without a request. Default: 75 s.
    pub idle_timeout: Duration,
    /// How long a client may take to send a body or a WebSocket message, in addition to the time that the minimum rate allows.
    /// Default: 10 s.
    pub body_timeout: Duration,
    /// The minimum rate of a body in bytes per second. Default: 4 KiB/s.
    pub min_body_rate: u32,
    /// How long a client may stop reading a response. Default: 30 s.
    pub write_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            max_connections_per_address: 12_288,
            max_requests: 4_096,
            max_header_size: 32 << 10,
            max_body_memory: 512 << 20,
            header_timeout: Duration::from_secs(10),
            // Longer than the idle timeout of most clients and proxies, so that they close connections first. If the server
            // did, a request could be under way at that moment.
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(10),
            min_body_rate: 4 << 10,
            write_timeout: Duration::from_secs(30),
        }
    }
}

impl ConnectionLimits {
    /// The time limit of a body, given the number of bytes that have arrived.
    pub(super) fn body_time(&self, bytes: u64) -> Duration {
        let allowed = Duration::from_secs(bytes / u64::from(self.min_body_rate.max(1)));
        self.body_timeout.saturating_add(allowed)
    }
}
