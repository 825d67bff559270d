//! Threads that run what blocks, for callers that must not block: the definitions, starts and stops of async tasks.
//!
//! # Protocol
//!
//! All state is under one lock, which is never held while a task runs. A push starts a thread while there are fewer than
//! the most; a thread that finds no task under the lock ends. So while a task is queued there is a thread that comes to it.
//! Each queued task belongs to an [`Outcome`] that a caller holds, which bounds the queue.

use crate::error::Error;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{AtomicWaker, Mutex, MutexGuard, thread};
use crate::system::contain::contain;
use crate::system::os_limits;
use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

type Task = Box<dyn FnOnce() + Send>;

/// What a task ended with: its result, or what its panic carries.
type Ended<T> = Result<Result<T, Error>, Box<dyn Any + Send>>;

/// What becomes of a task whose outcome is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It goes on.
    GoesOn,
    /// It is not begun any more, and its [`Interest`] ends.
    IsWithdrawn,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Background(Arc<Shared>);

struct Shared {
    /// The name of its threads.
    name: &'static str,
    /// How many threads there may be.
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Each with its number.
    tasks: VecDeque<(u64, Task)>,
    last: u64,
    threads: usize,
}

impl std::fmt::Debug for Background {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Background").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Background {
    pub(crate) fn new(name: &'static str, most: usize) -> Self {
        Self(Arc::new(Shared { name, most, state: Mutex::default() }))
    }

    /// Runs `task` on one of the threads. Fails if there is none and none can be started; `task` is dropped then.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        dropped: Dropped,
        task: impl FnOnce(&Interest) -> Result<T, Error> + Send + 'static,
    ) -> Result<Outcome<T>, Error> {
        let answer = Arc::new(Answer::default());
        let given = Arc::clone(&answer);
        let task = Box::new(move || {
            given.give(catch_unwind(AssertUnwindSafe(|| task(&given.interest))));
        });
        let task = self.push(task)?;
        Ok(Outcome { answer, background: self.clone(), task, dropped })
    }

    fn push(&self, task: Task) -> Result<u64, Error> {
        let mut state = self.0.lock();
        state.last += 1;
        let id = state.last;
        state.tasks.push_back((id, task));
        if state.threads < self.0.most {
            state.threads += 1;
            if let Err(error) = self.start() {
                state.threads -= 1;
                // With another thread, the task is only later.
                if state.threads == 0 {
                    let task = state.tasks.pop_back();
                    drop(state);
                    drop(task);
                    return Err(error);
                }
            }
        }
        Ok(id)
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

    /// Takes a task out of the queue, to be dropped by the caller.
    fn withdraw(&self, task: u64) -> Option<Task> {
        let mut state = self.0.lock();
        let at = state.tasks.iter().position(|(id, _)| *id == task)?;
        state.tasks.remove(at).map(|(_, task)| task)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        while let Some((_, task)) = state.tasks.pop_front() {
            drop(state);
            drop(contain(task));
            state = self.lock();
        }
        state.threads -= 1;
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

/// Where a task leaves its result: a panic is passed on to the caller.
struct Answer<T> {
    interest: Interest,
    result: Mutex<Option<Ended<T>>>,
    waker: AtomicWaker,
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self { interest: Interest::default(), result: Mutex::new(None), waker: AtomicWaker::new() }
    }
}

impl<T> Answer<T> {
    fn give(&self, result: Ended<T>) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
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
        if self.dropped == Dropped::IsWithdrawn {
            self.answer.interest.has_ended.store(true, Ordering::Release);
            drop(self.background.withdraw(self.task));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// A background with one thread, whose first task runs until the sender is dropped.
    fn busy() -> (Background, SyncSender<()>, Outcome<()>) {
        let background = Background::new("wpc-test", 1);
        let (release, released) = sync_channel::<()>(1);
        let (begin, begun) = sync_channel(1);
        let first = background.run(Dropped::GoesOn, move |_| {
            begin.send(()).unwrap();
            assert!(released.recv().is_err());
            Ok(())
        });
        begun.recv().unwrap();
        (background, release, first.unwrap())
    }

    /// A task that keeps a sender as long as it is not dropped.
    fn held(background: &Background, dropped: Dropped) -> (Outcome<()>, Receiver<()>) {
        let (hold, held) = sync_channel(1);
        let outcome = background.run(dropped, move |_| {
            hold.send(()).unwrap();
            Ok(())
        });
        (outcome.unwrap(), held)
    }

    #[test]
    fn tasks_are_run_in_turn_elsewhere_and_their_results_awaited() {
        let (background, release, first) = busy();
        let second = background.run(Dropped::GoesOn, |_| Ok(std::thread::current().id()));
        drop(release);
        pollster::block_on(first).unwrap();
        assert_ne!(pollster::block_on(second.unwrap()).unwrap(), std::thread::current().id());
    }

    #[test]
    fn a_withdrawn_task_is_dropped_at_once_where_it_has_not_begun() {
        let (background, release, first) = busy();
        let (withdrawn, is_dropped) = held(&background, Dropped::IsWithdrawn);
        drop(withdrawn);
        assert!(is_dropped.recv().is_err(), "it was dropped and not run, while the first one runs");
        drop((release, first));
    }

    #[test]
    fn a_task_that_goes_on_is_run_although_its_outcome_is_dropped() {
        let (background, release, first) = busy();
        let (dropped, is_run) = held(&background, Dropped::GoesOn);
        drop((dropped, release, first));
        is_run.recv().unwrap();
    }

    #[test]
    fn the_interest_in_a_running_task_ends_when_its_outcome_is_dropped() {
        let background = Background::new("wpc-test", 1);
        let (go, gone) = sync_channel::<()>(1);
        let (begin, begun) = sync_channel(1);
        let outcome = background.run(Dropped::IsWithdrawn, move |interest| {
            begin.send(interest.has_ended()).unwrap();
            gone.recv().unwrap();
            begin.send(interest.has_ended()).unwrap();
            Ok(())
        });
        assert!(!begun.recv().unwrap());
        drop(outcome);
        go.send(()).unwrap();
        assert!(begun.recv().unwrap());
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_thread_runs_on() {
        let background = Background::new("wpc-test", 1);
        let panics = background.run::<()>(Dropped::GoesOn, |_| panic!("in the background"));
        let panics = AssertUnwindSafe(|| pollster::block_on(panics.unwrap()));
        assert_eq!(catch_unwind(panics).unwrap_err().downcast_ref(), Some(&"in the background"));
        pollster::block_on(background.run(Dropped::GoesOn, |_| Ok(())).unwrap()).unwrap();
    }
}
