//! Counts the slots of a worker that are taken.
//!
//! Any thread may take and release slots, each in one atomic step. A [reading](Slots) also has the number of releases, so that two
//! equal readings prove that no slot was released between them.

use crate::sync::atomic::{AtomicU64, Ordering};

/// Slots at one instant: how many are taken, in the lower half, and how many were ever released, in the upper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slots(u64);

const TAKE: u64 = 1;
const RELEASE: u64 = (1 << 32) - TAKE;

impl Slots {
    #[inline]
    pub(crate) fn taken(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }
}

/// Slots that threads share.
#[derive(Debug)]
pub(crate) struct AtomicSlots(AtomicU64);

impl AtomicSlots {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(crate) fn read(&self) -> Slots {
        Slots(self.0.load(Ordering::Acquire))
    }

    /// Takes a slot; returns false if `limit` slots are taken.
    #[must_use]
    #[inline]
    pub(crate) fn reserve(&self, limit: usize) -> bool {
        // A failed attempt must not be visible, because another caller could find the worker full because of it.
        let taken = |slots| (Slots(slots).taken() < limit).then_some(slots + TAKE);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).is_ok()
    }

    /// Takes a slot, even if all are taken.
    #[inline]
    pub(crate) fn take(&self) {
        self.0.fetch_add(TAKE, Ordering::AcqRel);
    }

    #[inline]
    pub(crate) fn release(&self) {
        self.0.fetch_add(RELEASE, Ordering::AcqRel);
    }
}
