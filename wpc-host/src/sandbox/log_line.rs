//! Log lines of guests: their limits, and the events that report them.

use super::environment::Environment;
use super::failure::Failure;
use crate::call::Call;
use crate::event::{Draft, EventDetails, EventSource, Severity};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The maximum length of a log line or panic message, in bytes; the rest is cut off. Thousands of lines of this length
/// fit the event queue.
pub(super) const MAX_TEXT: usize = 16 * 1024;

/// How many bytes a log line counts in addition to its text: the approximate size of its event.
pub(super) const LINE_COST: usize = 64;

/// Counts the bytes that a call writes to logs and outputs. Only the worker's thread accesses it; it is atomic because
/// several owners share it.
#[derive(Debug)]
pub(super) struct LogVolume {
    used: AtomicUsize,
    pub(super) limit: usize,
}

impl LogVolume {
    pub(super) const fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    #[inline]
    pub(super) fn begin_call(&self) {
        self.used.store(0, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: usize) -> Result<(), Failure> {
        let used = self.used.load(Ordering::Relaxed).saturating_add(bytes);
        self.used.store(used, Ordering::Relaxed);
        if used > self.limit { Err(Failure::LogLimit { used }) } else { Ok(()) }
    }
}

/// Emits the event of a log line.
pub(super) fn emit_line(
    environment: &Environment,
    call: &Call,
    severity: Severity,
    level: &str,
    message: String,
) {
    let details = EventDetails::GuestLog {
        function_name: call.function.to_string(),
        level: level.to_owned(),
        message,
    };
    let draft = Draft::by(EventSource::Worker, details).severity(severity);
    environment.events.emit(draft.worker(environment.worker).call(call.id));
}
