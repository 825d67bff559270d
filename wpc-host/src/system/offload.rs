//! A few threads that run the embedder's code in place of a thread that keeps time.
//!
//! Wakers, `tracing` subscribers, and what is dropped with a definition are the embedder's: they may take any time. A
//! thread that keeps time, once it has called [`Offload::adopt`], passes them on by [`foreign`]; every other thread runs
//! them itself.
//!
//! # Protocol
//!
//! All state is under one lock, which is never held while a task runs. A push starts a thread if there is none; a thread
//! that finds no task under the lock ends, so no task is left without one. The thread that keeps time calls
//! [`Offload::look`] at each tick: where tasks wait and none was begun since the last look, another thread is started.

use crate::sync::{Mutex, MutexGuard, thread, thread_local};
use crate::system::contain::contain;
use crate::system::os_limits;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

/// How many threads there may be: with so many tasks that do not return, further ones wait.
const MAX_THREADS: usize = 8;

/// How many tasks may wait before those are skipped that only observe. Others are bounded by the calls in flight.
const MAX_OBSERVATIONS: usize = 4096;

type Task = Box<dyn FnOnce() + Send>;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Offload(Arc<Shared>);

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    threads: usize,
    /// How many tasks were begun.
    begun: u64,
    /// How many had been begun at the last look.
    begun_before: u64,
    /// Whether no thread could be started since the last look: the system has none, and is not asked at each push.
    has_failed: bool,
}

thread_local! {
    static ADOPTED: RefCell<Option<Offload>> = const { RefCell::new(None) };
}

/// Runs the embedder's code: here, or elsewhere where this thread keeps time. Its panic is contained.
#[inline]
pub(crate) fn foreign(task: impl FnOnce() + Send + 'static) {
    match adopted() {
        None => drop(contain(task)),
        Some(offload) => offload.push(Box::new(task)),
    }
}

/// The same for code that only observes, and is skipped where too much waits.
pub(crate) fn observe(task: impl FnOnce() + Send + 'static) {
    match adopted() {
        None => drop(contain(task)),
        Some(offload) if offload.0.lock().tasks.len() >= MAX_OBSERVATIONS => {}
        Some(offload) => offload.push(Box::new(task)),
    }
}

/// Whether this thread keeps time.
#[inline]
pub(crate) fn keeps_time() -> bool {
    ADOPTED.try_with(|adopted| adopted.borrow().is_some()).unwrap_or(false)
}

#[inline]
fn adopted() -> Option<Offload> {
    // A thread that ends has none any more.
    ADOPTED.try_with(|adopted| adopted.borrow().clone()).unwrap_or_default()
}

impl Offload {
    /// Declares that this thread keeps time.
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

    /// Starts another thread where tasks wait and the others do not come to them.
    pub(crate) fn look(&self) {
        let mut state = self.0.lock();
        let is_stuck = !state.tasks.is_empty() && state.begun == state.begun_before;
        (state.begun_before, state.has_failed) = (state.begun, false);
        if is_stuck && state.threads < MAX_THREADS {
            self.start(state);
        }
    }

    /// Whether tasks wait for which another look may start a thread.
    pub(crate) fn is_behind(&self) -> bool {
        let state = self.0.lock();
        !state.tasks.is_empty() && state.threads < MAX_THREADS
    }

    /// Runs what no thread could be started for; the thread that keeps time calls it as it ends.
    pub(crate) fn finish(&self) {
        let mut state = self.0.lock();
        if state.threads == 0 {
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
        if os_limits::has_room_for_thread() && spawn().is_ok() {
            return;
        }
        // Tried again at the next look.
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

    /// Runs `run` on a thread that keeps time.
    #[expect(clippy::disallowed_methods, reason = "a test of what a thread may not do")]
    fn on_a_thread_that_keeps_time(offload: &Offload, run: impl FnOnce() + Send + 'static) {
        let offload = offload.clone();
        let thread = std::thread::spawn(move || {
            offload.adopt();
            run();
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_thread_that_keeps_time_runs_no_foreign_code() {
        let (send, receive) = sync_channel(1);
        let offload = Offload::default();
        on_a_thread_that_keeps_time(&offload, move || {
            let here = std::thread::current().id();
            foreign(move || send.send(std::thread::current().id() != here).unwrap());
        });
        assert!(receive.recv().unwrap());
    }

    #[test]
    fn other_threads_run_it_themselves_and_survive_its_panic() {
        let here = std::thread::current().id();
        let (send, receive) = sync_channel(1);
        foreign(move || send.send(std::thread::current().id()).unwrap());
        assert_eq!(receive.try_recv().unwrap(), here);
        foreign(|| panic!("foreign"));
    }

    #[test]
    fn a_task_that_does_not_return_holds_no_other_one_up() {
        let offload = Offload::default();
        let (release, released) = sync_channel::<()>(1);
        let (send, receive) = sync_channel(1);
        on_a_thread_that_keeps_time(&offload, move || {
            foreign(move || assert!(released.recv().is_err()));
            foreign(move || send.send(()).unwrap());
        });
        while receive.try_recv().is_err() {
            offload.look();
            std::thread::yield_now();
        }
        drop(release);
    }
}
