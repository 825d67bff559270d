//! A call's life as its two sides share it: it is accepted, it may begin to run, it is answered.
//!
//! # Protocol
//!
//! A call's *phase* goes `queued → running → answered`, or `queued → answered`. Whoever moves it to
//! `answered` by a successful exchange, and nobody else, writes the outcome; so every call is
//! answered exactly once, whoever tries to: its worker, its caller (a cancel, or a limit that
//! passed before it ran), the supervisor (a lost worker), or [`Call`]'s owner being dropped.
//! The outcome is written once and read in place, so both sides may hold the call as long as they
//! like. Nothing here knows what a function is or who runs it.

pub(crate) mod future;
pub(crate) mod pending;
pub(crate) mod reply;

use crate::call::reply::{Body, ReplyMetadata};
use crate::error::Error;
use crate::id::{CallId, Generation};
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::sync::thread::Thread;
use crate::sync::{AtomicWaker, Backoff, thread, thread_local, time};
use crate::system::offload::foreign;
use std::cell::OnceCell;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Nobody asked for an early end.
const GO_ON: u8 = 0;
const CANCEL: u8 = 1;
const STOP: u8 = 2;

/// More than any call has.
const NO_FUEL: u64 = u64::MAX;

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const ANSWERED: u8 = 2;

/// What a call ends with: the reply, or why there is none.
pub(crate) type Outcome = Result<Reply, Error>;

/// An answer, and which code gave it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) body: Body,
    pub(crate) metadata: ReplyMetadata,
}

/// Why a running call is to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Cancelled,
    Stopped,
    Deadline,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) function: Arc<str>,
    /// Of the definition it was accepted with.
    pub(crate) generation: Generation,
    deadline: OnceLock<Instant>,
    pub(crate) time_limit: Duration,
    phase: AtomicU8,
    /// Whether somebody asked for an early end; the deadline is not written here.
    interrupt: AtomicU8,
    outcome: OnceLock<Outcome>,
    /// What it has used so far; `NO_FUEL` where it is not metered.
    fuel_used: AtomicU64,
    /// The failure because of which it waits for its function's sandbox to restart.
    waits_after: OnceLock<Box<str>>,
    waiter: AtomicWaker,
}

impl Call {
    pub(crate) fn new(
        id: CallId,
        function: Arc<str>,
        generation: Generation,
        accepted: Instant,
        time_limit: Duration,
    ) -> Self {
        let call = Self::unhurried(id, function, generation, time_limit);
        // It is empty: this is the first value.
        let _ = call.deadline.set(accepted + time_limit);
        call
    }

    /// A call whose limit counts from when somebody first asks for its deadline. While it runs that is
    /// the supervisor's next tick: so a call that is shorter never looks at the clock.
    pub(crate) fn unhurried(
        id: CallId,
        function: Arc<str>,
        generation: Generation,
        time_limit: Duration,
    ) -> Self {
        Self {
            id,
            function,
            generation,
            deadline: OnceLock::new(),
            time_limit,
            phase: AtomicU8::new(QUEUED),
            interrupt: AtomicU8::new(GO_ON),
            outcome: OnceLock::new(),
            fuel_used: AtomicU64::new(NO_FUEL),
            waits_after: OnceLock::new(),
            waiter: AtomicWaker::new(),
        }
    }

    /// Makes the call, which no other thread holds any more, the next one. It has never waited: only calls of the caller's own
    /// thread are renewed.
    #[inline]
    pub(crate) fn renew(
        &mut self,
        id: CallId,
        function: &Arc<str>,
        generation: Generation,
        time_limit: Duration,
    ) {
        (self.id, self.generation, self.time_limit) = (id, generation, time_limit);
        if !Arc::ptr_eq(&self.function, function) {
            self.function = Arc::clone(function);
        }
        self.deadline.take();
        self.outcome.take();
        *self.phase.get_mut() = QUEUED;
        *self.interrupt.get_mut() = GO_ON;
        *self.fuel_used.get_mut() = NO_FUEL;
    }

    /// The moment by which it is to end.
    pub(crate) fn deadline(&self) -> Instant {
        *self.deadline.get_or_init(|| time::now() + self.time_limit)
    }

    /// When its time limit began to count.
    pub(crate) fn accepted(&self) -> Instant {
        let deadline = self.deadline();
        deadline.checked_sub(self.time_limit).unwrap_or(deadline)
    }

    /// How long the call had been accepted when it was begun, where its limit counts from its acceptance.
    pub(crate) fn queued(&self, begun: Instant) -> Duration {
        let accepted =
            self.deadline.get().and_then(|deadline| deadline.checked_sub(self.time_limit));
        accepted.map_or(Duration::ZERO, |accepted| begun.saturating_duration_since(accepted))
    }

    /// Takes the call to run it; false where it is answered already.
    #[must_use]
    pub(crate) fn begin(&self) -> bool {
        self.phase.compare_exchange(QUEUED, RUNNING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.phase.load(Ordering::Acquire) == ANSWERED
    }

    /// Answers the call unless it is answered. `ran` tells the outcome whether it had begun.
    pub(crate) fn answer_with(&self, outcome: impl FnOnce(bool) -> Outcome) {
        if self.is_answered() {
            return;
        }
        match self.phase.swap(ANSWERED, Ordering::AcqRel) {
            ANSWERED => {}
            phase => self.write(outcome(phase == RUNNING)),
        }
    }

    /// Answers the call if it has not begun; false where it has, or is answered.
    pub(crate) fn answer_unstarted(&self, error: impl FnOnce() -> Error) -> bool {
        let exchanged =
            self.phase.compare_exchange(QUEUED, ANSWERED, Ordering::AcqRel, Ordering::Acquire);
        if exchanged.is_ok() {
            self.write(Err(error()));
        }
        exchanged.is_ok()
    }

    fn write(&self, outcome: Outcome) {
        // The phase lets one writer through.
        let _ = self.outcome.set(outcome);
        if let Some(waker) = self.waiter.take() {
            foreign(move || waker.wake());
        }
    }

    /// Takes note of the first failure because of which the call waits.
    pub(crate) fn note_wait(&self, cause: &Error) {
        let _ = self.waits_after.set(cause.to_string().into());
    }

    /// Takes note of how much fuel was used, before the answer.
    pub(crate) fn note_fuel(&self, used: u64) {
        self.fuel_used.store(used, Ordering::Relaxed);
    }

    pub(crate) fn fuel_used(&self) -> Option<u64> {
        Some(self.fuel_used.load(Ordering::Relaxed)).filter(|used| *used != NO_FUEL)
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Asks for an early end: at once where it has not begun, soon where it runs.
    pub(crate) fn cancel(&self) {
        self.interrupt.store(CANCEL, Ordering::Release);
        self.answer_unstarted(|| self.error_of(Interrupt::Cancelled, false));
    }

    /// Like [`Call::cancel`], because the workers stop.
    pub(crate) fn stop(&self) {
        let _ = self.interrupt.compare_exchange(GO_ON, STOP, Ordering::AcqRel, Ordering::Acquire);
        self.answer_unstarted(|| self.error_of(Interrupt::Stopped, false));
    }

    /// Ends the call if its limit passed before it began.
    pub(crate) fn expire(&self, now: Instant) -> bool {
        now >= self.deadline()
            && self.answer_unstarted(|| self.error_of(Interrupt::Deadline, false))
    }

    /// Why the call should not go on, if it should not.
    pub(crate) fn interrupted(&self, now: Instant) -> Option<Interrupt> {
        match self.interrupt.load(Ordering::Acquire) {
            CANCEL => Some(Interrupt::Cancelled),
            STOP => Some(Interrupt::Stopped),
            _ => (now >= self.deadline()).then_some(Interrupt::Deadline),
        }
    }

    /// The same on a worker that may have to end, which `stopping` says.
    pub(crate) fn should_end(&self, stopping: &AtomicBool, now: Instant) -> Option<Interrupt> {
        if stopping.load(Ordering::Acquire) {
            return Some(Interrupt::Stopped);
        }
        self.interrupted(now)
    }

    pub(crate) fn error_of(&self, interrupt: Interrupt, ran: bool) -> Error {
        let function = self.function.to_string();
        match interrupt {
            Interrupt::Cancelled => Error::Cancelled { function, ran },
            Interrupt::Stopped => Error::Stopped { function, ran },
            Interrupt::Deadline => {
                let cause =
                    if ran { None } else { self.waits_after.get().map(|cause| cause.to_string()) };
                Error::Timeout { function, limit: self.time_limit, ran, cause }
            }
        }
    }

    /// Blocks this thread until the call is answered.
    ///
    /// A limit that passes while the call waits in a queue is noticed here; once it runs, its
    /// worker or, should that fall silent, the supervisor answers.
    pub(crate) fn wait(&self) -> &Outcome {
        // Most answers come within microseconds: looking a few times is cheaper than sleeping.
        let look = Backoff::new();
        while !look.is_completed() {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            look.snooze();
        }
        let mut spin = self.time_limit;
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            with_thread_waker(|waker| self.waiter.register(waker));
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            thread::park_timeout(spin);
            if self.outcome.get().is_none() {
                let now = time::now();
                self.expire(now);
                spin = match self.deadline().saturating_duration_since(now) {
                    // It runs past its limit: somebody else is at it.
                    Duration::ZERO => Duration::from_secs(1),
                    left => left,
                };
            }
        }
    }

    pub(crate) fn poll(&self, waker: &Waker) -> Poll<&Outcome> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        self.waiter.register(waker);
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn with_thread_waker<T>(with: impl FnOnce(&Waker) -> T) -> T {
    thread_local! {
        static WAKER: OnceCell<Waker> = const { OnceCell::new() };
    }
    WAKER.with(|waker| with(waker.get_or_init(|| Waker::from(Arc::new(Unpark(thread::current()))))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call::new(CallId(1), "f".into(), Generation(1), Instant::now(), Duration::from_secs(60))
    }

    fn lost(ran: bool) -> Outcome {
        Err(Error::Stopped { function: "f".into(), ran })
    }

    #[test]
    fn the_first_answer_stands() {
        let call = call();
        assert!(call.begin());
        call.answer_with(lost);
        call.answer_with(|_| panic!("it is answered"));
        call.cancel();
        assert!(matches!(call.wait(), Err(Error::Stopped { ran: true, .. })));
    }

    #[test]
    fn a_cancelled_call_does_not_begin() {
        let call = call();
        call.cancel();
        assert!(!call.begin());
        assert!(matches!(call.wait(), Err(Error::Cancelled { ran: false, .. })));
    }

    #[test]
    fn a_running_call_is_told_of_its_cancel_and_answered_by_who_runs_it() {
        let call = call();
        assert!(call.begin());
        call.cancel();
        assert!(call.outcome().is_none());
        assert_eq!(call.interrupted(Instant::now()), Some(Interrupt::Cancelled));
    }

    #[test]
    fn a_limit_that_passes_in_the_queue_ends_the_call() {
        let call = Call::new(
            CallId(1),
            "f".into(),
            Generation(1),
            Instant::now(),
            Duration::from_nanos(1),
        );
        assert!(matches!(call.wait(), Err(Error::Timeout { ran: false, .. })));
    }

    #[test]
    fn racing_answers_leave_one() {
        for _ in 0..200 {
            let call = Arc::new(call());
            #[expect(clippy::disallowed_methods, reason = "a test of racing threads")]
            let racers = [0, 1, 2].map(|racer| {
                let call = Arc::clone(&call);
                std::thread::spawn(move || match racer {
                    0 => {
                        if call.begin() {
                            call.answer_with(lost);
                        }
                    }
                    1 => call.cancel(),
                    _ => call.answer_with(lost),
                })
            });
            let first = call.wait().as_ref().unwrap_err().code();
            for racer in racers {
                racer.join().unwrap();
            }
            assert_eq!(call.wait().as_ref().unwrap_err().code(), first);
        }
    }
}
