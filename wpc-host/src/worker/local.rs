//! A worker without a thread: it runs calls on the caller's thread, one at a time, and records failures as other workers
//! do.
//!
//! # Protocol
//!
//! No other thread answers its calls, so it has no *current* call that could be stolen. The supervisor ticks while the
//! worker is busy:
//!
//! * The worker sets `is_busy`, notifies the supervisor, and then checks that the pool is open.
//! * A stop closes the pool, and then checks which workers are busy.
//!
//! All four accesses are sequentially consistent, so at least one side observes the other.

use super::Worker;
use super::thread::{Thread, WorkerContext, metadata};
use crate::call::reply::{BorrowedReply, ReplyMetadata};
use crate::codec::payload::Payload;
use crate::error::{Error, ErrorCode};
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

/// Clears `is_busy` when the call ends, even by a panic.
struct IdleGuard<'a>(&'a Worker);

impl Drop for IdleGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

impl Local {
    pub(crate) fn new(worker: Arc<Worker>, context: WorkerContext) -> Self {
        worker.is_busy.store(false, Ordering::Release);
        Self { thread: Thread::new(&worker, context), worker }
    }

    /// The metadata of the last answered call, which was the job's.
    #[inline]
    pub(crate) fn metadata(&self, job: &Job) -> ReplyMetadata {
        metadata(job, &self.worker)
    }

    pub(crate) fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// Creates the sandbox of the job's call, and drops it.
    #[cold]
    pub(crate) fn instantiate(
        &mut self,
        job: &Job,
        is_open: &AtomicBool,
    ) -> Result<(), Box<Error>> {
        let Self { worker, thread } = self;
        worker.is_busy.store(true, Ordering::SeqCst);
        let _guard = IdleGuard(worker);
        worker.ticker.notify_after_flag();
        if !is_open.load(Ordering::SeqCst) {
            return Err(Error::NotRunning.into());
        }
        thread.instantiate(job)
    }

    /// Runs the job's call and returns what `read` returns for the reply, or `None` if this worker does not admit its
    /// definition at the moment.
    #[inline(always)]
    pub(crate) fn run<T>(
        &mut self,
        job: &mut Job,
        arguments: impl Payload,
        is_open: &AtomicBool,
        read: impl FnOnce(BorrowedReply<'_>) -> Result<T, Box<Error>>,
    ) -> Result<Option<T>, Box<Error>> {
        let Self { worker, thread } = self;
        worker.is_busy.store(true, Ordering::SeqCst);
        let guard = IdleGuard(worker);
        worker.ticker.notify_after_flag();
        if !is_open.load(Ordering::SeqCst) {
            job.function.meter.count_elsewhere(ErrorCode::NotRunning);
            return Err(Error::NotRunning.into());
        }
        if thread.has_stale || worker.queue.take_cleanup_request() {
            thread.drop_unneeded();
        }
        if !thread.admits(job) {
            return Ok(None);
        }
        let read = |reply: BorrowedReply<'_>, _| read(reply);
        let result = if job.definition.can_suspend {
            thread.block_on_fiber(job, arguments, read)
        } else {
            thread.execute(job, arguments, read)
        };
        drop(guard);
        thread.count_local(job);
        thread.report(job);
        thread.recycle();
        result.map(Some)
    }
}
