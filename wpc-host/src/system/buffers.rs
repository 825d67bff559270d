//! A pool's free list of large buffers, so that a burst of large payloads does not allocate, fault in and free each of
//! them again. To the first write, a fresh megabyte costs more than to copy it there: 256 page faults.
//!
//! # Ownership
//!
//! A buffer belongs to the thread that holds it; the list only holds those that are not in use. The caller's thread takes one to
//! encode arguments into. The worker writes the reply into the arguments' buffer where it fits, and otherwise puts that
//! back and takes another. [`PendingCall::wait_into`](crate::PendingCall::wait_into) exchanges the reply's buffer for its
//! caller's, and puts that one back. Any other reader of a string or bytes takes the reply's buffer as the value; or, while a
//! burst is drained, copies the bytes and puts the buffer back. A [`Loan`] counts a large reply until it is read. A buffer that is lost on the way (a cancelled call, a result that its caller keeps)
//! is freed as any other; nothing counts on its return.
//!
//! # Bounds
//!
//! The list holds at most [`MAX_IDLE_BUFFERS`] and [`MAX_IDLE_BYTES`], whatever callers and guests send. A buffer that
//! was not taken for one to two [`PERIOD`]s is freed by the supervisor, which sleeps no longer than that while the list
//! has any; so the list of an idle pool is empty. That of a stopped pool is emptied at once, and takes no more.
//!
//! # Protocol
//!
//! The lock is held for a look through the list, never while memory is allocated or freed. Callers and workers do not
//! wait for it: where it is taken, they allocate or free instead. A put into an empty list rings after it wrote the
//! count; the supervisor announces its sleep and then looks at the count once more, as in `ticker`.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, time};
use crate::system::epoch_ticker::EpochTicker;
use serde::Serialize;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// What a pool keeps of large buffers for the payloads of later calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BufferUsage {
    /// How many buffers are not in use; at most 256.
    pub idle_buffers: usize,
    /// Their capacities together, in bytes; at most 64 MiB. 0 within 1.5 seconds after the last large call, and in a stopped pool.
    pub idle_bytes: usize,
}

/// The least capacity that is worth the list, in bytes: from here on allocators ask the system for memory (glibc does by
/// default), and below it a call costs more than the faults of its buffer.
pub(crate) const LARGE: usize = 128 * 1024;

/// The most bytes that the list holds: 64 calls of a megabyte.
pub(crate) const MAX_IDLE_BYTES: usize = 64 * 1024 * 1024;

/// The most buffers that the list holds. All of them are looked through under the lock, which takes less than a
/// microsecond.
pub(crate) const MAX_IDLE_BUFFERS: usize = 256;

/// How long a buffer stays at least without being taken, and half of how long it does at most: longer than the pauses of a
/// caller that sends burst after burst.
const PERIOD: Duration = Duration::from_millis(750);

/// With fewer large replies unread than these, their readers take the buffers along: the allocator keeps the memory of so
/// few for the next calls.
const BURST: usize = 16;

#[derive(Debug)]
pub(crate) struct Buffers {
    list: Mutex<List>,
    /// How many the list has; read without the lock.
    count: AtomicUsize,
    /// How many large replies were written and are not read yet: a hint, as is the next.
    unread: AtomicUsize,
    /// How many of a burst were read since a large buffer was wanted.
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
    /// Whether the reader is to leave its buffer to the pool, and copy it.
    ///
    /// That costs a quarter of the page faults of a new buffer, so it is done where a burst is drained, and the memory would
    /// go back to the system before the next. As long as each read is followed by another call, the allocator has the
    /// memory of the one for the other.
    pub(crate) fn is_wanted_back(&self) -> bool {
        let is_of_burst = self.is_of_burst || self.buffers.unread.load(Ordering::Relaxed) > BURST;
        is_of_burst && self.buffers.reads.fetch_add(1, Ordering::Relaxed) > 0
    }

    /// Ends the loan with a buffer for the pool.
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
    /// The one that was put last, and is likely to lie in a cache, comes last.
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
    /// In which period it was put.
    since: u64,
}

impl Buffers {
    /// An empty list. A put that makes it non-empty rings `ticker`.
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

    /// An empty buffer with a capacity of at least `len` bytes; of at most twice as many where it comes from the list.
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

    /// Keeps a buffer for a later call if it is large enough to be worth it; frees those that were put longest ago where
    /// there is no room for it.
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
        let evicted = list.make_room(size);
        let since = list.period;
        list.bytes += size;
        list.idle.push(Idle { buffer, since });
        self.note(&list);
        drop(list);
        drop(evicted);
        if was_empty {
            self.ticker.ring();
        }
    }

    /// Counts a large reply.
    pub(crate) fn lend(buffers: &Arc<Self>) -> Loan {
        let is_of_burst = buffers.unread.fetch_add(1, Ordering::Relaxed) >= BURST;
        Loan { buffers: Arc::clone(buffers), is_of_burst }
    }

    /// Whether there is none at the moment.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// How long from `now` until [`age`](Self::age) has something to do; `None` while the list is empty.
    pub(crate) fn due(&self, now: Instant) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        Some(PERIOD.saturating_sub(now.saturating_duration_since(self.lock().period_began)))
    }

    /// Frees what was not taken for a whole period, if one is over.
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

    /// Lets buffers be put again.
    pub(crate) fn open(&self) {
        self.lock().is_closed = false;
    }

    /// Frees all, and every one that is put from now on.
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

    /// The list, unless another thread is at it.
    fn try_lock(&self) -> Option<MutexGuard<'_, List>> {
        // Nothing panics under it.
        self.list.try_lock().ok()
    }
}

/// The capacity of a new large buffer: arguments, which have a length before them, and a result of the same bytes each fit
/// where the other was. What is not written to takes no memory.
fn rounded(len: usize) -> usize {
    const SPARE: usize = 4 * 1024;
    const STEP: usize = 16 * 1024;
    len.checked_add(SPARE).and_then(|len| len.checked_next_multiple_of(STEP)).unwrap_or(len)
}

/// Whether `len` bytes fit, and leave no more than as much unused.
pub(crate) fn fits(buffer: &Vec<u8>, len: usize) -> bool {
    (len..=len.saturating_mul(2)).contains(&buffer.capacity())
}

impl List {
    fn remove(&mut self, at: usize) -> Vec<u8> {
        let buffer = self.idle.remove(at).buffer;
        self.bytes -= buffer.capacity();
        buffer
    }

    /// The `count` that were put longest ago.
    fn remove_first(&mut self, count: usize) -> Vec<Idle> {
        let removed: Vec<_> = self.idle.drain(..count).collect();
        self.bytes -= removed.iter().map(|idle| idle.buffer.capacity()).sum::<usize>();
        removed
    }

    /// Makes room for a buffer of `size` bytes, which is at most [`MAX_IDLE_BYTES`].
    fn make_room(&mut self, size: usize) -> Vec<Idle> {
        let (mut count, mut bytes) = (0, self.bytes);
        while bytes > MAX_IDLE_BYTES - size || self.idle.len() - count >= MAX_IDLE_BUFFERS {
            bytes -= self.idle[count].buffer.capacity();
            count += 1;
        }
        self.remove_first(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers() -> Buffers {
        Buffers::new(Arc::new(EpochTicker::new()))
    }

    fn usage(buffers: &Buffers) -> (usize, usize) {
        let BufferUsage { idle_buffers, idle_bytes } = buffers.usage();
        (idle_buffers, idle_bytes)
    }

    #[test]
    fn a_large_buffer_is_used_again_where_it_fits() {
        let buffers = buffers();
        let mut buffer = buffers.take(LARGE);
        buffer.extend([7; 10]);
        let (place, capacity) = (buffer.as_ptr(), buffer.capacity());
        buffers.put(buffer);
        assert_eq!(usage(&buffers), (1, capacity));
        let larger = buffers.take(capacity + 1);
        assert_ne!(larger.as_ptr(), place, "too small");
        let half = buffers.take(LARGE / 2 - 1);
        assert_ne!(half.as_ptr(), place, "half of it would be wasted");
        let again = buffers.take(LARGE);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert_eq!(usage(&buffers), (0, 0));
    }

    #[test]
    fn small_buffers_are_not_kept() {
        let buffers = buffers();
        buffers.put(Vec::with_capacity(LARGE - 1));
        assert_eq!(usage(&buffers), (0, 0));
        assert!(buffers.take(10).capacity() >= 10);
    }

    #[test]
    fn the_list_is_bounded_by_bytes_and_by_count_and_what_was_put_last_stays() {
        let buffers = buffers();
        buffers.put(Vec::with_capacity(MAX_IDLE_BYTES + 1));
        assert_eq!(usage(&buffers), (0, 0));
        for len in [MAX_IDLE_BYTES / 2, MAX_IDLE_BYTES / 2 + 1, MAX_IDLE_BYTES / 4] {
            buffers.put(Vec::with_capacity(len));
        }
        assert_eq!(usage(&buffers), (2, MAX_IDLE_BYTES / 2 + 1 + MAX_IDLE_BYTES / 4));
        for _ in 0..2 * MAX_IDLE_BUFFERS {
            buffers.put(Vec::with_capacity(LARGE));
        }
        assert_eq!(usage(&buffers), (MAX_IDLE_BUFFERS, MAX_IDLE_BUFFERS * LARGE));
    }

    #[test]
    fn what_is_not_taken_for_a_whole_period_is_freed() {
        let buffers = buffers();
        let start = time::now();
        assert_eq!(buffers.due(start), None);
        buffers.put(Vec::with_capacity(LARGE));
        assert!(buffers.due(start).is_some_and(|due| due <= PERIOD));
        buffers.age(start + PERIOD / 2);
        buffers.age(start + PERIOD);
        assert_eq!(buffers.due(start + PERIOD), Some(PERIOD), "another one, since it is new");
        // This one is in use.
        buffers.put(Vec::with_capacity(2 * LARGE));
        buffers.age(start + 2 * PERIOD);
        assert_eq!(usage(&buffers), (1, 2 * LARGE));
        buffers.age(start + 3 * PERIOD);
        assert_eq!(usage(&buffers), (0, 0));
        assert_eq!(buffers.due(start + 3 * PERIOD), None);
    }

    #[test]
    fn a_closed_list_is_empty_until_it_is_opened() {
        let buffers = buffers();
        buffers.put(Vec::with_capacity(LARGE));
        buffers.close();
        buffers.put(Vec::with_capacity(LARGE));
        assert_eq!(usage(&buffers), (0, 0));
        buffers.open();
        buffers.put(Vec::with_capacity(LARGE));
        assert_eq!(usage(&buffers), (1, LARGE));
    }
}
