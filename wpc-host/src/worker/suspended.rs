//! The suspended calls of a worker, whose guests wait for the host or for their next time slice.
//!
//! # Protocol
//!
//! * A call is in this set exactly while it is suspended. The thread that takes it out owns its answer and its slot: the
//!   worker, to resume the guest or to end it; or the supervisor or a stop, if the call must end. In the latter case the
//!   worker is woken, finds that the call is gone, and drops the guest.
//! * While the worker drops such a guest, it has another *current* call in its place ([`Call::destructors`]), so that the
//!   supervisor sees if the future of a host function does not return from its destructor.
//! * A waker pushes the number of its task to the worker's queue, so the worker never polls a guest in vain.
//! * Once the set is closed, because the worker is stopped or abandoned, the worker can suspend no further call.
//!
//! | field | written by | ordering |
//! |---|---|---|
//! | `calls` | see above | under its lock |
//! | `next_expiry` | the worker and wakers lower it, the supervisor resets it before it looks | acquire and release |
//! | `count` | the thread that adds or takes a call, under the lock | relaxed: a hint for dispatch |

use super::Worker;
use crate::call::Call;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use rustc_hash::FxHashMap;
use std::sync::{Arc, PoisonError, Weak};
use std::task::Wake;

/// The number of a task: a call on a fiber, on its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TaskId(pub(super) u64);

pub(super) struct Suspended {
    calls: Mutex<Calls>,
    /// A lower bound on the deadlines in the set, in nanoseconds of the epoch ticker's clock. Zero if a call was cancelled.
    next_expiry: AtomicU64,
    count: AtomicUsize,
}

#[derive(Default)]
struct Calls {
    by_task: FxHashMap<TaskId, SuspendedCall>,
    is_closed: bool,
}

/// A suspended call, with the waker of its task.
pub(crate) struct SuspendedCall {
    pub(crate) call: Arc<Call>,
    /// Whether it only creates a sandbox, and does not count as a call.
    pub(crate) is_warm_up: bool,
    pub(super) waker: Arc<TaskWaker>,
}

impl SuspendedCall {
    /// Makes the worker drop the guest.
    pub(crate) fn release(self) {
        self.waker.wake();
    }
}

impl Suspended {
    pub(super) fn new() -> Self {
        Self {
            calls: Mutex::default(),
            next_expiry: AtomicU64::new(u64::MAX),
            count: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds a call with this deadline; returns it if the set is closed.
    pub(super) fn add(
        &self,
        task: TaskId,
        suspended: SuspendedCall,
        deadline: u64,
    ) -> Result<(), SuspendedCall> {
        let mut calls = self.lock();
        if calls.is_closed {
            return Err(suspended);
        }
        calls.by_task.insert(task, suspended);
        self.count.store(calls.by_task.len(), Ordering::Relaxed);
        drop(calls);
        self.next_expiry.fetch_min(deadline, Ordering::AcqRel);
        Ok(())
    }

    /// Takes the call out, unless another thread has.
    pub(super) fn take(&self, task: TaskId) -> Option<SuspendedCall> {
        let mut calls = self.lock();
        let taken = calls.by_task.remove(&task);
        self.count.store(calls.by_task.len(), Ordering::Relaxed);
        taken
    }

    pub(super) fn next_expiry(&self) -> u64 {
        self.next_expiry.load(Ordering::Acquire)
    }

    /// Takes the calls out that `must_end`. `deadline` returns the deadline of a call.
    pub(super) fn take_ended(
        &self,
        must_end: impl Fn(&Call) -> bool,
        deadline: impl Fn(&Call) -> u64,
    ) -> Vec<SuspendedCall> {
        self.next_expiry.store(u64::MAX, Ordering::Release);
        let mut calls = self.lock();
        let ended = calls.by_task.iter().filter(|(_, suspended)| must_end(&suspended.call));
        let ended: Vec<_> = ended.map(|(task, _)| *task).collect();
        let ended = ended.iter().filter_map(|task| calls.by_task.remove(task)).collect();
        self.count.store(calls.by_task.len(), Ordering::Relaxed);
        let next = calls.by_task.values().map(|suspended| deadline(&suspended.call)).min();
        drop(calls);
        if let Some(next) = next {
            self.next_expiry.fetch_min(next, Ordering::AcqRel);
        }
        ended
    }

    /// Takes all calls out, and accepts no further ones.
    pub(super) fn close(&self) -> Vec<SuspendedCall> {
        let mut calls = self.lock();
        calls.is_closed = true;
        self.count.store(0, Ordering::Relaxed);
        std::mem::take(&mut calls.by_task).into_values().collect()
    }
}

/// Wakes a task: its worker polls its guest again.
pub(super) struct TaskWaker {
    task: TaskId,
    /// A call keeps its waker, and a host function may keep it for any time.
    call: Weak<Call>,
    worker: Weak<Worker>,
    /// Whether it was woken since the worker last polled it.
    is_woken: AtomicBool,
}

impl TaskWaker {
    pub(super) fn new(task: TaskId, call: &Arc<Call>, worker: &Arc<Worker>) -> Arc<Self> {
        Arc::new(Self {
            task,
            call: Arc::downgrade(call),
            worker: Arc::downgrade(worker),
            is_woken: AtomicBool::new(false),
        })
    }

    /// Must be called before the task is polled: a later wake-up makes the worker poll it again.
    pub(super) fn begin_poll(&self) {
        self.is_woken.store(false, Ordering::SeqCst);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(worker) = self.worker.upgrade() else { return };
        // The worker may be busy for a long time, so the supervisor looks at cancelled calls too.
        if self.call.upgrade().is_some_and(|call| call.is_interrupt_requested()) {
            worker.suspended.next_expiry.store(0, Ordering::Release);
        }
        if !self.is_woken.swap(true, Ordering::SeqCst) {
            worker.queue.wake_task(self.task);
        }
    }
}
