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
//! | lent | the same odd number with [`LENT`] | the peeking thread, after a few steps that neither block nor run the embedder's code | running |
//! | stolen | [`STOLEN`] | never: the worker is abandoned | |
//!
//! An exchange of `finish` or `steal` that finds the state lent waits until it is running again and retries, so a peek
//! never decides who answers. The thread whose exchange leaves *running* for good owns the answer: the worker by `finish`,
//! another thread by `steal`.
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

/// Set in the state while another thread peeks at the call.
const LENT: u64 = 1 << 63;

/// The state of an abandoned worker. It is even, since nothing runs, and larger than any count a worker reaches.
const STOLEN: u64 = 1 << 62;

pub(super) struct Current {
    state: AtomicU64,
    deadline_nanos: AtomicU64,
    call: AtomicCell<Option<Arc<Call>>>,
}

/// Identifies a running call of a worker; a call that begins later has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running(u64);

/// The outcome of [`Current::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Finish {
    /// The worker answers it.
    Owned,
    /// Another thread answers it, and the worker is abandoned.
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

    /// The worker finishes its call.
    #[inline]
    pub(super) fn finish(&self, running: Running) -> Finish {
        if !self.leave(running, running.0 + 1) {
            return Finish::Stolen;
        }
        self.call.store(None);
        Finish::Owned
    }

    /// Takes the answer of this call away from the worker, which must then be abandoned; `None` if the call has ended.
    pub(super) fn steal(&self, running: Running) -> Option<Arc<Call>> {
        if self.leave(running, STOLEN) { self.call.take() } else { None }
    }

    /// Takes the answer of the running call away from the worker; `None` if no call runs.
    pub(super) fn steal_running(&self) -> Option<Arc<Call>> {
        loop {
            let running = self.running()?;
            if let Some(call) = self.steal(running) {
                return Some(call);
            }
        }
    }

    /// Leaves *running* for good; returns false if the call has ended or was stolen.
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

    /// Returns the call of this number, whose answer the worker still owns; `None` if it has ended or another thread peeks
    /// at it.
    pub(super) fn peek(&self, Running(running): Running) -> Option<Arc<Call>> {
        self.state
            .compare_exchange(running, running | LENT, Ordering::AcqRel, Ordering::Acquire)
            .ok()?;
        let call = self.call.take();
        self.call.store(call.clone());
        self.state.store(running, Ordering::Release);
        call
    }

    /// The running call, if there is one.
    pub(super) fn running(&self) -> Option<Running> {
        let running = self.progress();
        (running % 2 == 1).then_some(Running(running))
    }

    /// The deadline of the running call, in nanoseconds of the epoch ticker's clock.
    pub(super) fn deadline_nanos(&self) -> u64 {
        self.deadline_nanos.load(Ordering::Acquire)
    }

    /// A number that changes when a call begins and when it ends.
    pub(super) fn progress(&self) -> u64 {
        self.state.load(Ordering::Acquire) & !LENT
    }
}
