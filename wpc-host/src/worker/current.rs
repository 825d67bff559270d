//! The call that a worker runs at the moment, and who owns its answer.
//!
//! # Protocol
//!
//! | state | value of `state` | left by | to |
//! |---|---|---|---|
//! | idle | an even number | the worker: [`Current::begin`] | running |
//! | running | an odd number | the worker: [`Current::finish`] | idle, the next even number |
//! | | | any thread: [`Current::steal`] | stolen |
//! | | | any thread: [`Current::peek`] | lent |
//! | lent | the same odd number with [`LENT`] | the thread that peeks, after a few steps that neither block nor run foreign code | running |
//! | stolen | [`STOLEN`] | none: the worker is abandoned | |
//!
//! Every exchange that finds the slot lent waits until it is returned and tries again, so a look never decides who
//! answers. The thread whose exchange leaves *running* for good owns the answer: the worker by `finish`, another thread by
//! `steal`.
//!
//! | field | written by | when | ordering |
//! |---|---|---|---|
//! | `state` | see above | | acquire and release: it publishes the other two |
//! | `call` | the worker | while idle | published by `begin` |
//! | `call` | the thread that peeks or stole | while lent, after the theft | by `state` |
//! | `deadline_nanos` | the worker | while idle | published by `begin` |

use crate::call::Call;
use crate::sync::Backoff;
use crate::sync::atomic::{AtomicU64, Ordering};
use crossbeam_utils::atomic::AtomicCell;
use std::sync::Arc;

/// Set in the state while another thread looks at the call.
const LENT: u64 = 1 << 63;

/// The state of an abandoned worker. Even, since nothing runs; far beyond what a worker counts to.
const STOLEN: u64 = 1 << 62;

pub(super) struct Current {
    state: AtomicU64,
    deadline_nanos: AtomicU64,
    call: AtomicCell<Option<Arc<Call>>>,
}

/// Which call of a worker's; a call that begins later has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running(u64);

/// How the worker's part in a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Finish {
    /// The worker answers it.
    Owned,
    /// Another thread has answered it, and the worker is abandoned.
    Stolen,
}

impl Current {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            deadline_nanos: AtomicU64::new(0),
            call: AtomicCell::new(None),
        }
    }

    /// The worker begins a call.
    #[inline]
    pub(super) fn begin(&self, call: &Arc<Call>, deadline_nanos: u64) -> Running {
        // Only this thread leaves idle.
        let running = self.state.load(Ordering::Relaxed) + 1;
        self.call.store(Some(Arc::clone(call)));
        self.deadline_nanos.store(deadline_nanos, Ordering::Release);
        self.state.store(running, Ordering::Release);
        Running(running)
    }

    /// The worker is done with its call.
    #[inline]
    pub(super) fn finish(&self, running: Running) -> Finish {
        if !self.leave(running, running.0 + 1) {
            return Finish::Stolen;
        }
        self.call.store(None);
        Finish::Owned
    }

    /// Takes the answer of this call away from the worker, which is abandoned then; `None` where the call has ended.
    pub(super) fn steal(&self, running: Running) -> Option<Arc<Call>> {
        if self.leave(running, STOLEN) { self.call.take() } else { None }
    }

    /// Takes the answer of whichever call runs away from the worker; `None` where none does.
    pub(super) fn steal_running(&self) -> Option<Arc<Call>> {
        loop {
            let running = self.running()?;
            if let Some(call) = self.steal(running) {
                return Some(call);
            }
        }
    }

    /// Leaves *running* for good; false where the call has ended or was stolen.
    #[inline]
    fn leave(&self, Running(running): Running, to: u64) -> bool {
        let exchange = || {
            self.state.compare_exchange(running, to, Ordering::AcqRel, Ordering::Acquire).map(drop)
        };
        match exchange() {
            Ok(()) => true,
            Err(found) if found == running | LENT => self.leave_when_returned(running, exchange),
            Err(_) => false,
        }
    }

    #[cold]
    fn leave_when_returned(&self, running: u64, exchange: impl Fn() -> Result<(), u64>) -> bool {
        let wait = Backoff::new();
        loop {
            match exchange() {
                Ok(()) => return true,
                Err(found) if found == running | LENT => wait.snooze(),
                Err(_) => return false,
            }
        }
    }

    /// The call of this number, which stays the worker's; `None` where it has ended or another thread looks at it.
    pub(super) fn peek(&self, Running(running): Running) -> Option<Arc<Call>> {
        self.state
            .compare_exchange(running, running | LENT, Ordering::AcqRel, Ordering::Acquire)
            .ok()?;
        let call = self.call.take();
        self.call.store(call.clone());
        self.state.store(running, Ordering::Release);
        call
    }

    /// The call that runs, if one does.
    pub(super) fn running(&self) -> Option<Running> {
        let running = self.progress();
        (running % 2 == 1).then_some(Running(running))
    }

    /// The deadline of the call that runs, as the worker's clock counts.
    pub(super) fn deadline_nanos(&self) -> u64 {
        self.deadline_nanos.load(Ordering::Acquire)
    }

    /// A number that changes when a call begins and when it ends.
    pub(super) fn progress(&self) -> u64 {
        self.state.load(Ordering::Acquire) & !LENT
    }
}
