//! The clients that watch. Their number is bounded; slow clients miss samples, and stalled ones are replaced.

use super::{Live, Sample, sample_periodically};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wpc_host::Backend;

/// The maximum number of clients that watch at once. Each takes a fraction of a millisecond per second with 10,000
/// functions.
pub(crate) const MAX_WATCHERS: usize = 32;

/// A watcher that has taken no sample for this time does not count towards the maximum: its client reads too slowly, or has
/// disconnected.
const STALLED: Duration = Duration::from_secs(15);

/// The shortest time between two samples of a watcher, which bounds the bytes in each second. It is less than the period,
/// so that a sample that comes slightly early is not skipped.
const MIN_DISTANCE: Duration = Duration::from_millis(950);

#[derive(Debug, Default)]
pub(super) struct Watchers {
    last_number: u64,
    /// When each watcher last took a sample.
    active: HashMap<u64, Instant>,
    /// Whether the task that samples runs.
    samples: bool,
}

impl Watchers {
    /// Records that the watcher is active; returns whether the sampling task has to be started, or `None` if there are too
    /// many others.
    fn enter(&mut self, watcher: u64, now: Instant) -> Option<bool> {
        if self.active.len() >= MAX_WATCHERS && !self.active.contains_key(&watcher) {
            self.remove_stalled(now);
            if self.active.len() >= MAX_WATCHERS {
                return None;
            }
        }
        self.active.insert(watcher, now);
        Some(!std::mem::replace(&mut self.samples, true))
    }

    /// Whether the sampling task continues; otherwise it ends.
    pub(super) fn may_continue(&mut self, now: Instant) -> bool {
        self.remove_stalled(now);
        self.samples = !self.active.is_empty();
        self.samples
    }

    fn remove_stalled(&mut self, now: Instant) {
        self.active.retain(|_, taken| now.saturating_duration_since(*taken) < STALLED);
    }
}

/// A client that watches until this is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    number: u64,
    live: Arc<Live>,
    backend: Arc<dyn Backend>,
    samples: watch::Receiver<Option<Arc<Sample>>>,
    last: Option<tokio::time::Instant>,
}

impl Watcher {
    /// Begins to watch; `None` if there are too many others.
    pub(crate) fn new(live: &Arc<Live>, backend: &Arc<dyn Backend>) -> Option<Self> {
        let number = {
            let mut watchers = live.watchers();
            watchers.last_number += 1;
            watchers.last_number
        };
        let watcher = Self {
            number,
            live: Arc::clone(live),
            backend: Arc::clone(backend),
            samples: live.samples.subscribe(),
            last: None,
        };
        watcher.enter().then_some(watcher)
    }

    fn enter(&self) -> bool {
        let entered = self.live.watchers().enter(self.number, Instant::now());
        if entered == Some(true) {
            let live = Arc::downgrade(&self.live);
            tokio::spawn(sample_periodically(live, Arc::clone(&self.backend)));
        }
        entered.is_some()
    }

    /// Waits for the next sample; the first one is returned at once. `None` if this watcher stalled and was replaced by
    /// others, or if the runtime is shutting down.
    pub(crate) async fn next(&mut self) -> Option<Arc<Sample>> {
        if !self.enter() {
            return None;
        }
        let sample = match self.last {
            None => self.live.sample(&self.backend).await?,
            Some(last) => {
                tokio::time::sleep_until(last + MIN_DISTANCE).await;
                self.samples.changed().await.ok()?;
                self.samples.borrow().clone()?
            }
        };
        self.samples.mark_unchanged();
        self.last = Some(tokio::time::Instant::now());
        Some(sample)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.live.watchers().active.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_watchers_is_bounded_and_stalled_ones_do_not_count() {
        let (mut watchers, start) = (Watchers::default(), Instant::now());
        assert_eq!(watchers.enter(0, start), Some(true), "the first one starts the sampling");
        for number in 1..MAX_WATCHERS as u64 {
            assert_eq!(watchers.enter(number, start), Some(false));
        }
        assert_eq!(watchers.enter(100, start), None);
        assert_eq!(watchers.enter(1, start + STALLED / 2), Some(false), "it is one of them");
        assert_eq!(watchers.enter(100, start + STALLED), Some(false), "all others stalled");
        assert_eq!(watchers.active.len(), 2);
    }

    #[test]
    fn sampling_ends_when_all_have_stalled_and_starts_with_the_next() {
        let (mut watchers, start) = (Watchers::default(), Instant::now());
        watchers.enter(0, start);
        assert!(watchers.may_continue(start + STALLED / 2));
        assert!(!watchers.may_continue(start + STALLED));
        assert_eq!(watchers.enter(0, start + STALLED), Some(true));
    }
}
