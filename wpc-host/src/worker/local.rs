//! A worker without a thread: it runs calls on the thread that asks, one at a time, and keeps the books as
//! any worker does.
//!
//! # Protocol
//!
//! Nobody else answers its calls, so nothing is laid where others could take it away. The supervisor
//! ticks while it is busy; it says so first, rings, and then looks whether the pool is open. A stop closes
//! the pool first and then looks who is busy. All four are sequentially consistent, so that one of them
//! sees the other.

use super::Worker;
use super::thread::{Thread, WorkerContext, metadata};
use crate::call::reply::{RawReply, ReplyMetadata};
use crate::codec::payload::Payload;
use crate::error::Error;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::worker::job::Job;
use std::sync::Arc;

pub(crate) struct Local {
    worker: Arc<Worker>,
    thread: Thread,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("worker", &self.worker.id).finish_non_exhaustive()
    }
}

/// Says that nothing runs any more, however it ended.
struct IdleGuard<'a>(&'a Worker);

impl Drop for IdleGuard<'_> {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

impl Local {
    pub(crate) fn new(worker: Arc<Worker>, context: WorkerContext) -> Self {
        worker.is_busy.store(false, Ordering::Release);
        Self { thread: Thread::new(&worker, context), worker }
    }

    /// What is known of the call that was answered last, which was the job's.
    pub(crate) fn metadata(&self, job: &Job) -> ReplyMetadata {
        metadata(job, &self.worker)
    }

    pub(crate) fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// Runs the job's call here, if its definition may be tried here now; `None` where it may not. What `read`
    /// takes of the reply goes into `value`.
    #[inline(always)]
    pub(crate) fn run<T>(
        &mut self,
        job: &mut Job,
        arguments: impl Payload,
        is_open: &AtomicBool,
        value: &mut Option<T>,
        read: impl FnOnce(RawReply<'_>) -> T,
        error: impl FnOnce(&T) -> Option<Error>,
    ) -> Option<Result<(), Box<Error>>> {
        let Self { worker, thread } = self;
        worker.is_busy.store(true, Ordering::SeqCst);
        let rest = IdleGuard(worker);
        worker.ticker.ring_after_flag();
        if !is_open.load(Ordering::SeqCst) {
            return Some(Err(Error::NotRunning.into()));
        }
        if thread.has_stale || worker.queue.take_nudge() {
            thread.drop_unneeded();
        }
        if !thread.admits(job) {
            return None;
        }
        let result = thread.execute(job, arguments, value, |reply, _| read(reply), error);
        drop(rest);
        thread.report(job);
        thread.recycle();
        Some(result)
    }
}
