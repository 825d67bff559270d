//! What a connection is doing, and whether it has done so for too long.
//!
//! A connection's task stores its phase and the current tick; one task of the server compares them with the limits at each
//! tick. So a request sets no timer. Each field is written by one task at a time and read by the other; a stale value
//! delays a decision by one tick.

use super::limits::ConnectionLimits;
use atomic_waker::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::task::Context;
use std::time::Duration;

/// The time between two checks, and so the resolution of all limits.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// The number of ticks since the server started.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU32);

impl Clock {
    pub(super) fn now(&self) -> u32 {
        self.0.load(Relaxed)
    }

    pub(super) fn advance(&self) -> u32 {
        self.0.fetch_add(1, Relaxed).wrapping_add(1)
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// It waits for a request.
    Idle,
    /// It has received a part of a request's line and headers, or of a TLS handshake.
    Head,
    /// A request is in progress. The client need not send anything.
    Request,
    /// The handler of a request waits for a part of the body.
    Body,
    /// The response was passed to the connection, which has not written all of it.
    Writing,
    /// The connection became a WebSocket. Its messages have the limits of bodies.
    WebSocket,
}

/// Why the rest of a body is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum BodyRefusal {
    /// It arrived too slowly.
    Slow = 1,
    /// All bodies together would take too much memory.
    Memory = 2,
}

/// An order to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    Continue,
    /// Finish the request in progress, and close.
    Finish,
    /// Close at once.
    Abort,
}

/// The result of checking a connection at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Verdict {
    Keep,
    /// The body arrived too slowly: respond to the request, and close the connection.
    RefuseBody,
    Abort,
}

/// What a connection is doing. Shared by its task and the task that checks all connections.
#[derive(Debug)]
pub(super) struct Activity {
    phase: AtomicU8,
    since: AtomicU32,
    /// Whether the rest of a body is read although its request was answered. Written by the task that reads it.
    is_discarding: AtomicBool,
    /// The bytes of the current body, and the ticks that its handler has waited for them before `since`.
    body_bytes: AtomicU64,
    body_waited: AtomicU32,
    /// A [`BodyRefusal`], or 0.
    body_refusal: AtomicU8,
    /// The bytes of the current body that count towards the memory of all bodies; of a WebSocket those of its incomplete message.
    body_memory: Arc<AtomicUsize>,
    /// The tick since which a write waits for the client, plus one; 0 if no write waits.
    stalled: AtomicU32,
    order: AtomicU8,
    waker: AtomicWaker,
}

impl Activity {
    pub(super) fn new(now: u32) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU32::new(now),
            is_discarding: AtomicBool::new(false),
            body_bytes: AtomicU64::new(0),
            body_waited: AtomicU32::new(0),
            body_refusal: AtomicU8::new(0),
            body_memory: Arc::default(),
            stalled: AtomicU32::new(0),
            order: AtomicU8::new(Order::Continue as u8),
            waker: AtomicWaker::new(),
        }
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Request,
            3 => Phase::Body,
            4 => Phase::Writing,
            _ => Phase::WebSocket,
        }
    }

    fn enter(&self, phase: Phase, now: u32) {
        self.since.store(now, Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    /// Bytes arrived that are not only line ends, which may follow a body.
    pub(super) fn received(&self, now: u32) {
        if self.phase() == Phase::Idle && !self.is_discarding.load(Relaxed) {
            self.enter(Phase::Head, now);
        }
    }

    /// The client must send its part of a TLS handshake.
    pub(super) fn handshake_began(&self, now: u32) {
        self.enter(Phase::Head, now);
    }

    /// The handshake is complete.
    pub(super) fn handshake_ended(&self, now: u32) {
        self.enter(Phase::Idle, now);
    }

    /// A request's line and headers are complete.
    pub(super) fn request_began(&self, now: u32) {
        self.body_bytes.store(0, Relaxed);
        self.body_waited.store(0, Relaxed);
        self.enter(Phase::Request, now);
    }

    /// Its response was passed to the connection.
    pub(super) fn request_ended(&self, now: u32) {
        self.enter(Phase::Writing, now);
    }

    /// Records whether the rest of a body is read although its request was answered.
    pub(super) fn set_discarding(&self, is_discarding: bool) {
        self.is_discarding.store(is_discarding, Relaxed);
    }

    /// Everything that was passed to the connection is written.
    pub(super) fn flushed(&self, now: u32) {
        if self.phase() == Phase::Writing {
            self.enter(Phase::Idle, now);
        }
    }

    /// Whether the client is sending the line and headers of a request.
    pub(super) fn is_in_head(&self) -> bool {
        self.phase() == Phase::Head
    }

    /// Whether no request is in progress and no response is being written.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.phase(), Phase::Idle | Phase::Head)
    }

    /// Its response made the connection a WebSocket.
    pub(super) fn became_web_socket(&self, now: u32) {
        self.enter(Phase::WebSocket, now);
    }

    pub(super) fn is_web_socket(&self) -> bool {
        self.phase() == Phase::WebSocket
    }

    /// A part of a message arrived. Returns the size of the incomplete message.
    pub(super) fn message_received(&self, bytes: usize, now: u32) -> usize {
        let before = self.body_memory.fetch_add(bytes, Relaxed);
        if before == 0 {
            self.since.store(now, Relaxed);
        }
        before.saturating_add(bytes)
    }

    /// Its handler waits for the body.
    pub(super) fn body_awaited(&self, now: u32) {
        if self.phase() == Phase::Request {
            self.enter(Phase::Body, now);
        }
    }

    /// A part of the body arrived, or its end.
    pub(super) fn body_received(&self, bytes: usize, now: u32) {
        self.body_bytes.fetch_add(bytes as u64, Relaxed);
        if self.phase() == Phase::Body {
            let waited = now.wrapping_sub(self.since.load(Relaxed));
            self.body_waited.fetch_add(waited, Relaxed);
            self.enter(Phase::Request, now);
        }
    }

    /// Why the rest of the body is not read, if so.
    pub(super) fn body_refusal(&self) -> Option<BodyRefusal> {
        match self.body_refusal.load(Relaxed) {
            0 => None,
            1 => Some(BodyRefusal::Slow),
            _ => Some(BodyRefusal::Memory),
        }
    }

    /// Reads no more of the body, and wakes the connection to answer its request.
    pub(super) fn refuse_body(&self, refusal: BodyRefusal) {
        self.body_refusal.store(refusal as u8, Relaxed);
        self.waker.wake();
    }

    /// A part of the body takes memory.
    pub(super) fn body_held(&self, bytes: usize) {
        self.body_memory.fetch_add(bytes, Relaxed);
    }

    /// The bytes that count towards the memory of all bodies.
    pub(super) fn held(&self) -> &Arc<AtomicUsize> {
        &self.body_memory
    }

    /// How much memory the body took until now, when it ends.
    pub(super) fn body_dropped(&self) -> usize {
        self.body_memory.swap(0, Relaxed)
    }

    /// Records whether a write waits for the client.
    pub(super) fn wrote(&self, is_stalled: bool, now: u32) {
        let stalled = self.stalled.load(Relaxed);
        match (is_stalled, stalled) {
            (true, 0) => self.stalled.store(now.wrapping_add(1).max(1), Relaxed),
            (false, 1..) => self.stalled.store(0, Relaxed),
            _ => {}
        }
    }

    /// Gives an order, unless a stronger one was given, and wakes the connection.
    pub(super) fn command(&self, order: Order) {
        if self.order.fetch_max(order as u8, Relaxed) < order as u8 {
            self.waker.wake();
        }
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Relaxed) {
            0 => Order::Continue,
            1 => Order::Finish,
            _ => Order::Abort,
        }
    }

    /// Wakes this task at the next order.
    pub(super) fn register(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    /// Checks the limits, and carries out the verdict.
    pub(super) fn check(&self, limits: &ConnectionLimits, now: u32) {
        match self.verdict(limits, now) {
            Verdict::Keep => {}
            Verdict::RefuseBody => self.refuse_body(BodyRefusal::Slow),
            Verdict::Abort => self.command(Order::Abort),
        }
    }

    fn verdict(&self, limits: &ConnectionLimits, now: u32) -> Verdict {
        let stalled = self.stalled.load(Relaxed);
        if stalled > 0 && elapsed(stalled - 1, now) > limits.write_timeout {
            return Verdict::Abort;
        }
        let elapsed = elapsed(self.since.load(Relaxed), now);
        match self.phase() {
            Phase::Idle if self.order() >= Order::Finish => Verdict::Abort,
            Phase::Idle if elapsed > limits.idle_timeout => Verdict::Abort,
            Phase::Head if elapsed > limits.header_timeout => Verdict::Abort,
            Phase::Body => {
                let waited = TICK * self.body_waited.load(Relaxed) + elapsed;
                let is_slow = waited > limits.body_time(self.body_bytes.load(Relaxed));
                if is_slow { Verdict::RefuseBody } else { Verdict::Keep }
            }
            Phase::WebSocket => {
                let bytes = self.body_memory.load(Relaxed) as u64;
                let is_slow = bytes > 0 && elapsed > limits.body_time(bytes);
                if is_slow { Verdict::Abort } else { Verdict::Keep }
            }
            _ => Verdict::Keep,
        }
    }
}

fn elapsed(since: u32, now: u32) -> Duration {
    TICK * now.wrapping_sub(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks in this number of seconds.
    fn seconds(seconds: u32) -> u32 {
        seconds * 4
    }

    fn limits() -> ConnectionLimits {
        ConnectionLimits { min_body_rate: 1000, ..ConnectionLimits::default() }
    }

    #[test]
    fn headers_have_a_time_limit_that_more_bytes_do_not_extend() {
        let activity = Activity::new(0);
        activity.received(seconds(1));
        activity.received(seconds(11));
        assert_eq!(activity.verdict(&limits(), seconds(11)), Verdict::Keep);
        assert_eq!(activity.verdict(&limits(), seconds(11) + 1), Verdict::Abort);
    }

    #[test]
    fn a_handshake_has_the_time_limit_of_headers_also_if_nothing_arrives() {
        let activity = Activity::new(0);
        activity.handshake_began(0);
        assert_eq!(activity.verdict(&limits(), seconds(10)), Verdict::Keep);
        assert_eq!(activity.verdict(&limits(), seconds(10) + 1), Verdict::Abort);
        activity.handshake_ended(seconds(10));
        assert_eq!(activity.verdict(&limits(), seconds(85)), Verdict::Keep);
        assert_eq!(activity.verdict(&limits(), seconds(85) + 1), Verdict::Abort);
    }

    #[test]
    fn an_idle_connection_is_closed_at_its_own_limit() {
        let activity = Activity::new(0);
        activity.received(0);
        activity.request_began(1);
        activity.request_ended(seconds(50));
        activity.flushed(seconds(100));
        assert_eq!(activity.verdict(&limits(), seconds(175)), Verdict::Keep);
        assert_eq!(activity.verdict(&limits(), seconds(175) + 1), Verdict::Abort);
    }

    #[test]
    fn a_request_in_progress_has_no_limit_of_the_connection() {
        let activity = Activity::new(0);
        activity.request_began(0);
        assert_eq!(activity.verdict(&limits(), u32::MAX), Verdict::Keep);
    }

    #[test]
    fn only_the_time_that_a_handler_waits_for_a_body_counts() {
        let activity = Activity::new(0);
        activity.request_began(0);
        activity.body_awaited(0);
        activity.body_received(0, seconds(9));
        // The handler does not wait for the body.
        activity.body_awaited(seconds(100));
        assert_eq!(activity.verdict(&limits(), seconds(101)), Verdict::Keep);
        assert_eq!(activity.verdict(&limits(), seconds(101) + 1), Verdict::RefuseBody);
    }

    #[test]
    fn a_body_may_take_the_time_of_the_minimum_rate() {
        let activity = Activity::new(0);
        activity.request_began(0);
        activity.body_awaited(0);
        activity.body_received(5000, seconds(3));
        activity.body_awaited(seconds(3));
        assert_eq!(activity.verdict(&limits(), seconds(15)), Verdict::Keep);
        assert_eq!(activity.verdict(&limits(), seconds(15) + 1), Verdict::RefuseBody);
    }

    #[test]
    fn a_web_socket_has_no_limit_unless_a_message_is_incomplete() {
        let activity = Activity::new(0);
        activity.request_began(0);
        activity.became_web_socket(0);
        assert_eq!(activity.verdict(&limits(), seconds(1_000_000)), Verdict::Keep);
        let now = seconds(1_000_000);
        assert_eq!(activity.message_received(1000, now), 1000);
        assert_eq!(activity.message_received(1000, now + seconds(5)), 2000);
        assert_eq!(activity.verdict(&limits(), now + seconds(12)), Verdict::Keep);
        assert_eq!(activity.verdict(&limits(), now + seconds(12) + 1), Verdict::Abort);
        // The message is complete.
        activity.body_dropped();
        assert_eq!(activity.verdict(&limits(), now + seconds(12) + 1), Verdict::Keep);
    }

    #[test]
    fn a_client_that_does_not_read_is_disconnected() {
        let activity = Activity::new(0);
        activity.request_began(0);
        activity.wrote(true, seconds(1));
        activity.wrote(true, seconds(20));
        assert_eq!(activity.verdict(&limits(), seconds(31)), Verdict::Keep);
        assert_eq!(activity.verdict(&limits(), seconds(31) + 1), Verdict::Abort);
        activity.wrote(false, seconds(31) + 1);
        assert_eq!(activity.verdict(&limits(), seconds(31) + 1), Verdict::Keep);
    }

    #[test]
    fn an_order_is_not_weakened() {
        let activity = Activity::new(0);
        activity.command(Order::Abort);
        activity.command(Order::Finish);
        assert_eq!(activity.order(), Order::Abort);
    }
}
