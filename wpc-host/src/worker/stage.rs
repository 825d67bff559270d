//! The stages of a worker's thread.
//!
//! # Protocol
//!
//! | stage | entered by | when |
//! |---|---|---|
//! | starting | | the worker is created |
//! | ready | the worker's thread | it takes calls |
//! | draining | the thread that ends the worker: a stop, a failed start, the supervisor | its queue is about to be closed |
//! | exited | the worker's thread | it runs no more jobs, and its sandboxes are dropped |
//!
//! A stage is only followed by a later one: an entry that comes too late does nothing. All accesses acquire and release, so
//! that a thread that sees a worker as exited also sees what its thread wrote.

use crate::sync::atomic::{AtomicU8, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    Starting,
    Ready,
    Draining,
    Exited,
}

#[derive(Debug)]
pub(super) struct AtomicStage(AtomicU8);

impl AtomicStage {
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(Stage::Starting as u8))
    }

    /// Moves on to `stage`, unless that or a later one was entered before.
    pub(super) fn enter(&self, stage: Stage) {
        self.0.fetch_max(stage as u8, Ordering::AcqRel);
    }

    #[inline]
    pub(super) fn is(&self, stage: Stage) -> bool {
        self.0.load(Ordering::Acquire) == stage as u8
    }
}
