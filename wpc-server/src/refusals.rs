//! Connections and requests that are refused before they reach a handler: counted by reason, and reported at a bounded rate.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The maximum number of reports in a window.
const MAX_REPORTS: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

macro_rules! reasons {
    ($($variant:ident $name:literal $documentation:literal),+ $(,)?) => {
        /// Why a connection or a request was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum RefusalReason { $(#[doc = $documentation] $variant),+ }

        impl RefusalReason {
            /// Every reason.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in logs and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

reasons! {
    Connections "connections" "Too many connections were open.",
    ConnectionsOfAddress "connections_of_address" "Too many connections of the client's address were open.",
    Handshake "tls_handshake" "The TLS handshake failed or took too long.",
    SlowHeaders "slow_headers" "The line and headers of a request arrived too slowly.",
    InvalidHttp "invalid_http" "The request is not valid HTTP/1.1, or its line and headers are too large.",
    Requests "requests" "Too many requests were in progress.",
    BodyMemory "body_memory" "The bodies of all requests took too much memory.",
    WebSocket "web_socket" "A WebSocket was closed because its client violated the protocol or exceeded a limit.",
    Host "host" "The request names another server.",
    Origin "origin" "A web page of another origin sent the request.",
    NoToken "no_token" "The request has no token, and its path needs one.",
    MalformedToken "malformed_token" "The token is malformed.",
    UnknownToken "unknown_token" "The token is not known.",
    ExpiredToken "expired_token" "The token has expired.",
    RevokedToken "revoked_token" "The token was revoked.",
}

/// A refused connection or request, see [`Builder::on_refusal`](crate::Builder::on_refusal).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Why.
    pub reason: RefusalReason,
    /// The address of the client; `None` for a Unix socket.
    pub client: Option<IpAddr>,
    /// How many refusals were not reported since the last reported one.
    pub left_out: u64,
}

type OnRefusal = Box<dyn Fn(&Refused) + Send + Sync>;

/// The refusals of a server.
#[derive(Default)]
pub(crate) struct Refusals {
    counts: [AtomicU64; RefusalReason::ALL.len()],
    window: Mutex<Window>,
    on_refusal: OnceLock<OnRefusal>,
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Refusals {
    /// Sets the function that is called for a refusal.
    pub(crate) fn set_on_refusal(&self, report: OnRefusal) {
        // The first one stays.
        let _ = self.on_refusal.set(report);
    }

    /// Counts a refusal, and reports it unless too many were reported.
    pub(crate) fn refuse(&self, reason: RefusalReason, client: Option<IpAddr>) {
        self.counts[reason as usize].fetch_add(1, Relaxed);
        let admitted = {
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.admit(Instant::now())
        };
        let Some(left_out) = admitted else { return };
        let refused = Refused { reason, client, left_out };
        tracing::info!(?refused, "refused a client");
        if let Some(report) = self.on_refusal.get() {
            report(&refused);
        }
    }

    /// The number of refusals for this reason since the start.
    pub(crate) fn count(&self, reason: RefusalReason) -> u64 {
        self.counts[reason as usize].load(Relaxed)
    }
}

/// The number of reports in the current window.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    reported: u32,
    left_out: u64,
}

impl Window {
    /// How many refusals were not reported before this one; `None` if this one is not reported either.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            (self.began, self.reported) = (Some(now), 0);
        }
        if self.reported >= MAX_REPORTS {
            self.left_out += 1;
            return None;
        }
        self.reported += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_counted_and_reported_at_a_bounded_rate() {
        let mut window = Window::default();
        let began = Instant::now();
        let admitted = |window: &mut Window, now| {
            (0..100).filter_map(|_| window.admit(now)).collect::<Vec<_>>()
        };
        assert_eq!(admitted(&mut window, began), [0; 10]);
        let later = admitted(&mut window, began + WINDOW);
        assert_eq!((later.len(), later[0], later[1]), (10, 90, 0));
    }

    #[test]
    fn each_reason_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> =
            RefusalReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), RefusalReason::ALL.len());
    }
}
