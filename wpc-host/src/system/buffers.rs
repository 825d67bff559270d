//! A pool's free list of large buffers, so that a burst of large payloads does not allocate, fault in and free a buffer for
//! each. Faulting in a fresh megabyte takes 256 page faults, which cost more than copying it.
//!
//! # Ownership
//!
//! A buffer belongs to the thread that holds it; the list only holds unused buffers.
//!
//! 1. The caller's thread takes a buffer and encodes the arguments into it.
//! 2. The worker writes the reply into the arguments' buffer if it fits. Otherwise it returns that buffer and takes another.
//! 3. [`PendingCall::wait_into`](crate::PendingCall::wait_into) exchanges the reply's buffer for its caller's, and returns the
//!    caller's. Other readers of a string or bytes take the reply's buffer as the value. While a burst is drained, they copy
//!    the bytes instead and return the buffer.
//!
//! A [`Loan`] counts a large reply until it is read. A buffer need not be returned: that of a cancelled call or of a result that
//! its caller keeps is freed as usual.
//!
//! # Bounds
//!
//! The list holds at most [`MAX_IDLE_BUFFERS`] and [`MAX_IDLE_BYTES`]. The supervisor frees a buffer that was not taken for
//! one to two [`PERIOD`]s, and parks no longer than that while the list is not empty; so the list of an idle pool is empty.
//! The list of a stopped pool is emptied at once and accepts no buffers.
//!
//! # Protocol
//!
//! The lock is held for a search of the list, never while memory is allocated or freed. Callers and workers do not wait for
//! it: if it is held, they allocate or free instead. A put into an empty list notifies the supervisor after it wrote the
//! count. The supervisor announces that it will park and then checks the count once more, as in `epoch_ticker`.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, time};
use crate::system::epoch_ticker::EpochTicker;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// The unused large buffers that a pool keeps for the payloads of later calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BufferUsage {
    /// The number of unused buffers; at most 256.
    pub idle_buffers: usize,
    /// The sum of their capacities, in bytes; at most 64 MiB. It is 0 from 1.5 seconds after the last large call, and in a
    /// stopped pool.
    pub idle_bytes: usize,
}

/// The least capacity of a buffer in the list, in bytes. From this size on allocators request memory from the system (glibc
/// does by default). Below it, a call costs more than the page faults of its buffer.
pub(crate) const LARGE: usize = 128 * 1024;

/// The most bytes that the list holds: 64 calls of a megabyte.
pub(crate) const MAX_IDLE_BYTES: usize = 64 * 1024 * 1024;

/// The most buffers that the list holds. Searching all of them under the lock takes less than a microsecond.
pub(crate) const MAX_IDLE_BUFFERS: usize = 256;

/// An untaken buffer stays in the list for at least this time and at most twice as long. It is longer than the pauses
/// between the bursts of a caller.
const PERIOD: Duration = Duration::from_millis(750);

/// With at most this many unread large replies, readers keep the buffers, because the allocator keeps the memory of so few
/// for the next calls.
const BURST: usize = 16;

#[derive(Debug)]
pub(crate) struct Buffers {
    list: Mutex<List>,
    /// The length of the list, to be read without the lock.
    count: AtomicUsize,
    /// The number of large replies that were written and not read yet. A hint, like `reads`.
    unread: AtomicUsize,
    /// The number of replies of a burst that were read since a large buffer was last requested.
    reads: AtomicUsize,
    ticker: Arc<EpochTicker>,
}

/// A large reply that is not read yet.
#[derive(Debug)]
pub(crate) struct Loan {
    buffers: Arc<Buffers>,
    is_of_burst: bool,
}

impl Loan {
    /// Whether the reader should copy the bytes and return the buffer to the pool.
    ///
    /// The copy costs a quarter of the page faults of a new buffer. It pays off while a burst is drained, because the memory
    /// would otherwise return to the system before the next burst. If each read is followed by another call, the allocator
    /// reuses the memory anyway.
    pub(crate) fn is_wanted_back(&self) -> bool {
        let is_of_burst = self.is_of_burst || self.buffers.unread.load(Ordering::Relaxed) > BURST;
        is_of_burst && self.buffers.reads.fetch_add(1, Ordering::Relaxed) > 0
    }

    /// Ends the loan, and returns a buffer to the pool.
    pub(crate) fn put(self, buffer: Vec<u8>) {
        self.buffers.put(buffer);
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.buffers.unread.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct List {
    /// The unused buffers. The one that was put last, and is likely to be in a CPU cache, comes last.
    idle: Vec<Idle>,
    /// The sum of their capacities.
    bytes: usize,
    /// Counts the calls of [`Buffers::age`] that did something.
    period: u64,
    period_began: Instant,
    is_closed: bool,
}

#[derive(Debug)]
struct Idle {
    buffer: Vec<u8>,
    /// The period in which it was put.
    since: u64,
}

impl Buffers {
    /// An empty list. A put that makes it non-empty notifies `ticker`.
    pub(crate) fn new(ticker: Arc<EpochTicker>) -> Self {
        let list = List {
            idle: Vec::new(),
            bytes: 0,
            period: 0,
            period_began: time::now(),
            is_closed: false,
        };
        Self {
            list: Mutex::new(list),
            count: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            ticker,
        }
    }

    /// An empty buffer with a capacity of at least `len` bytes. If it comes from the list, at most twice as many.
    #[inline]
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        if len < LARGE {
            return Vec::with_capacity(len);
        }
        self.take_idle(len).unwrap_or_else(|| Vec::with_capacity(rounded(len)))
    }

    #[cold]
    fn take_idle(&self, len: usize) -> Option<Vec<u8>> {
        self.reads.store(0, Ordering::Relaxed);
        if self.is_empty() {
            return None;
        }
        let mut list = self.try_lock()?;
        let at = list.idle.iter().rposition(|idle| fits(&idle.buffer, len))?;
        let mut buffer = list.remove(at);
        self.note(&list);
        drop(list);
        buffer.clear();
        Some(buffer)
    }

    /// Keeps a buffer for a later call if it is large enough. If the list is full, frees the buffers that were put longest ago.
    #[inline]
    pub(crate) fn put(&self, buffer: Vec<u8>) {
        if buffer.capacity() >= LARGE {
            self.put_large(buffer);
        }
    }

    #[cold]
    fn put_large(&self, buffer: Vec<u8>) {
        let size = buffer.capacity();
        let Some(mut list) = self.try_lock() else { return };
        if list.is_closed || size > MAX_IDLE_BYTES {
            return;
        }
        let was_empty = list.idle.is_empty();
        let evicted = list.evict_for(size);
        let since = list.period;
        list.bytes += size;
        list.idle.push(Idle { buffer, since });
        self.note(&list);
        drop(list);
        drop(evicted);
        if was_empty {
            self.ticker.notify();
        }
    }

    /// Counts a large reply.
    pub(crate) fn lend(buffers: &Arc<Self>) -> Loan {
        let is_of_burst = buffers.unread.fetch_add(1, Ordering::Relaxed) >= BURST;
        Loan { buffers: Arc::clone(buffers), is_of_burst }
    }

    /// Whether the list is empty at the moment.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// How long from `now` until [`age`](Self::age) is due; `None` while the list is empty.
    pub(crate) fn due(&self, now: Instant) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        Some(PERIOD.saturating_sub(now.saturating_duration_since(self.lock().period_began)))
    }

    /// Frees the buffers that were not taken for a whole period, if a period is over.
    pub(crate) fn age(&self, now: Instant) {
        if self.is_empty() {
            return;
        }
        let mut list = self.lock();
        if now.saturating_duration_since(list.period_began) < PERIOD {
            return;
        }
        let period = list.period;
        let stale = list.idle.iter().take_while(|idle| idle.since < period).count();
        let freed = list.remove_first(stale);
        list.period += 1;
        list.period_began = now;
        self.note(&list);
        drop(list);
        drop(freed);
    }

    /// Accepts buffers again.
    pub(crate) fn open(&self) {
        self.lock().is_closed = false;
    }

    /// Frees all buffers, and those that are put from now on.
    pub(crate) fn close(&self) {
        let mut list = self.lock();
        list.is_closed = true;
        let all = list.idle.len();
        let freed = list.remove_first(all);
        self.note(&list);
        drop(list);
        drop(freed);
    }

    pub(crate) fn usage(&self) -> BufferUsage {
        let list = self.lock();
        BufferUsage { idle_buffers: list.idle.len(), idle_bytes: list.bytes }
    }

    fn note(&self, list: &List) {
        self.count.store(list.idle.len(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list, unless another thread holds the lock.
    fn try_lock(&self) -> Option<MutexGuard<'_, List>> {
        // No code panics while it holds the lock, so the lock is never poisoned.
        self.list.try_lock().ok()
    }
}

/// The capacity of a new large buffer. It is rounded up so that a result fits the buffer of arguments with the same bytes, and
/// vice versa, although arguments have a length before them. Unwritten pages take no memory.
fn rounded(len: usize) -> usize {
    const SPARE: usize = 4 * 1024;
    const STEP: usize = 16 * 1024;
    len.checked_add(SPARE).and_then(|len| len.checked_next_multiple_of(STEP)).unwrap_or(len)
}

/// The capacity of a buffer for a short payload, which every other short payload fits too.
pub(crate) const SHORT: usize = 64;

/// Whether `len` bytes fit the buffer and use at least half of it, unless it is short.
#[inline]
pub(crate) fn fits(buffer: &Vec<u8>, len: usize) -> bool {
    (len..=len.saturating_mul(2).max(SHORT)).contains(&buffer.capacity())
}

impl List {
    fn remove(&mut self, at: usize) -> Vec<u8> {
        let buffer = self.idle.remove(at).buffer;
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Removes the `count` buffers that were put longest ago.
    fn remove_first(&mut self, count: usize) -> Vec<Idle> {
        let removed: Vec<_> = self.idle.drain(..count).collect();
        self.bytes -= removed.iter().map(|idle| idle.buffer.capacity()).sum::<usize>();
        removed
    }

    /// Removes buffers until one of `size` bytes fits, which is at most [`MAX_IDLE_BYTES`].
    fn evict_for(&mut self, size: usize) -> Vec<Idle> {
        let (mut count, mut bytes) = (0, self.bytes);
        while bytes > MAX_IDLE_BYTES - size || self.idle.len() - count >= MAX_IDLE_BUFFERS {
            bytes -= self.idle[count].buffer.capacity();
            count += 1;
        }
        self.remove_first(count)
    }
}

#[cfg(test)]
mod tests;
