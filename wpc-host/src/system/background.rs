//! Threads for blocking tasks: definitions, starts and stops on behalf of async callers, and blocking host functions.
//!
//! # Protocol
//!
//! All state is under one lock, which is never held while a task runs. A push starts a thread if there are fewer than the
//! maximum. A thread that finds no task under the lock exits. So while a task is queued, there is a thread that will run it.
//! Threads that replace abandoned ones wait for a short time before they exit, because starting a thread takes longer than
//! waking one. Instead of starting a thread, a push wakes a waiting one if at least as many threads wait as tasks are queued.
//! A thread whose task was withdrawn while it ran is abandoned until the task returns. Up to a bound, abandoned threads do
//! not count towards the maximum.
//! The queue is bounded by the callers, because each queued task belongs to an [`Outcome`] that a caller holds.

use crate::error::Error;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{AtomicWaker, Condvar, Mutex, MutexGuard, thread};
use crate::system::contain::contain;
use crate::system::os_limits;
use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

type Task = Box<dyn FnOnce() + Send>;

/// The end of a task: its result, or the payload of its panic.
type Ended<T> = Result<Result<T, Error>, Box<dyn Any + Send>>;

/// What happens to a task when its outcome is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It continues.
    Continues,
    /// It does not run if it has not begun, and its [`Interest`] ends.
    IsWithdrawn,
    /// It continues, but its thread is abandoned.
    #[cfg_attr(
        not(any(feature = "wasi", test)),
        expect(dead_code, reason = "only WASI reads ahead")
    )]
    IsAbandoned,
}

/// A pool of threads for blocking tasks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Background(Arc<Shared>);

/// How long a thread that replaces abandoned ones waits for a task. Guests that write line by line need one again and again.
const LINGERING: Duration = Duration::from_millis(10);

struct Shared {
    /// The name of the threads.
    name: &'static str,
    /// The maximum number of threads that are not abandoned.
    most: usize,
    /// The maximum number of abandoned threads that are replaced.
    most_abandoned: usize,
    /// How long a thread without a task waits for one.
    lingering: Duration,
    state: Mutex<State>,
    pushed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Queued>,
    last: u64,
    threads: usize,
    /// How many of the threads wait for a task.
    waiting: usize,
    /// The running tasks.
    running: Vec<Running>,
}

struct Queued {
    id: u64,
    task: Task,
    /// Whether its thread is abandoned as soon as it begins.
    is_abandoned: bool,
}

struct Running {
    task: u64,
    /// Whether its outcome was withdrawn, so its thread is abandoned until it returns.
    is_abandoned: bool,
}

impl State {
    fn abandoned(&self) -> usize {
        self.running.iter().filter(|running| running.is_abandoned).count()
    }

    /// Whether another thread may be started.
    fn may_grow(&self, shared: &Shared) -> bool {
        self.threads < shared.most + self.abandoned().min(shared.most_abandoned)
    }
}

impl std::fmt::Debug for Background {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Background").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Background {
    pub(crate) fn new(name: &'static str, most: usize) -> Self {
        Self::with(name, most, 0, Duration::ZERO)
    }

    /// Threads whose running task is withdrawn are abandoned, and up to `most_abandoned` of them are replaced.
    pub(crate) fn replacing(name: &'static str, most: usize, most_abandoned: usize) -> Self {
        Self::with(name, most, most_abandoned, LINGERING)
    }

    fn with(name: &'static str, most: usize, most_abandoned: usize, lingering: Duration) -> Self {
        let (state, pushed) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { name, most, most_abandoned, lingering, state, pushed }))
    }

    /// How many threads run a task that was withdrawn.
    pub(crate) fn abandoned(&self) -> usize {
        self.0.lock().abandoned()
    }

    /// Runs `task` on one of the threads. If no thread exists and none can be started, drops `task` and fails.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        dropped: Dropped,
        task: impl FnOnce(&Interest) -> Result<T, Error> + Send + 'static,
    ) -> Result<Outcome<T>, Error> {
        let answer = Arc::new(Answer::default());
        let shared = Arc::clone(&answer);
        let task = Box::new(move || {
            shared.complete(catch_unwind(AssertUnwindSafe(|| task(&shared.interest))));
        });
        let task = self.push(task)?;
        Ok(Outcome { answer, background: self.clone(), task, dropped })
    }

    fn push(&self, task: Task) -> Result<u64, Error> {
        let mut state = self.0.lock();
        state.last += 1;
        let id = state.last;
        state.tasks.push_back(Queued { id, task, is_abandoned: false });
        if state.waiting >= state.tasks.len() {
            self.0.pushed.notify_one();
        } else if state.may_grow(&self.0)
            && let Err(error) = self.grow(&mut state)
        {
            let task = state.tasks.pop_back();
            drop(state);
            drop(task);
            return Err(error);
        }
        Ok(id)
    }

    /// Starts a thread. If another one exists that is not abandoned, it will run the tasks later instead.
    fn grow(&self, state: &mut State) -> Result<(), Error> {
        state.threads += 1;
        self.start().or_else(|error| {
            state.threads -= 1;
            if state.threads > state.abandoned() { Ok(()) } else { Err(error) }
        })
    }

    fn start(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.0);
        let name = shared.name;
        let builder = thread::Builder::new().name(name.to_owned());
        os_limits::start_thread(format_args!("the thread `{name}`"), os_limits::USUAL_STACK, || {
            #[expect(clippy::disallowed_methods, reason = "bounded, and ends when no task is left")]
            builder.spawn(move || shared.work()).map(drop)
        })
    }

    /// Removes a task from the queue, which the caller drops outside of the lock. If the task runs, its thread is abandoned.
    fn withdraw(&self, task: u64) -> Option<Task> {
        let mut state = self.0.lock();
        if let Some(at) = state.tasks.iter().position(|queued| queued.id == task) {
            return state.tasks.remove(at).map(|queued| queued.task);
        }
        self.abandon_running(state, task);
        None
    }

    /// Abandons the thread of a task, even if it has not begun.
    fn abandon(&self, task: u64) {
        let mut state = self.0.lock();
        match state.tasks.iter_mut().find(|queued| queued.id == task) {
            Some(queued) => queued.is_abandoned = true,
            None => self.abandon_running(state, task),
        }
    }

    fn abandon_running(&self, mut state: MutexGuard<'_, State>, task: u64) {
        let Some(running) = state.running.iter_mut().find(|running| running.task == task) else {
            return;
        };
        running.is_abandoned = true;
        if !state.tasks.is_empty() && state.may_grow(&self.0) {
            // If that fails, the tasks run when a thread returns.
            let _ = self.grow(&mut state);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            state = self.run_queued(state);
            if self.lingering.is_zero() || !state.tasks.is_empty() {
                break;
            }
            state.waiting += 1;
            let is_idle = |state: &mut State| state.tasks.is_empty();
            drop(self.pushed.wait_timeout_while(state, self.lingering, is_idle));
            // A task may have been pushed after the time-out.
            state = self.lock();
            state.waiting -= 1;
            if state.tasks.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }

    /// Runs tasks until none is queued. While more threads run than the maximum, because abandoned ones have returned, surplus
    /// threads exit one by one.
    fn run_queued<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        while state.threads <= self.most + state.abandoned().min(self.most_abandoned)
            && let Some(Queued { id, task, is_abandoned }) = state.tasks.pop_front()
        {
            state.running.push(Running { task: id, is_abandoned });
            if is_abandoned && !state.tasks.is_empty() && state.may_grow(self) {
                let _ = Background(Arc::clone(self)).grow(&mut state);
            }
            drop(state);
            drop(contain(task));
            state = self.lock();
            state.running.retain(|running| running.task != id);
        }
        state
    }
}

/// Whether a caller still waits for a task's outcome.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    has_ended: AtomicBool,
}

impl Interest {
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }
}

/// A task's result, shared with its caller. A panic is resumed on the caller's thread.
struct Answer<T> {
    interest: Interest,
    result: Mutex<Option<Ended<T>>>,
    is_complete: AtomicBool,
    waker: AtomicWaker,
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self {
            interest: Interest::default(),
            result: Mutex::new(None),
            is_complete: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }
}

impl<T> Answer<T> {
    fn complete(&self, result: Ended<T>) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.is_complete.store(true, Ordering::Release);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A task's result, as a future.
pub(crate) struct Outcome<T> {
    answer: Arc<Answer<T>>,
    background: Background,
    task: u64,
    dropped: Dropped,
}

impl<T> Future for Outcome<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.waker.register(context.waker());
        match self.answer.result.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Poll::Pending,
            Some(Ok(result)) => Poll::Ready(result),
            Some(Err(panic)) => resume_unwind(panic),
        }
    }
}

impl<T> Drop for Outcome<T> {
    fn drop(&mut self) {
        if self.dropped == Dropped::Continues || self.answer.is_complete.load(Ordering::Acquire) {
            return;
        }
        self.answer.interest.has_ended.store(true, Ordering::Release);
        if self.dropped == Dropped::IsWithdrawn {
            drop(self.background.withdraw(self.task));
        } else {
            self.background.abandon(self.task);
        }
    }
}

#[cfg(test)]
mod tests;
