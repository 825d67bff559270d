//! Counts the module instances in the whole pool, and chooses which idle sandboxes are dropped for new ones.
//!
//! A worker keeps the sandbox that it used last to itself. Its other sandboxes are idle: any thread that needs instances can
//! drop them. This module does not depend on calls, restarts or health.
//!
//! # Protocol
//!
//! *Used* counts the instances of every sandbox from before it is instantiated until after it is dropped; dropping a
//! [`Reservation`] releases them. When all instances are used, a thread that needs some drops idle sandboxes, the longest
//! idle first, in this order:
//!
//! 1. those of abandoned workers;
//! 2. those of its own worker, if that has its share or more;
//! 3. those of the worker with the most idle instances.
//!
//! If all idle sandboxes together would not free enough instances, the thread drops none. It asks every worker to release
//! the sandbox that it used last, and waits for up to [`MAX_WAIT`]. No lock is held while a sandbox is dropped.

use crate::call::nested::MAX_CALL_DEPTH;
use crate::id::Generation;
use crate::sandbox::Sandbox;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, time};
use crate::system::changes::Changes;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long a thread waits while all instances are in use. In this time the supervisor ticks and asks the workers, and
/// most workers finish a call and release a sandbox.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// How often it retries.
const RETRY_INTERVAL: Duration = Duration::from_millis(1);

pub(crate) struct Capacity {
    total: usize,
    used: AtomicUsize,
    /// The maximum of `suspended` for calls that were not made by other calls.
    most_suspended: usize,
    /// The instances that calls on fibers use, running or suspended. Idle sandboxes do not count.
    suspended: AtomicUsize,
    /// How many threads and workers wait for instances.
    waiting: AtomicUsize,
    caches: Mutex<Vec<Arc<IdleSandboxes>>>,
    freed: Changes,
}

/// The instances are used, and dropping the idle sandboxes would not free enough of them.
#[derive(Debug)]
pub(crate) struct Exhausted;

impl Capacity {
    pub(crate) fn new(total: usize, most_suspended: usize) -> Self {
        Self {
            total,
            used: AtomicUsize::new(0),
            most_suspended,
            suspended: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            caches: Mutex::default(),
            freed: Changes::default(),
        }
    }

    /// The maximum number of instances.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    fn caches(&self) -> MutexGuard<'_, Vec<Arc<IdleSandboxes>>> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the cache of a new worker, whose fair share is `share` instances.
    pub(crate) fn add_cache(&self, share: usize) -> Arc<IdleSandboxes> {
        let cache = Arc::new(IdleSandboxes {
            share,
            is_orphaned: AtomicBool::new(false),
            state: Mutex::default(),
        });
        self.caches().push(Arc::clone(&cache));
        cache
    }

    /// Removes the cache of a worker that has ended, and drops its sandboxes.
    pub(crate) fn remove_cache(&self, cache: &Arc<IdleSandboxes>) {
        self.caches().retain(|other| !Arc::ptr_eq(other, cache));
        cache.clear();
        self.freed.notify_all();
    }

    /// Drops the idle sandboxes of abandoned workers.
    pub(crate) fn drop_orphans(&self) {
        let orphans: Vec<_> =
            self.caches().iter().filter(|cache| cache.is_orphaned()).cloned().collect();
        if !orphans.is_empty() {
            orphans.iter().for_each(|orphan| orphan.clear());
            self.freed.notify_all();
        }
    }

    /// Whether a thread waits for instances, so workers should release the sandboxes they do not use at the moment.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// A call of this depth is admitted if the calls on fibers then use at most this many instances. Calls from outside leave
    /// some instances free, and each level of nested calls may use one more share of these. So callers cannot use the
    /// instances that their nested calls need: the deepest waiting call waits only for calls that are at least as deep, and
    /// these do not wait.
    fn bound(&self, depth: usize) -> usize {
        // One instance at least is left for calls that cannot suspend.
        let left = (self.total - self.most_suspended).saturating_sub(1);
        // Rounded up, so that in a small pool at least the first levels have some.
        self.most_suspended + (left * depth).div_ceil(MAX_CALL_DEPTH + 1)
    }

    /// Whether a call of this depth, whose sandbox has this many instances, will be admitted if it waits: its level of nested
    /// calls has enough instances.
    pub(crate) fn may_wait(&self, instances: usize, depth: usize) -> bool {
        depth == 0 || self.bound(depth) - self.bound(depth - 1) >= instances
    }

    /// Admits a call on a fiber, whose sandbox has this many instances; `None` if such calls use too many already.
    pub(crate) fn admit(self: &Arc<Self>, instances: usize, depth: usize) -> Option<Admission> {
        let bound = self.bound(depth);
        let fits = |used: usize| Some(used + instances).filter(|sum| *sum <= bound);
        self.suspended.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).ok()?;
        Some(Admission { capacity: Arc::clone(self), instances })
    }

    /// Adds or removes a worker whose jobs wait for instances.
    pub(crate) fn set_wanting(&self, is_wanting: bool) {
        if is_wanting {
            self.waiting.fetch_add(1, Ordering::SeqCst);
        } else {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Makes waiting threads retry.
    pub(crate) fn notify_freed(&self) {
        self.freed.notify_all();
    }

    /// Reserves instances for the worker with the cache `own`, and drops idle sandboxes if necessary. If that does not free
    /// enough, it calls `notify` once and waits until `is_cancelled` returns true, or for up to [`MAX_WAIT`].
    pub(crate) fn reserve(
        self: &Arc<Self>,
        instances: usize,
        own: &Arc<IdleSandboxes>,
        is_cancelled: impl Fn() -> bool,
        notify: impl FnOnce(),
    ) -> Result<Reservation, Exhausted> {
        if let Some(reservation) = self.reserve_now(instances, own) {
            return Ok(reservation);
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        notify();
        let until = time::now() + MAX_WAIT;
        let reservation = loop {
            if let Some(reservation) = self.reserve_now(instances, own) {
                break Ok(reservation);
            }
            if is_cancelled() || time::now() >= until {
                break Err(Exhausted);
            }
            self.freed.wait_until(RETRY_INTERVAL, || self.can_fit(instances));
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        reservation
    }

    /// Whether this many instances are unused, or would be after all idle sandboxes were dropped.
    fn can_fit(&self, instances: usize) -> bool {
        let idle: usize = self.caches().iter().map(|cache| cache.instances()).sum();
        self.used.load(Ordering::SeqCst) + instances <= self.total + idle
    }

    /// Like [`reserve`](Self::reserve), without waiting.
    pub(crate) fn reserve_now(
        self: &Arc<Self>,
        instances: usize,
        own: &Arc<IdleSandboxes>,
    ) -> Option<Reservation> {
        loop {
            let fits = |used: usize| Some(used + instances).filter(|sum| *sum <= self.total);
            if self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok() {
                return Some(Reservation { capacity: Arc::clone(self), instances });
            }
            if !self.can_fit(instances) {
                return None;
            }
            drop(self.victim(own)?.pop_longest_idle());
        }
    }

    /// The cache whose longest idle sandbox is dropped next.
    fn victim(&self, own: &Arc<IdleSandboxes>) -> Option<Arc<IdleSandboxes>> {
        let caches = self.caches();
        let mut most: Option<(usize, &Arc<IdleSandboxes>)> = None;
        for cache in caches.iter() {
            let instances = cache.instances();
            if instances == 0 {
                continue;
            }
            if cache.is_orphaned() {
                return Some(Arc::clone(cache));
            }
            if most.is_none_or(|(found, _)| instances > found) {
                most = Some((instances, cache));
            }
        }
        // A worker that has used its share replaces its own sandboxes before it drops those of others.
        let own_instances = own.instances();
        if own_instances > 0 && own_instances >= own.share {
            return Some(Arc::clone(own));
        }
        most.map(|(_, cache)| Arc::clone(cache))
    }
}

impl std::fmt::Debug for Capacity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capacity").field("used", &self.used).finish_non_exhaustive()
    }
}

/// The instances of one sandbox; dropping it releases them.
#[derive(Debug)]
pub(crate) struct Reservation {
    capacity: Arc<Capacity>,
    instances: usize,
}

impl Reservation {
    pub(crate) fn instances(&self) -> usize {
        self.instances
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.capacity.used.fetch_sub(self.instances, Ordering::SeqCst);
        if self.capacity.is_wanted() {
            self.capacity.freed.notify_all();
        }
    }
}

/// The instances that a call on a fiber uses; dropping it releases them.
#[derive(Debug)]
pub(crate) struct Admission {
    capacity: Arc<Capacity>,
    instances: usize,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.capacity.suspended.fetch_sub(self.instances, Ordering::SeqCst);
    }
}

/// A sandbox with the instances that were reserved for it.
pub(crate) struct LiveSandbox {
    // Dropped in this order: the instances are released after the sandbox is gone.
    // Boxed, because a worker's tables have more slots than sandboxes.
    pub(crate) sandbox: Box<Sandbox>,
    reservation: Reservation,
}

impl LiveSandbox {
    pub(crate) fn new(sandbox: Sandbox, reservation: Reservation) -> Self {
        Self { sandbox: Box::new(sandbox), reservation }
    }
}

/// A worker's idle sandboxes, by definition.
pub(crate) struct IdleSandboxes {
    share: usize,
    /// Whether its worker was abandoned.
    is_orphaned: AtomicBool,
    state: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// Those of a definition are in the order in which they became idle. Only a definition whose calls can be suspended has
    /// several.
    sandboxes: FxHashMap<Generation, SmallVec<[(LiveSandbox, u64); 1]>>,
    instances: usize,
    /// Counts the sandboxes that became idle, to find the longest idle one.
    clock: u64,
}

impl Idle {
    /// Removes one of the definition's sandboxes, which `choose` chooses.
    fn remove(
        &mut self,
        generation: Generation,
        choose: impl FnOnce(usize) -> usize,
    ) -> Option<LiveSandbox> {
        let of_definition = self.sandboxes.get_mut(&generation)?;
        let (live, _) = of_definition.remove(choose(of_definition.len()));
        if of_definition.is_empty() {
            self.sandboxes.remove(&generation);
        }
        self.instances -= live.reservation.instances();
        Some(live)
    }
}

impl IdleSandboxes {
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instances(&self) -> usize {
        self.lock().instances
    }

    fn is_orphaned(&self) -> bool {
        self.is_orphaned.load(Ordering::Acquire)
    }

    /// Marks the sandboxes of an abandoned worker: they are dropped first.
    pub(crate) fn orphan(&self) {
        self.is_orphaned.store(true, Ordering::Release);
    }

    /// Adds a sandbox that has become idle.
    pub(crate) fn put(&self, generation: Generation, live: LiveSandbox) {
        let mut idle = self.lock();
        idle.clock += 1;
        idle.instances += live.reservation.instances();
        let clock = idle.clock;
        idle.sandboxes.entry(generation).or_default().push((live, clock));
    }

    /// Takes the definition's sandbox out that was used last, if it has not been dropped.
    pub(crate) fn take(&self, generation: Generation) -> Option<LiveSandbox> {
        self.lock().remove(generation, |count| count - 1)
    }

    /// Takes out the definition's sandbox that was idle longest, if it has more than `most`.
    pub(crate) fn take_surplus(&self, generation: Generation, most: usize) -> Option<LiveSandbox> {
        let mut idle = self.lock();
        idle.sandboxes.get(&generation).filter(|sandboxes| sandboxes.len() > most)?;
        idle.remove(generation, |_| 0)
    }

    fn pop_longest_idle(&self) -> Option<LiveSandbox> {
        let mut idle = self.lock();
        let longest = idle.sandboxes.iter().min_by_key(|(_, sandboxes)| sandboxes[0].1)?;
        let generation = *longest.0;
        idle.remove(generation, |_| 0)
    }

    fn clear(&self) {
        let all = {
            let mut idle = self.lock();
            idle.instances = 0;
            std::mem::take(&mut idle.sandboxes)
        };
        drop(all);
    }
}
