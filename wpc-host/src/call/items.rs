//! The items of a stream between its guest and its caller.
//!
//! # Protocol
//!
//! The guest's thread adds items, the caller takes all of them at once. Both hold the lock for no longer than it takes to
//! copy an item or to exchange two buffers.
//!
//! * A guest that finds the buffer full registers its waker and is suspended. The caller wakes it when it has taken the items.
//! * A caller that finds the buffer empty registers the waker of its call, and then sets `is_awaited`. The guest that adds
//!   the next item resets it, and wakes the caller. The answer of the call wakes the caller too.
//!
//! Everything here is written under the lock.

use crate::sync::{Mutex, MutexGuard, time};
use std::sync::PoisonError;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// How many items and bytes may wait for the caller. An item that exceeds the bound of bytes may wait alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Items {
    bounds: Bounds,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Batch,
    /// The waker of the guest and the time at which it was suspended; `None` unless it is suspended because the buffer was
    /// full.
    guest: Option<(Waker, Instant)>,
    /// How long the guest was suspended before.
    suspended: Duration,
    /// Whether the caller waits for an item.
    is_awaited: bool,
}

/// Encoded items, one after another.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where each item ends.
    ends: Vec<usize>,
    /// How many items were read.
    read: usize,
}

impl Batch {
    fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.ends.push(self.bytes.len());
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.read = 0;
    }

    /// The next item.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let end = *self.ends.get(self.read)?;
        let start = self.read.checked_sub(1).map_or(0, |last| self.ends[last]);
        self.read += 1;
        Some(&self.bytes[start..end])
    }

    /// Whether all items were read.
    pub(crate) fn is_read(&self) -> bool {
        self.read == self.ends.len()
    }

    /// Drops the items that were not read.
    pub(crate) fn skip(&mut self) {
        self.read = self.ends.len();
    }
}

/// The result of adding an item.
pub(crate) enum Added {
    /// The caller waits for it and must be woken.
    ToWaitingCaller,
    /// The caller will find it.
    ToBuffer,
}

impl Items {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, shared: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item, or registers the guest's waker because the buffer is full.
    pub(crate) fn poll_add(&self, item: &[u8], guest: &Waker) -> Poll<Added> {
        let mut shared = self.lock();
        let waiting = &shared.waiting;
        // Empty items take memory too.
        let bytes = waiting.bytes.len() + size_of_val(&*waiting.ends);
        let is_full =
            waiting.ends.len() >= self.bounds.items || bytes + item.len() > self.bounds.bytes;
        if is_full && !waiting.ends.is_empty() {
            let since = shared.guest.take().map_or_else(time::now, |(_, since)| since);
            shared.guest = Some((guest.clone(), since));
            return Poll::Pending;
        }
        shared.waiting.push(item);
        let is_awaited = std::mem::take(&mut shared.is_awaited);
        Poll::Ready(if is_awaited { Added::ToWaitingCaller } else { Added::ToBuffer })
    }

    /// Exchanges `batch`, whose items were read, for the waiting items. If there are none, the next item wakes the caller if
    /// its waker is registered by then.
    pub(crate) fn take(&self, batch: &mut Batch) -> bool {
        batch.clear();
        let mut shared = self.lock();
        if shared.waiting.ends.is_empty() {
            shared.is_awaited = true;
            return false;
        }
        std::mem::swap(&mut shared.waiting, batch);
        let guest = shared.guest.take();
        if let Some((_, since)) = guest {
            shared.suspended += time::now().saturating_duration_since(since);
        }
        drop(shared);
        if let Some((guest, _)) = guest {
            guest.wake();
        }
        true
    }

    /// How long the guest has been suspended in all because the buffer was full.
    pub(crate) fn suspended(&self, now: Instant) -> Duration {
        let shared = self.lock();
        let current = shared.guest.as_ref().map(|(_, since)| now.saturating_duration_since(*since));
        shared.suspended + current.unwrap_or_default()
    }
}
