//! What the supervisor saw of a worker at its last ticks. All times start when the supervisor first observes the condition.
//! After the whole process was suspended, every guest therefore still gets a chance to check the clock.

use crate::worker::Running;
use std::time::Instant;

#[derive(Default)]
pub(super) struct Watch {
    /// The worker's progress at the last tick.
    progress: Option<u64>,
    /// The call that it was last seen to run.
    seen: Option<Seen>,
    /// Since when it has been seen to run code between two calls; `None` while it runs a call or waits for one.
    between_since: Option<Instant>,
}

/// A running call, as the ticks saw it.
struct Seen {
    running: Running,
    /// When it was first seen to run.
    since: Instant,
    /// When it was first seen to run although it should have ended; `None` while it may run.
    overdue_since: Option<Instant>,
}

impl Watch {
    /// Returns since when the worker has been seen to run this call.
    pub(super) fn running_since(&mut self, running: Running, now: Instant) -> Instant {
        self.see(running, now).since
    }

    /// Returns since when this call has been seen to run although it should have ended.
    pub(super) fn overdue_since(&mut self, running: Running, now: Instant) -> Instant {
        *self.see(running, now).overdue_since.get_or_insert(now)
    }

    /// No running call should have ended.
    pub(super) fn not_overdue(&mut self) {
        if let Some(seen) = &mut self.seen {
            seen.overdue_since = None;
        }
    }

    fn see(&mut self, running: Running, now: Instant) -> &mut Seen {
        let first = || Seen { running, since: now, overdue_since: None };
        let seen = self.seen.get_or_insert_with(first);
        if seen.running != running {
            *seen = first();
        }
        seen
    }

    /// Returns since when the worker has been seen to run code between the same two calls.
    pub(super) fn between_since(&mut self, progress: u64, now: Instant) -> Instant {
        if !self.is_unchanged(progress) {
            self.between_since = None;
        }
        *self.between_since.get_or_insert(now)
    }

    /// The worker runs a call, or waits for one.
    pub(super) fn not_between(&mut self) {
        self.between_since = None;
    }

    /// Whether no call has begun or ended since the last tick.
    pub(super) fn is_unchanged(&self, progress: u64) -> bool {
        self.progress == Some(progress)
    }

    /// Records the progress of this tick.
    pub(super) fn note_progress(&mut self, progress: u64) {
        self.progress = Some(progress);
    }
}
