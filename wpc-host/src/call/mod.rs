//! The state of a call, shared by its caller, its worker and the supervisor.
//!
//! # Protocol
//!
//! A call's *phase* goes `queued → running → answered`, or `queued → answered`. Several threads may try to answer a call:
//!
//! * its worker;
//! * its caller, when it cancels the call, or when the time limit passes before the call runs;
//! * the supervisor, when the worker is unresponsive, or when a suspended call must end;
//! * the thread that stops the pool, when the stop timeout has passed;
//! * the thread that drops the call's job.
//!
//! Only the thread that moves the phase to `answered` with an atomic exchange writes the outcome, so every call is answered
//! exactly once. The outcome is read in place and never changes, so that all sides may hold the call for any time. This
//! module knows neither functions nor workers.

#[cfg(feature = "json")]
pub(crate) mod fuel_meter;
pub(crate) mod future;
pub(crate) mod items;
pub(crate) mod nested;
pub(crate) mod pending;
pub(crate) mod reply;
pub(crate) mod stream;

use crate::call::items::{Added, Items};
use crate::call::reply::OwnedReply;
use crate::error::Error;
use crate::id::{CallContext, CallId, Generation};
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use crate::sync::{AtomicWaker, Backoff, thread, time};
use crate::system::offload::foreign;
use crate::system::thread_waker::with_thread_waker;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// No early end was requested.
const GO_ON: u8 = 0;
const CANCEL: u8 = 1;
const STOP: u8 = 2;

/// Marks a call that is not metered: more fuel than any call has.
const NO_FUEL: u64 = u64::MAX;

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const ANSWERED: u8 = 2;

/// What a call ends with: the reply, or an error, which may be the guest's.
pub(crate) type Outcome = Result<OwnedReply, Error>;

/// Why a running call must end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Cancelled,
    Stopped,
    Deadline,
}

/// When a call must have ended.
#[derive(Debug)]
enum Deadline {
    /// Its time limit started when it was accepted.
    Fixed(Instant),
    /// Its time limit starts when the deadline is first read.
    FromFirstRead(OnceLock<Instant>),
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) function: Arc<str>,
    /// The generation of the definition with which it was accepted.
    pub(crate) generation: Generation,
    deadline: Deadline,
    pub(crate) time_limit: Duration,
    /// The limit that its definition or the pool sets, which the caller may have replaced. A call on its caller's thread has
    /// no use for it.
    pub(crate) own_limit: Duration,
    /// What the caller passed for logs and traces.
    pub(crate) context: Option<Arc<CallContext>>,
    /// The call on whose behalf it was made; `None` if it was made from outside.
    caller: Option<Arc<Call>>,
    /// How many callers it has.
    pub(crate) depth: usize,
    /// The buffer for the items that its function yields, if its caller reads them.
    pub(crate) items: Option<Arc<Items>>,
    phase: AtomicU8,
    /// Whether an early end was requested. A passed deadline is not recorded here.
    interrupt: AtomicU8,
    outcome: OnceLock<Outcome>,
    /// The fuel used so far; `NO_FUEL` if it is not metered.
    fuel_used: AtomicU64,
    waiter: AtomicWaker,
    /// Only calls that wait for their function or are suspended have it, so that others do not initialise it.
    waits: OnceLock<Box<Waits>>,
}

/// State of a call that waits for its function or is suspended.
#[derive(Debug)]
struct Waits {
    /// The failure because of which the function's sandbox is restarting, if the call waits for the restart.
    after: OnceLock<Arc<Error>>,
    /// Woken when an early end is requested while the call is suspended.
    suspended: AtomicWaker,
    /// How long its guest has waited for functions that it called, in nanoseconds.
    nested: AtomicU64,
}

impl Call {
    // Inlined, so that the call is created in its final memory instead of being copied there.
    #[inline(always)]
    pub(crate) fn new(
        id: CallId,
        function: Arc<str>,
        generation: Generation,
        accepted: Instant,
        time_limit: Duration,
    ) -> Self {
        Self::with(id, function, generation, time_limit, Deadline::Fixed(accepted + time_limit))
    }

    /// A call on the caller's thread, whose time limit starts when its deadline is first read. While its guest runs, the epoch callback
    /// reads the deadline at the next tick, so calls that end sooner never read the clock.
    pub(crate) fn with_lazy_deadline(
        id: CallId,
        function: Arc<str>,
        generation: Generation,
        time_limit: Duration,
    ) -> Self {
        let deadline = Deadline::FromFirstRead(OnceLock::new());
        Self::with(id, function, generation, time_limit, deadline)
    }

    #[inline(always)]
    fn with(
        id: CallId,
        function: Arc<str>,
        generation: Generation,
        time_limit: Duration,
        deadline: Deadline,
    ) -> Self {
        Self {
            id,
            function,
            generation,
            deadline,
            time_limit,
            own_limit: time_limit,
            context: None,
            caller: None,
            depth: 0,
            items: None,
            phase: AtomicU8::new(QUEUED),
            interrupt: AtomicU8::new(GO_ON),
            outcome: OnceLock::new(),
            fuel_used: AtomicU64::new(NO_FUEL),
            waiter: AtomicWaker::new(),
            waits: OnceLock::new(),
        }
    }

    /// A placeholder that is the worker's current call while the destructors of this call run, after it was answered. It counts
    /// as answered but has no outcome, so no thread answers or counts it. Its deadline has passed.
    pub(crate) fn destructors(&self) -> Self {
        let (function, deadline) = (Arc::clone(&self.function), Deadline::Fixed(time::now()));
        let call = Self::with(self.id, function, self.generation, self.time_limit, deadline);
        Self { own_limit: self.own_limit, phase: AtomicU8::new(ANSWERED), ..call }
    }

    /// Reuses the call for the next one; no other thread holds it any more. `waiter` and `own_limit` need no
    /// reset, because only calls on the caller's own thread are reused: they never wait in a queue, and the supervisor does
    /// not watch them.
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
        self.deadline = Deadline::FromFirstRead(OnceLock::new());
        if self.waits.get().is_some() {
            self.waits.take();
        }
        self.outcome.take();
        *self.phase.get_mut() = QUEUED;
        *self.interrupt.get_mut() = GO_ON;
        *self.fuel_used.get_mut() = NO_FUEL;
    }

    /// When the call must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.deadline {
            Deadline::Fixed(deadline) => *deadline,
            Deadline::FromFirstRead(deadline) => {
                *deadline.get_or_init(|| time::now() + self.time_limit)
            }
        }
    }

    /// How long the call was queued when it began, if its time limit started at its acceptance; otherwise zero.
    pub(crate) fn queued(&self, begun: Instant) -> Duration {
        let deadline = match &self.deadline {
            Deadline::Fixed(deadline) => Some(*deadline),
            Deadline::FromFirstRead(deadline) => deadline.get().copied(),
        };
        let accepted = deadline.and_then(|deadline| deadline.checked_sub(self.time_limit));
        accepted.map_or(Duration::ZERO, |accepted| begun.saturating_duration_since(accepted))
    }

    /// Moves the call to `running`; false if it is already answered.
    #[must_use]
    pub(crate) fn begin(&self) -> bool {
        self.phase.compare_exchange(QUEUED, RUNNING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.phase.load(Ordering::Acquire) == ANSWERED
    }

    /// Answers the call unless it is already answered. The argument of `outcome` is whether it had begun.
    pub(crate) fn answer_with(&self, outcome: impl FnOnce(bool) -> Outcome) {
        if self.is_answered() {
            return;
        }
        match self.phase.swap(ANSWERED, Ordering::AcqRel) {
            ANSWERED => {}
            phase => self.write(outcome(phase == RUNNING)),
        }
    }

    /// Takes the right to answer the call; `None` if another thread has answered it.
    #[inline]
    pub(crate) fn claim(&self) -> Option<Claim<'_>> {
        (self.phase.swap(ANSWERED, Ordering::AcqRel) != ANSWERED).then_some(Claim(self))
    }

    /// Answers the call if it is queued; false if it has begun or is answered.
    pub(crate) fn answer_unstarted(&self, error: impl FnOnce() -> Error) -> bool {
        let exchanged =
            self.phase.compare_exchange(QUEUED, ANSWERED, Ordering::AcqRel, Ordering::Acquire);
        if exchanged.is_ok() {
            self.write(Err(error()));
        }
        exchanged.is_ok()
    }

    fn write(&self, outcome: Outcome) {
        // The phase admits one writer, so this succeeds.
        let _ = self.outcome.set(outcome);
        self.wake_caller();
    }

    fn wake_caller(&self) {
        if let Some(waker) = self.waiter.take() {
            foreign(move || waker.wake());
        }
    }

    /// Adds an item that its function yields. If too many wait, registers the guest's waker. `None` if its caller reads no
    /// items.
    pub(crate) fn poll_add_item(&self, item: &[u8], guest: &Waker) -> Option<Poll<()>> {
        let added = self.items.as_ref()?.poll_add(item, guest);
        Some(added.map(|added| match added {
            Added::ToWaitingCaller => self.wake_caller(),
            Added::ToBuffer => {}
        }))
    }

    /// Records why the call waits, unless that is already recorded.
    pub(crate) fn note_wait(&self, cause: Arc<Error>) {
        let _ = self.waits().after.set(cause);
    }

    fn waits(&self) -> &Waits {
        self.waits.get_or_init(|| {
            Box::new(Waits {
                after: OnceLock::new(),
                suspended: AtomicWaker::new(),
                nested: AtomicU64::new(0),
            })
        })
    }

    /// The failure whose recovery the call waits for.
    fn waits_after(&self) -> Option<Arc<Error>> {
        self.waits.get()?.after.get().cloned()
    }

    /// Adds time in which the guest waited for a function that it called.
    pub(crate) fn note_nested(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.waits().nested.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How long the guest has waited for functions that it called.
    pub(crate) fn nested(&self) -> Duration {
        let nanos = self.waits.get().map(|waits| waits.nested.load(Ordering::Relaxed));
        Duration::from_nanos(nanos.unwrap_or_default())
    }

    /// Records how much fuel was used. Must be called before the answer.
    pub(crate) fn note_fuel(&self, used: u64) {
        self.fuel_used.store(used, Ordering::Relaxed);
    }

    /// Clears the fuel recorded for creating the sandbox. It is part of the call's total, which is unknown while the guest
    /// runs.
    pub(crate) fn forget_fuel(&self) {
        self.fuel_used.store(NO_FUEL, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn fuel_used(&self) -> Option<u64> {
        Some(self.fuel_used.load(Ordering::Relaxed)).filter(|used| *used != NO_FUEL)
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Ends a queued call at once, and requests the end of a running one.
    pub(crate) fn cancel(&self) {
        self.interrupt.store(CANCEL, Ordering::Release);
        if self.answer_unstarted(|| self.error_of(Interrupt::Cancelled, false)) {
            return;
        }
        // Either this thread sees the waker, or the worker sees the request after it has registered the waker.
        fence(Ordering::SeqCst);
        if let Some(waits) = self.waits.get() {
            waits.suspended.wake();
        }
    }

    /// Registers `waker` for a request to end early. If one was made before, `waker` is woken at once.
    pub(crate) fn wake_if_interrupted(&self, waker: &Waker) {
        self.waits().suspended.register(waker);
        // See `cancel`.
        fence(Ordering::SeqCst);
        if self.is_interrupt_requested() {
            waker.wake_by_ref();
        }
    }

    /// Whether an early end was requested. A passed deadline is not recorded here.
    pub(crate) fn is_interrupt_requested(&self) -> bool {
        self.interrupt.load(Ordering::Acquire) != GO_ON
    }

    /// Requests the end of the call because the workers stop, unless an earlier end was requested. A queued call ends at once.
    pub(crate) fn stop(&self) {
        let _ = self.interrupt.compare_exchange(GO_ON, STOP, Ordering::AcqRel, Ordering::Acquire);
        self.answer_unstarted(|| self.error_of(Interrupt::Stopped, false));
    }

    /// Ends a queued call if its time limit has passed.
    pub(crate) fn expire(&self, now: Instant) -> bool {
        now >= self.deadline()
            && self.answer_unstarted(|| self.error_of(Interrupt::Deadline, false))
    }

    /// Why the call must end now, if it must.
    pub(crate) fn interrupted(&self, now: Instant) -> Option<Interrupt> {
        match self.interrupt.load(Ordering::Acquire) {
            CANCEL => Some(Interrupt::Cancelled),
            STOP => Some(Interrupt::Stopped),
            _ if now >= self.deadline() => Some(Interrupt::Deadline),
            _ => self.caller.as_ref().and_then(|caller| caller.interrupts_nested()),
        }
    }

    /// Like [`Call::interrupted`], and also checks the worker's flag `stopping`.
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
                let cause = if ran { None } else { self.waits_after() };
                Error::Timeout { function, limit: self.time_limit, ran, cause }
            }
        }
    }

    /// Blocks this thread until the call is answered.
    ///
    /// If the time limit passes while the call is queued, this thread answers the call itself. Once the call runs, its worker
    /// answers, or the supervisor if the worker is unresponsive.
    pub(crate) fn wait(&self) -> &Outcome {
        self.wait_for(|| self.outcome())
    }

    /// Blocks this thread until `ready` returns a value, which it does at the latest when the call is answered.
    fn wait_for<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        // Most answers come within microseconds, so spinning for a moment is cheaper than parking.
        let backoff = Backoff::new();
        while !backoff.is_completed() {
            if let Some(value) = ready() {
                return value;
            }
            backoff.snooze();
        }
        let mut timeout = self.time_limit;
        loop {
            if let Some(value) = ready() {
                return value;
            }
            with_thread_waker(|waker| self.waiter.register(waker));
            if let Some(value) = ready() {
                return value;
            }
            thread::park_timeout(timeout);
            if self.outcome.get().is_none() {
                let now = time::now();
                self.expire(now);
                timeout = match self.deadline().saturating_duration_since(now) {
                    // It runs past its time limit, so its worker or the supervisor will answer.
                    Duration::ZERO => Duration::from_secs(1),
                    left => left,
                };
            }
        }
    }

    pub(crate) fn poll(&self, waker: &Waker) -> Poll<&Outcome> {
        self.poll_for(waker, || self.outcome())
    }

    /// The value that `ready` returns. `waker` is woken when it may return one.
    fn poll_for<T>(&self, waker: &Waker, mut ready: impl FnMut() -> Option<T>) -> Poll<T> {
        if let Some(value) = ready() {
            return Poll::Ready(value);
        }
        self.waiter.register(waker);
        ready().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The right to answer a call that has run.
#[must_use]
pub(crate) struct Claim<'a>(&'a Call);

impl Claim<'_> {
    #[inline]
    pub(crate) fn answer(self, outcome: Outcome) {
        let Self(call) = self;
        std::mem::forget(self);
        call.write(outcome);
    }
}

impl Drop for Claim<'_> {
    /// The claiming thread panicked.
    fn drop(&mut self) {
        self.0.write(Err(self.0.error_of(Interrupt::Stopped, true)));
    }
}

#[cfg(test)]
mod tests;
