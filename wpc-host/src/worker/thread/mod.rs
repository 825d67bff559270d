//! The code that runs on a worker's thread: it takes jobs, finds or creates their sandboxes, answers, and records failures.
//! No other thread touches this state.

mod execution;
mod failure;
mod fibers;
mod observation;
mod span;

pub(in crate::worker) use execution::metadata;
use fibers::Fibers;
use observation::Observed;

use super::Worker;
use super::current::{Finish, Token};
use super::sandbox_cache::SandboxCache;
use super::service_time::Sampler;
use super::stage::Stage;
use crate::call::Outcome;
use crate::error::{Error, ErrorCode};
use crate::event::{Draft, EventDetails, EventSource, Events, FailureSeverities, HealthState};
use crate::registry::Definition;
use crate::registry::restart_policy::RestartPolicy;
use crate::sync::atomic::Ordering;
use crate::sync::thread::JoinHandle;
use crate::sync::{thread, time};
use crate::system::buffers::Buffers;
use crate::system::contain::contain;
use crate::system::epoch_ticker::nanos;
use crate::system::os_limits;
use crate::worker::capacity::Capacity;
use crate::worker::job::Job;
use crate::worker::overflow_queue::OverflowQueue;
use crate::worker::queue::{PrefersWoken, Taken};
use rand::rngs::SmallRng;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a worker's thread needs besides the worker itself.
pub(crate) struct WorkerContext {
    pub(crate) policy: RestartPolicy,
    /// The time limit of calls whose definition has none.
    pub(crate) call_timeout: Duration,
    pub(crate) failure_severities: FailureSeverities,
    pub(crate) random: SmallRng,
    pub(crate) overflow_queue: Arc<OverflowQueue>,
    pub(crate) capacity: Arc<Capacity>,
    pub(crate) buffers: Arc<Buffers>,
    /// Called when the thread is ready, and again when it is about to end.
    pub(crate) on_change: Arc<dyn Fn() + Send + Sync>,
}

/// Starts the worker's thread.
pub(crate) fn spawn(worker: &Arc<Worker>, context: WorkerContext) -> Result<JoinHandle<()>, Error> {
    let thread = Thread::new(worker, context);
    // A guest runs on the stack of its worker's thread.
    let stack = worker.environment.max_wasm_stack + 2 * 1024 * 1024;
    os_limits::start_thread(format_args!("the thread of {}", worker.id), stack, || {
        #[expect(clippy::disallowed_methods, reason = "one thread for each worker")]
        thread::Builder::new()
            .name(format!("wpc-{}", worker.id))
            .stack_size(stack)
            // A panic payload may panic when the thread's result is dropped, which would abort the process.
            .spawn(move || drop(contain(|| thread.run())))
    })
}

/// The state that only the worker's own thread touches.
pub(in crate::worker) struct Thread {
    worker: Arc<Worker>,
    context: WorkerContext,
    sandbox_cache: SandboxCache,
    fibers: Fibers,
    sampler: Sampler,
    /// The definition whose sandbox is to be recycled.
    spent: Option<Arc<Definition>>,
    /// When the running call began. `None` if the clock was not read, because the call is not timed and no tick had passed
    /// since it was accepted. It then began within one tick of its acceptance.
    begun: Option<Instant>,
    /// What is observed of the running call, if there is an observer or a subscriber of spans, or latencies are collected.
    observed: Option<Observed>,
    /// The code of the last call's error; `None` if it returned a value.
    ended_with: Option<ErrorCode>,
    /// Definitions that back off or have an open circuit breaker on this worker.
    degraded: Vec<Arc<Definition>>,
    /// Whether there may be sandboxes of retired definitions.
    pub(in crate::worker) has_stale: bool,
}

/// Marks the worker as exited when its thread ends, even by a panic.
struct ExitGuard {
    worker: Arc<Worker>,
    on_change: Arc<dyn Fn() + Send + Sync>,
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        self.worker.is_busy.store(false, Ordering::SeqCst);
        self.worker.stage.enter(Stage::Exited);
        (self.on_change)();
        self.worker.ticker.notify();
    }
}

/// Why a job was not run.
enum Unserved {
    /// Its call has been answered.
    Answered,
    /// Its definition failed on this worker, and may not be retried yet.
    NotAdmitted,
}

/// Answers the running call if the host panics.
struct Unanswered<'a> {
    worker: &'a Worker,
    job: &'a mut Job,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some(call) = self.worker.steal_running() else {
            // The thread that stole the call answers it.
            self.job.is_disowned = true;
            return;
        };
        call.answer_with(|ran| {
            Err(Error::WorkerLost {
                function: call.function.to_string(),
                worker: self.worker.id,
                reason: "the host panicked; this is a bug of wpc or of a host function".to_owned(),
                ran,
            })
        });
    }
}

impl Thread {
    pub(in crate::worker) fn new(worker: &Arc<Worker>, context: WorkerContext) -> Self {
        let sandbox_cache =
            SandboxCache::new(Arc::clone(&worker.idle), Arc::clone(&context.capacity));
        Self {
            worker: Arc::clone(worker),
            context,
            sandbox_cache,
            fibers: Fibers::default(),
            sampler: Sampler::default(),
            spent: None,
            begun: None,
            observed: None,
            ended_with: None,
            degraded: Vec::new(),
            has_stale: false,
        }
    }

    fn run(self) {
        let worker = Arc::clone(&self.worker);
        let on_change = Arc::clone(&self.context.on_change);
        let buffers = Arc::clone(&self.context.buffers);
        let _exit_guard =
            ExitGuard { worker: Arc::clone(&worker), on_change: Arc::clone(&on_change) };
        // Dropped before the exit guard, whose notification means that the sandboxes' instances are free.
        let mut thread = self;
        if worker.restart_attempt > 0 {
            thread.sandbox_cache.drop_orphans();
        }
        worker.stage.enter(Stage::Ready);
        worker.emit_health(HealthState::Ready, None);
        let ready = Draft::by(EventSource::Worker, EventDetails::WorkerReady {});
        thread.events().emit(ready.worker(worker.id));
        on_change();
        let before_sleep = || worker.is_busy.store(false, Ordering::SeqCst);
        let after_sleep = || {
            worker.is_busy.store(true, Ordering::SeqCst);
            worker.ticker.notify();
        };
        worker.ticker.notify();
        let mut prefers_woken = PrefersWoken(false);
        loop {
            let suspended = (!thread.fibers.is_empty()).then_some(prefers_woken);
            let goes_on = match worker.queue.take(suspended, before_sleep, after_sleep) {
                Taken::Item(job) => {
                    prefers_woken = PrefersWoken(true);
                    thread.serve(&worker, &buffers, job)
                }
                Taken::Woken(task) => {
                    prefers_woken = PrefersWoken(false);
                    thread.resume(&worker, task)
                }
                Taken::CleanupRequest => {
                    thread.drop_unneeded();
                    true
                }
                Taken::Closed => return,
            };
            if !goes_on {
                return;
            }
            if thread.has_stale && !worker.has_queued() {
                thread.drop_unneeded();
            }
            if thread.fibers.has_freed() && !thread.serve_waiting(&worker, &buffers) {
                return;
            }
        }
    }

    fn events(&self) -> &Events {
        &self.worker.environment.events
    }

    /// Runs a job's call and answers it; returns false if the worker was abandoned in the meantime.
    #[must_use]
    fn serve(&mut self, worker: &Arc<Worker>, buffers: &Arc<Buffers>, mut job: Job) -> bool {
        worker.environment.is_occupied.store(false, Ordering::Relaxed);
        if job.definition.can_suspend {
            return self.serve_on_fiber(worker, buffers, job);
        }
        let deadline = job.deadline;
        let token = worker.current.begin(&job.call, deadline);
        let unanswered = Unanswered { worker, job: &mut job };
        let last_tick = worker.ticker.coarse_now();
        if last_tick > deadline {
            unanswered.job.call.expire(time::now());
        }
        if let Err(unserved) = self.begin(unanswered.job) {
            std::mem::forget(unanswered);
            return self.release(worker, token, job, unserved);
        }

        let is_timed = !unanswered.job.is_warm_up && self.sampler.is_due(&worker.service_time);
        let has_waited = deadline.saturating_sub(nanos(unanswered.job.call.time_limit)) < last_tick;
        self.begun = (is_timed || has_waited).then(time::now);
        let outcome = if unanswered.job.is_warm_up {
            self.warm(unanswered.job)
        } else {
            self.run_call(unanswered.job, buffers)
        };

        if let Some(begun) = self.begun.filter(|_| is_timed) {
            worker.service_time.note(time::now().saturating_duration_since(begun));
        }

        std::mem::forget(unanswered);
        self.finish(worker, token, job, outcome)
    }

    /// Answers a call that has run; returns false if the worker was abandoned in the meantime.
    #[inline(always)]
    fn finish(&mut self, worker: &Worker, token: Token, mut job: Job, outcome: Outcome) -> bool {
        if worker.current.finish(token) == Finish::Stolen {
            job.is_disowned = true;
            return false;
        }
        // Only this thread writes it.
        worker.served.store(worker.served.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // Dropping a sandbox takes longer than a short call, so dispatch should not count on this worker meanwhile.
        worker.environment.is_occupied.store(self.spent.is_some(), Ordering::Relaxed);
        worker.release_slot();
        // Claimed before it is counted, so that it is counted and reported with what its caller gets.
        let claim = job.call.claim();
        if claim.is_none() {
            self.ended_with = job.answered_with();
        }
        if !job.is_warm_up {
            self.count(&job, self.ended_with);
        }
        if let Some(claim) = claim {
            claim.answer(outcome);
        }
        job.is_disowned = true;
        self.report(&job);
        self.recycle();
        worker.environment.is_occupied.store(false, Ordering::Relaxed);
        if !self.context.overflow_queue.is_empty() {
            worker.ticker.notify();
        }
        true
    }

    /// Begins the job's call, if it is not answered yet and its definition is admitted.
    #[inline]
    fn begin(&self, job: &mut Job) -> Result<(), Unserved> {
        if job.call.is_answered() {
            return Err(Unserved::Answered);
        }
        if !self.admits(job) {
            return Err(Unserved::NotAdmitted);
        }
        if job.call.begin() {
            return Ok(());
        }
        self.abandon_trial(job);
        Err(Unserved::Answered)
    }

    /// Releases a job that was not run; returns false if the worker was abandoned in the meantime.
    #[cold]
    fn release(&self, worker: &Worker, token: Token, mut job: Job, unserved: Unserved) -> bool {
        if worker.current.finish(token) == Finish::Stolen {
            job.is_disowned = true;
            return false;
        }
        match unserved {
            Unserved::Answered => worker.release_slot(),
            Unserved::NotAdmitted => {
                if job.is_warm_up {
                    // A warm-up is for this worker's sandbox, so it is not moved to another worker.
                    let function = job.function.name.to_string();
                    let reason = format!(
                        "the function backs off, or its circuit breaker is open, on {} after failures; try again later",
                        worker.id
                    );
                    worker.release_slot();
                    job.call.answer_with(|_| Err(Error::Initialisation { function, reason }));
                } else {
                    // Queued before the slot is released, so that a stop which finds no slot taken finds the call here.
                    self.context.overflow_queue.return_to(job);
                    worker.release_slot();
                }
                worker.ticker.notify();
            }
        }
        true
    }

    /// Drops sandboxes that are retired or that other workers need, and updates the worker's health.
    pub(in crate::worker) fn drop_unneeded(&mut self) {
        self.has_stale = false;
        self.sandbox_cache.forget_retired();
        self.sandbox_cache.yield_to_others();
        self.clear_degraded();
        self.retry_waiting();
    }
}
