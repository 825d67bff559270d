//! The call that a worker runs at the moment, and which thread owns its answer.
//!
//! # Protocol
//!
//! | state | left by | to |
//! |---|---|---|
//! | idle | the worker: [`Current::begin`] | running, with the next number |
//! | running | the worker: [`Current::finish`] | idle |
//! | | any thread: [`Current::steal`] | stolen |
//! | | any thread: [`Current::peek`] | lent |
//! | lent | the peeking thread, after a few steps that neither block nor run the embedder's code | running |
//! | stolen | never: the worker is abandoned | |
//!
//! `finish` or `steal` that finds the state lent waits until it is running again and retries, so a peek never decides which
//! thread answers. The thread whose exchange leaves *running* for good owns the answer: the worker by `finish`, another
//! thread by `steal`.
//!
//! | field | written by | when | ordering |
//! |---|---|---|---|
//! | `state` | see above | | acquire and release: it publishes the other two |
//! | `call` | the worker | while idle | published by `begin` |
//! | `call` | the thread that peeks or stole | while lent, after `steal` | by `state` |
//! | `deadline_nanos` | the worker | while idle | published by `begin` |

use crate::call::Call;
use crate::sync::Backoff;
use crate::sync::atomic::{AtomicU64, Ordering};
use crossbeam_utils::atomic::AtomicCell;
use std::sync::Arc;

/// The lower bits of `state`. The bits above hold the call's number, which distinguishes it from later calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum State {
    Idle = 0,
    Running = 1,
    Lent = 2,
    Stolen = 3,
}

impl State {
    const BITS: u32 = 2;

    const fn of_call(self, number: u64) -> u64 {
        number << Self::BITS | self as u64
    }

    const fn is(self, state: u64) -> bool {
        state & ((1 << Self::BITS) - 1) == self as u64
    }
}

pub(super) struct Current {
    state: AtomicU64,
    deadline_nanos: AtomicU64,
    call: AtomicCell<Option<Arc<Call>>>,
}

/// The worker's right to finish the call that it began.
#[must_use]
pub(super) struct Token(Running);

/// Identifies a running call of a worker by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running(u64);

impl Running {
    const fn in_state(self, state: State) -> u64 {
        state.of_call(self.0)
    }
}

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
            state: AtomicU64::new(State::Idle.of_call(0)),
            deadline_nanos: AtomicU64::new(0),
            call: AtomicCell::new(None),
        }
    }

    /// The worker begins a call.
    #[inline]
    pub(super) fn begin(&self, call: &Arc<Call>, deadline_nanos: u64) -> Token {
        // Only this thread leaves idle.
        let running = Running((self.state.load(Ordering::Relaxed) >> State::BITS) + 1);
        self.call.store(Some(Arc::clone(call)));
        self.deadline_nanos.store(deadline_nanos, Ordering::Release);
        self.state.store(running.in_state(State::Running), Ordering::Release);
        Token(running)
    }

    /// The worker finishes its call.
    #[inline]
    pub(super) fn finish(&self, Token(running): Token) -> Finish {
        if !self.leave(running, State::Idle) {
            return Finish::Stolen;
        }
        self.call.store(None);
        Finish::Owned
    }

    /// Takes the answer of this call away from the worker, which must then be abandoned; `None` if the call has ended.
    pub(super) fn steal(&self, running: Running) -> Option<Arc<Call>> {
        if self.leave(running, State::Stolen) { self.call.take() } else { None }
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

    /// Leaves *running* permanently; returns false if the call has ended or was stolen.
    #[inline]
    fn leave(&self, running: Running, to: State) -> bool {
        match self.exchange(running, State::Running, to) {
            Ok(()) => true,
            Err(found) if found == running.in_state(State::Lent) => {
                self.leave_when_returned(running, to)
            }
            Err(_) => false,
        }
    }

    #[cold]
    fn leave_when_returned(&self, running: Running, to: State) -> bool {
        let wait = Backoff::new();
        loop {
            match self.exchange(running, State::Running, to) {
                Ok(()) => return true,
                Err(found) if found == running.in_state(State::Lent) => wait.snooze(),
                Err(_) => return false,
            }
        }
    }

    #[inline]
    fn exchange(&self, running: Running, from: State, to: State) -> Result<(), u64> {
        let (from, to) = (running.in_state(from), running.in_state(to));
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }

    /// Returns this call, whose answer the worker still owns; `None` if it has ended or another thread peeks at it.
    pub(super) fn peek(&self, running: Running) -> Option<Arc<Call>> {
        self.exchange(running, State::Running, State::Lent).ok()?;
        let call = self.call.take();
        self.call.store(call.clone());
        self.state.store(running.in_state(State::Running), Ordering::Release);
        call
    }

    /// The running call, if there is one.
    pub(super) fn running(&self) -> Option<Running> {
        let state = self.progress();
        State::Running.is(state).then_some(Running(state >> State::BITS))
    }

    /// The deadline of the running call, in nanoseconds of the epoch ticker's clock.
    pub(super) fn deadline_nanos(&self) -> u64 {
        self.deadline_nanos.load(Ordering::Acquire)
    }

    /// A number that changes when a call begins and when it ends. A lent call counts as running.
    pub(super) fn progress(&self) -> u64 {
        let state = self.state.load(Ordering::Acquire);
        if State::Lent.is(state) { State::Running.of_call(state >> State::BITS) } else { state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CallId, Generation};
    use std::time::{Duration, Instant};

    fn call(id: u64) -> Arc<Call> {
        let limit = Duration::from_secs(60);
        Arc::new(Call::new(CallId(id), "f".into(), Generation(1), Instant::now(), limit))
    }

    #[test]
    fn a_call_that_ended_is_neither_seen_nor_stolen() {
        let current = Current::new();
        assert_eq!(current.running(), None);
        let first = current.begin(&call(1), 0);
        let running = current.running().unwrap();
        assert_eq!(current.peek(running).unwrap().id, CallId(1));
        assert_eq!(current.finish(first), Finish::Owned);
        let _second = current.begin(&call(2), 0);
        assert!(current.peek(running).is_none() && current.steal(running).is_none());
        assert_eq!(current.steal_running().unwrap().id, CallId(2));
    }

    #[test]
    fn only_one_thread_owns_the_answer_of_a_call() {
        let current = Current::new();
        let token = current.begin(&call(1), 0);
        let running = current.running().unwrap();
        assert_eq!(current.steal(running).unwrap().id, CallId(1));
        assert!(current.steal(running).is_none() && current.steal_running().is_none());
        assert_eq!(current.finish(token), Finish::Stolen);
    }

    #[test]
    fn progress_changes_when_a_call_begins_and_ends_but_not_when_it_is_seen() {
        let current = Current::new();
        let idle = current.progress();
        let token = current.begin(&call(1), 0);
        let running = current.progress();
        assert!(current.peek(current.running().unwrap()).is_some());
        assert_eq!(current.progress(), running);
        assert_eq!(current.finish(token), Finish::Owned);
        assert!(idle != running && ![idle, running].contains(&current.progress()));
    }
}
