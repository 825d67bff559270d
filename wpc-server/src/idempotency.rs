//! The responses to requests with idempotency keys.
//!
//! A key is in use from the moment that its first request is accepted. It is freed if the function of that request did not
//! begin; otherwise the response is kept. The store is bounded by entries, bytes and age. A cache such as `moka` would also
//! drop entries whose request is in progress, which would run their calls twice.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The bounds on the responses that are kept for requests with an idempotency key. When a bound is reached, the oldest are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdempotencyBounds {
    /// The maximum number of keys. A request with a new key is refused while as many requests with keys are in progress.
    /// Default: 10,000.
    pub max_keys: usize,
    /// The maximum total size of the responses' bodies in bytes. A response with more than a sixteenth of this is not kept.
    /// Default: 64 MiB.
    pub max_bytes: usize,
    /// How long a response is kept. Default: 24 hours.
    pub max_age: Duration,
}

impl Default for IdempotencyBounds {
    fn default() -> Self {
        Self { max_keys: 10_000, max_bytes: 64 << 20, max_age: Duration::from_hours(24) }
    }
}

/// A hash of several texts, which differs if the same bytes are divided into other texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of<const N: usize>(parts: [&[u8]; N]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// A response that can be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The result of looking up the key of a request.
#[derive(Debug)]
#[must_use]
pub(crate) enum Begin {
    /// It is the first request with the key: it runs, and completes its ticket with the response.
    Run(Ticket),
    /// The first request has this response.
    Replay(Stored),
    /// The first request is in progress.
    InFlight,
    /// The first request has ended, and its response was not kept.
    Dropped,
    /// The first request was a different one.
    Mismatch,
    /// Too many requests with keys are in progress.
    Full,
}

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bounds: IdempotencyBounds,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Fingerprint, Entry>,
    /// The keys of finished requests with the times of their ends, the oldest first.
    finished: VecDeque<(Fingerprint, Instant)>,
    /// The size of all bodies.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    request: Fingerprint,
    state: State,
}

#[derive(Debug)]
enum State {
    InFlight,
    Finished(Stored),
    Dropped,
}

impl Store {
    pub(crate) fn new(bounds: IdempotencyBounds) -> Self {
        Self(Arc::new(Shared { bounds, entries: Mutex::default() }))
    }

    /// Looks a key up for a request, and reserves it if it is new.
    pub(crate) fn begin(&self, key: Fingerprint, request: Fingerprint, now: Instant) -> Begin {
        let bounds = &self.0.bounds;
        let mut entries = self.lock();
        let is_old = |ended: Instant| now.saturating_duration_since(ended) > bounds.max_age;
        while entries.finished.front().is_some_and(|(_, ended)| is_old(*ended)) {
            entries.drop_oldest();
        }
        if let Some(entry) = entries.by_key.get(&key) {
            return match &entry.state {
                _ if entry.request != request => Begin::Mismatch,
                State::InFlight => Begin::InFlight,
                State::Finished(stored) => Begin::Replay(stored.clone()),
                State::Dropped => Begin::Dropped,
            };
        }
        if entries.by_key.len() >= bounds.max_keys && !entries.drop_oldest() {
            return Begin::Full;
        }
        entries.by_key.insert(key, Entry { request, state: State::InFlight });
        Begin::Run(Ticket { store: self.clone(), key, is_over: false })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Drops the oldest finished request; `false` if all are in progress.
    fn drop_oldest(&mut self) -> bool {
        let Some((key, _)) = self.finished.pop_front() else { return false };
        if let Some(Entry { state: State::Finished(stored), .. }) = self.by_key.remove(&key) {
            self.bytes -= stored.body.len();
        }
        true
    }
}

/// The right to run the first request with a key. Dropping it frees the key.
#[derive(Debug)]
pub(crate) struct Ticket {
    store: Store,
    key: Fingerprint,
    is_over: bool,
}

impl Ticket {
    /// Keeps the response of a request whose function began.
    pub(crate) fn finish(mut self, stored: Stored, now: Instant) {
        let bounds = &self.store.0.bounds;
        let mut entries = self.store.lock();
        let size = stored.body.len();
        let is_kept = size <= bounds.max_bytes / 16;
        while is_kept && entries.bytes + size > bounds.max_bytes && entries.drop_oldest() {}
        let Some(entry) = entries.by_key.get_mut(&self.key) else { return };
        entry.state = if is_kept { State::Finished(stored) } else { State::Dropped };
        entries.bytes += if is_kept { size } else { 0 };
        entries.finished.push_back((self.key, now));
        drop(entries);
        self.is_over = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_over {
            self.store.lock().by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(max_keys: usize, max_bytes: usize) -> Store {
        Store::new(IdempotencyBounds { max_keys, max_bytes, max_age: Duration::from_secs(10) })
    }

    fn of(text: &str) -> Fingerprint {
        Fingerprint::of([text.as_bytes()])
    }

    fn finish(begin: Begin, size: usize, now: Instant) {
        let Begin::Run(ticket) = begin else { panic!("{begin:?}") };
        let body = vec![b'x'; size].into();
        ticket.finish(Stored { status: StatusCode::OK, headers: HeaderMap::new(), body }, now);
    }

    #[test]
    fn parts_are_divided_in_one_way() {
        assert_ne!(Fingerprint::of([b"ab", b"c"]), Fingerprint::of([b"a", b"bc"]));
    }

    #[test]
    fn a_key_is_reserved_until_its_request_ends() {
        let (store, now) = (store(10, 1600), Instant::now());
        let begin = store.begin(of("key"), of("request"), now);
        assert!(matches!(store.begin(of("key"), of("request"), now), Begin::InFlight));
        assert!(matches!(store.begin(of("key"), of("other"), now), Begin::Mismatch));
        finish(begin, 3, now);
        let replayed = store.begin(of("key"), of("request"), now);
        assert!(matches!(replayed, Begin::Replay(stored) if stored.body.len() == 3));
        assert!(matches!(store.begin(of("key"), of("other"), now), Begin::Mismatch));
    }

    #[test]
    fn a_request_that_did_not_run_frees_its_key() {
        let (store, now) = (store(10, 1600), Instant::now());
        drop(store.begin(of("key"), of("request"), now));
        assert!(matches!(store.begin(of("key"), of("other"), now), Begin::Run(_)));
    }

    #[test]
    fn responses_are_dropped_by_age() {
        let (store, now) = (store(10, 1600), Instant::now());
        finish(store.begin(of("key"), of("request"), now), 1, now);
        let later = now + Duration::from_secs(10);
        assert!(matches!(store.begin(of("key"), of("request"), later), Begin::Replay(_)));
        let later = now + Duration::from_secs(11);
        assert!(matches!(store.begin(of("key"), of("request"), later), Begin::Run(_)));
        assert_eq!(store.lock().bytes, 0);
    }

    #[test]
    fn the_oldest_responses_are_dropped_but_requests_in_progress_are_kept() {
        let (store, now) = (store(2, 1600), Instant::now());
        finish(store.begin(of("a"), of("request"), now), 100, now);
        let running = store.begin(of("b"), of("request"), now);
        let third = store.begin(of("c"), of("request"), now);
        assert!(matches!(third, Begin::Run(_)), "the answer of `a` is dropped");
        assert!(matches!(store.begin(of("d"), of("request"), now), Begin::Full));
        finish(running, 100, now);
        finish(third, 101, now);
        assert_eq!(store.lock().bytes, 100);
        assert!(matches!(store.begin(of("c"), of("request"), now), Begin::Dropped));
        let store = Store::new(IdempotencyBounds {
            max_keys: 100,
            max_bytes: 1600,
            ..IdempotencyBounds::default()
        });
        for number in 0..20 {
            finish(store.begin(of(&number.to_string()), of("request"), now), 100, now);
        }
        let entries = store.lock();
        assert_eq!((entries.bytes, entries.finished.len()), (1600, 16));
        drop(entries);
        assert!(matches!(store.begin(of("3"), of("request"), now), Begin::Run(_)));
        assert!(matches!(store.begin(of("4"), of("request"), now), Begin::Replay(_)));
    }
}
