//! Threads that run the embedder's code on behalf of time-critical threads, such as the supervisor.
//!
//! Wakers, `tracing` subscribers and destructors of what a definition holds are the embedder's code and may block. A
//! time-critical thread calls [`Offload::adopt`] once; from then on [`foreign`] runs such code on another thread. On all other
//! threads `foreign` runs it directly.
//!
//! # Protocol
//!
//! All state is under one lock, which is never held while a task runs. A push starts the first thread. A thread that
//! finds no task under the lock exits, so no task is left without a thread. The time-critical thread calls [`Offload::start_thread_if_blocked`]
//! at each tick. If tasks wait and none has begun since the last call, it starts another thread.

use crate::sync::{Mutex, MutexGuard, thread, thread_local};
use crate::system::contain::contain;
use crate::system::os_limits;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

/// The maximum number of threads. While a task blocks on each of them, further tasks wait.
const MAX_THREADS: usize = 8;

/// How many tasks may wait before observations are skipped. Other tasks are bounded by the calls in flight.
const MAX_OBSERVATIONS: usize = 4096;

type Task = Box<dyn FnOnce() + Send>;

/// The threads and their queue of tasks. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Offload(Arc<Shared>);

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    threads: usize,
    /// The number of tasks that have begun.
    begun: u64,
    /// The value of `begun` at the last call of [`Offload::start_thread_if_blocked`].
    begun_before: u64,
    /// Whether starting a thread failed since the last call of [`Offload::start_thread_if_blocked`]; pushes do not try again until the next one.
    has_failed: bool,
}

thread_local! {
    static ADOPTED: RefCell<Option<Offload>> = const { RefCell::new(None) };
}

/// Runs the embedder's code, on another thread if this one is time-critical. Its panics are caught.
#[inline]
pub(crate) fn foreign(task: impl FnOnce() + Send + 'static) {
    match adopted() {
        None => drop(contain(task)),
        Some(offload) => offload.push(Box::new(task)),
    }
}

/// The same for code that only observes. It is skipped if too many tasks wait.
pub(crate) fn observe(task: impl FnOnce() + Send + 'static) {
    match adopted() {
        None => drop(contain(task)),
        Some(offload) if offload.0.lock().tasks.len() >= MAX_OBSERVATIONS => {}
        Some(offload) => offload.push(Box::new(task)),
    }
}

/// Whether this thread is time-critical.
#[inline]
pub(crate) fn is_time_critical() -> bool {
    ADOPTED.try_with(|adopted| adopted.borrow().is_some()).unwrap_or(false)
}

#[inline]
fn adopted() -> Option<Offload> {
    // A thread that is exiting has dropped it already.
    ADOPTED.try_with(|adopted| adopted.borrow().clone()).unwrap_or_default()
}

impl Offload {
    /// Declares this thread time-critical.
    pub(crate) fn adopt(&self) {
        ADOPTED.with(|adopted| *adopted.borrow_mut() = Some(self.clone()));
    }

    fn push(&self, task: Task) {
        let mut state = self.0.lock();
        state.tasks.push_back(task);
        if state.threads == 0 && !state.has_failed {
            self.start(state);
        }
    }

    /// Starts another thread if tasks wait and the existing threads are blocked.
    pub(crate) fn start_thread_if_blocked(&self) {
        let mut state = self.0.lock();
        let is_stuck = !state.tasks.is_empty() && state.begun == state.begun_before;
        (state.begun_before, state.has_failed) = (state.begun, false);
        if is_stuck && state.threads < MAX_THREADS {
            self.start(state);
        }
    }

    /// Whether tasks wait for which the next call of [`start_thread_if_blocked`](Self::start_thread_if_blocked) may start a thread.
    pub(crate) fn is_behind(&self) -> bool {
        let state = self.0.lock();
        !state.tasks.is_empty() && state.threads < MAX_THREADS
    }

    /// Starts a thread for the tasks that have none. If that fails once more, it runs them. The time-critical thread calls it
    /// when it exits.
    pub(crate) fn finish(&self) {
        let mut state = self.0.lock();
        if state.tasks.is_empty() || state.threads > 0 {
            return;
        }
        state.has_failed = false;
        self.start(state);
        let mut state = self.0.lock();
        if state.has_failed && state.threads == 0 {
            state.threads += 1;
            drop(state);
            self.0.run();
        }
    }

    fn start(&self, mut state: MutexGuard<'_, State>) {
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.0);
        let builder = thread::Builder::new().name("wpc-offload".to_owned());
        #[expect(clippy::disallowed_methods, reason = "bounded, and ends when no task is left")]
        let spawn = || builder.spawn(move || shared.run());
        if os_limits::allows_another_thread() && spawn().is_ok() {
            return;
        }
        // The next call to `start_thread_if_blocked` tries again.
        let mut state = self.0.lock();
        state.threads -= 1;
        state.has_failed = true;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while let Some(task) = state.tasks.pop_front() {
            state.begun += 1;
            drop(state);
            drop(contain(task));
            state = self.lock();
        }
        state.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    /// Runs `run` on a time-critical thread.
    #[expect(clippy::disallowed_methods, reason = "a test that needs a thread of its own")]
    fn on_a_time_critical_thread(offload: &Offload, run: impl FnOnce() + Send + 'static) {
        let offload = offload.clone();
        let thread = std::thread::spawn(move || {
            offload.adopt();
            run();
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_time_critical_thread_runs_no_foreign_code() {
        let (send, receive) = sync_channel(1);
        let offload = Offload::default();
        on_a_time_critical_thread(&offload, move || {
            let here = std::thread::current().id();
            foreign(move || send.send(std::thread::current().id() != here).unwrap());
        });
        assert!(receive.recv().unwrap());
    }

    #[test]
    fn the_last_tasks_of_a_time_critical_thread_run_on_another_thread() {
        let (send, receive) = sync_channel(1);
        let offload = Offload::default();
        let own = offload.clone();
        on_a_time_critical_thread(&offload, move || {
            own.0.lock().has_failed = true;
            let here = std::thread::current().id();
            foreign(move || send.send(std::thread::current().id() != here).unwrap());
            own.finish();
        });
        assert!(receive.recv().unwrap());
    }

    #[test]
    fn other_threads_run_it_directly_and_survive_its_panic() {
        let here = std::thread::current().id();
        let (send, receive) = sync_channel(1);
        foreign(move || send.send(std::thread::current().id()).unwrap());
        assert_eq!(receive.try_recv().unwrap(), here);
        foreign(|| panic!("foreign"));
    }

    #[test]
    fn a_blocked_task_does_not_delay_other_tasks() {
        let offload = Offload::default();
        let (release, released) = sync_channel::<()>(1);
        let (send, receive) = sync_channel(1);
        on_a_time_critical_thread(&offload, move || {
            foreign(move || assert!(released.recv().is_err()));
            foreign(move || send.send(()).unwrap());
        });
        while receive.try_recv().is_err() {
            offload.start_thread_if_blocked();
            std::thread::yield_now();
        }
        drop(release);
    }
}
