//! The supervisor: the one timer thread. While anything runs it ticks once a millisecond, which
//! lets guests look at their deadlines; in between it looks after what no worker can see by itself:
//! workers that are lost, calls that are stuck behind another, calls that wait.
//!
//! It never waits for a worker, never runs a guest or the embedder's code, and never holds a lock while it answers a
//! call: wakers, `tracing` subscribers and what is dropped with a definition run on the threads of `offload`. An idle pool
//! does not wake it.

pub(crate) mod scheduler;
pub(crate) mod workers;

use crate::call::{Call, Interrupt};
use crate::error::Error;
use crate::event::{Draft, EventDetails, EventSource, HealthState};
use crate::id::WorkerId;
use crate::information::WorkerHealth;
use crate::options::Options;
use crate::registry::circuit_breaker::consequence;
use crate::registry::restart_policy::{Decision, RestartState};
use crate::supervisor::workers::{MAX_ABANDONED, Pool};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::JoinHandle;
use crate::sync::{thread, time};
use crate::system::contain::contain;
use crate::system::offload::{Offload, observe};
use crate::system::os_limits;
use crate::worker::{Running, Worker};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How often guests look at their deadlines. A limit is kept within one tick; each tick costs a
/// busy pool a few microseconds.
const TICK: Duration = Duration::from_millis(1);

/// For how many ticks the supervisor stays awake after the last work: waking it costs the caller of
/// the next call a few microseconds, which calls in quick succession should not pay each time.
const LINGER_TICKS: u32 = 64;

/// How long after its limit a call is answered although its worker has not come back from it. A guest
/// comes back within a tick or two.
const LATE: Duration = Duration::from_millis(4);

/// How often a thread that was given up is looked after: its call is long answered, it must only not
/// spin for ever should it come back.
const ABANDONED_TICK: Duration = Duration::from_millis(100);

/// Every how many ticks the queue of a worker that is stuck in one call is swept for calls that were
/// cancelled meanwhile: they keep their places until then.
const SWEEP_TICKS: u32 = 64;

pub(crate) struct Supervisor {
    thread: JoinHandle<()>,
    ends: Arc<AtomicBool>,
    pool: Arc<Pool>,
}

impl Supervisor {
    pub(crate) fn start(pool: &Arc<Pool>) -> Result<Self, Error> {
        let ends = Arc::new(AtomicBool::new(false));
        let thread = Thread {
            pool: Arc::clone(pool),
            ends: Arc::clone(&ends),
            offload: Offload::default(),
            random: random(&pool.options),
            absent: Vec::new(),
            restarts: HashMap::new(),
            progress: HashMap::new(),
            overdue: HashMap::new(),
            idle_ticks: 0,
            ticks: 0,
            last_tick: time::now(),
        };
        let what = "the supervisor's thread";
        let thread = os_limits::start_thread(what, os_limits::USUAL_STACK, || {
            #[expect(clippy::disallowed_methods, reason = "the one timer thread")]
            thread::Builder::new().name("wpc-supervisor".to_owned()).spawn(|| thread.run())
        })?;
        Ok(Self { thread, ends, pool: Arc::clone(pool) })
    }

    pub(crate) fn end(self) {
        self.ends.store(true, Ordering::SeqCst);
        self.pool.ticker.ring();
        self.thread.thread().unpark();
        // With abandoned threads about it stays behind, until the last of them has ended.
        let is_other = self.thread.thread().id() != thread::current().id();
        if is_other && self.pool.abandoned() == 0 {
            // It does not panic: what foreign code it runs is caught.
            let _ = self.thread.join();
        }
    }
}

fn random(options: &Options) -> SmallRng {
    options.restart_jitter_seed.map_or_else(rand::make_rng, SmallRng::seed_from_u64)
}

struct Thread {
    pool: Arc<Pool>,
    ends: Arc<AtomicBool>,
    offload: Offload,
    random: SmallRng,
    /// Lost workers that are to be replaced.
    absent: Vec<Absent>,
    /// How the line of each live worker fared before it.
    restarts: HashMap<WorkerId, RestartState>,
    /// How far each worker was at the last tick.
    progress: HashMap<WorkerId, u64>,
    /// Which call each silent worker is at, and since when.
    overdue: HashMap<WorkerId, (Running, Instant)>,
    idle_ticks: u32,
    ticks: u32,
    last_tick: Instant,
}

struct Absent {
    /// The lost one.
    id: WorkerId,
    state: RestartState,
    attempt: u32,
    /// Whether calls wait for it. They do not for one that is tried again after a long time.
    is_awaited: bool,
}

fn lost(worker: &Worker, call: &Call, reason: &str) -> Error {
    let (function, reason) = (call.function.to_string(), reason.to_owned());
    Error::WorkerLost { function, worker: worker.id, reason, ran: true }
}

impl Thread {
    fn run(mut self) {
        self.pool.ticker.adopt();
        self.offload.adopt();
        while !self.ends.load(Ordering::SeqCst) {
            self.rest();
            if self.ends.load(Ordering::SeqCst) {
                break;
            }
            // Whatever goes wrong in one round, the next one ticks.
            if contain(|| self.round()).is_err() {
                observe(
                    || tracing::error!(target: "wpc", "the supervisor panicked; this is a bug of wpc"),
                );
            }
        }
        self.offload.finish();
        while self.pool.abandoned() > 0 {
            thread::park_timeout(ABANDONED_TICK);
            self.pool.engines.tick();
        }
    }

    fn round(&mut self) {
        let now = time::now();
        if now.duration_since(self.last_tick) < TICK {
            // It was rung between two ticks, because a place is free for somebody who waits.
            self.serve_waiting(now);
            return;
        }
        self.last_tick = now;
        self.ticks = self.ticks.wrapping_add(1);
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        self.pool.ticker.tick(now);
        self.pool.engines.tick();
        self.offload.look();
        if self.pool.capacity.is_wanted() {
            self.pool.nudge_workers();
        }
        self.look_after_workers(now);
        self.replace(now);
        self.serve_waiting(now);
        self.pool.buffers.age(now);
        if !self.pool.is_open.load(Ordering::Acquire) {
            self.pool.tell_change();
        }
    }

    /// Offers every waiting call a worker. What one of a definition was refused, the others of it
    /// are not asked for again in the same round.
    fn serve_waiting(&self, now: Instant) {
        if self.pool.waiting.is_empty() {
            return;
        }
        let mut refused = HashSet::new();
        self.pool.waiting.serve(|job| {
            let generation =
                job.function.definition.as_ref().ok().map(|definition| definition.generation);
            if job.affinity.is_none()
                && refused.contains(&generation)
                && job.call.interrupted(now).is_none()
            {
                return Some(job);
            }
            let is_affine = job.affinity.is_some();
            let left = self.pool.redispatch(job);
            if left.is_some() && !is_affine {
                refused.insert(generation);
            }
            left
        });
    }

    /// Sleeps for a tick, or for as long as nothing is to be done.
    fn rest(&mut self) {
        let pool = &self.pool;
        let has_work = || {
            self.ends.load(Ordering::SeqCst)
                || !pool.waiting.is_empty()
                || pool.is_locally_busy()
                || self.offload.is_behind()
                || pool.workers.load().iter().any(|worker| worker.is_busy() || worker.has_exited())
        };
        if has_work() {
            self.idle_ticks = 0;
        }
        if !pool.waiting.is_empty() {
            // A worker that gets free rings: who waits need not wait for the tick.
            pool.ticker.sleep(Some(TICK), || self.ends.load(Ordering::SeqCst));
            return;
        }
        if self.idle_ticks <= LINGER_TICKS {
            thread::park_timeout(TICK);
            return;
        }
        let now = time::now();
        let is_full = pool.abandoned() >= MAX_ABANDONED;
        let absent = self.absent.iter().filter(|_| !is_full);
        let dues = absent.map(|absent| absent.state.opens_at().saturating_duration_since(now));
        let abandoned = (pool.abandoned() > 0).then_some(ABANDONED_TICK);
        let buffers = pool.buffers.due(now);
        // One that was put since is not counted on below.
        let is_due = || buffers.is_none() && !pool.buffers.is_empty();
        let at_most = dues.chain(abandoned).chain(buffers).min();
        pool.ticker.sleep(at_most, || has_work() || is_due());
    }

    fn look_after_workers(&mut self, now: Instant) {
        let workers = self.pool.workers.load_full();
        for worker in workers.iter() {
            if worker.has_exited() && self.pool.worker_is_up(worker.id) {
                if self.pool.is_open.load(Ordering::Acquire) || worker.in_flight() > 0 {
                    self.lose(worker, None, "its thread ended by a panic", now);
                }
                continue;
            }
            if let Some(call) = self.steal_if_silent(worker, now) {
                let reason = "it did not come back after the call's time limit";
                let error = lost(worker, &call, reason);
                self.blame(&call, &error, now);
                self.lose(worker, Some(&call), reason, now);
                continue;
            }
            self.look_after_queue(worker, &workers, now);
        }
    }

    /// Looks whether the running call should have ended, and answers it when its worker is busy with
    /// something that cannot be interrupted: a host function. Takes the answer away from the worker
    /// once it has been silent past the call's deadline, or its cancel, for as long as the grace.
    ///
    /// Both are counted from when it was first seen: after the whole process was stopped for a
    /// while, every guest gets its chance to look at the clock.
    fn steal_if_silent(&mut self, worker: &Worker, now: Instant) -> Option<Arc<Call>> {
        let Some((running, interrupt)) = self.should_have_ended(worker, now) else {
            self.overdue.remove(&worker.id);
            return None;
        };
        let seen = self.overdue.entry(worker.id).or_insert((running, now));
        if seen.0 != running {
            *seen = (running, now);
        }
        let silent_for = now.duration_since(seen.1);
        let is_lost = interrupt != Interrupt::Stopped
            && silent_for >= self.pool.options.lost_worker_grace
            && worker.peek(running).is_some_and(|call| self.is_past_own_limit(&call, now));
        if is_lost {
            let call = worker.steal(running)?;
            call.answer_with(|ran| Err(call.error_of(interrupt, ran)));
            return Some(call);
        }
        if silent_for >= LATE
            && let Some(call) = worker.peek(running)
        {
            call.answer_with(|ran| Err(call.error_of(interrupt, ran)));
        }
        None
    }

    /// Whether the call has run for as long as its definition allows. Until then the worker is not lost, even if the caller
    /// chose a shorter limit or cancelled: otherwise callers could cost workers, and have a healthy function suspended, by
    /// passing on short limits of their own.
    fn is_past_own_limit(&self, call: &Call, now: Instant) -> bool {
        let Some(function) = self.pool.registry.function(&call.function) else { return true };
        let own = match &function.definition {
            Ok(definition) if definition.generation == call.generation => definition.limits.time,
            _ => return true,
        };
        now >= call.accepted() + own.unwrap_or(self.pool.options.call_timeout)
    }

    /// The running call's number and why it should have ended by now. Whether it was cancelled is
    /// only looked at when it has run since the last tick.
    fn should_have_ended(&self, worker: &Worker, now: Instant) -> Option<(Running, Interrupt)> {
        if let Some(running) = worker.overdue(now) {
            return Some((running, Interrupt::Deadline));
        }
        let running = worker.running()?;
        if self.progress.get(&worker.id) != Some(&worker.progress()) {
            return None;
        }
        let interrupt = worker.peek(running)?.interrupted(now)?;
        Some((running, interrupt))
    }

    /// Moves calls from behind one that runs on and on to less loaded workers, and ends those whose limit
    /// passes there.
    fn look_after_queue(&mut self, worker: &Worker, workers: &[Arc<Worker>], now: Instant) {
        let progress = worker.progress();
        let is_stuck = self.progress.insert(worker.id, progress) == Some(progress);
        if is_stuck {
            worker.note_stuck();
        }
        if !worker.has_queued() || !(is_stuck || worker.may_expire(now)) {
            return;
        }
        if worker.may_expire(now) || self.ticks.is_multiple_of(SWEEP_TICKS) {
            for job in worker.sweep_queue(now) {
                self.pool.place(job);
            }
        }
        if !is_stuck {
            return;
        }
        // One that is stuck between two calls runs none of those it has.
        let load = worker.in_flight() + usize::from(worker.running().is_none());
        let is_better = |other: &Arc<Worker>| other.takes_calls() && other.in_flight() + 1 < load;
        if workers.iter().any(is_better) {
            // Some may come back to this one, at the end of its queue.
            for job in worker.take_movable() {
                self.pool.place(job);
            }
        }
    }

    /// Keeps a lost worker against the definition under whose call it was lost.
    fn blame(&mut self, call: &Call, error: &Error, now: Instant) {
        let Some(function) = self.pool.registry.function(&call.function) else { return };
        let Ok(definition) = &function.definition else { return };
        if definition.generation != call.generation {
            return;
        }
        let decision = definition.circuit_breaker.lost_a_worker(
            error,
            &self.pool.policy,
            now,
            &mut self.random,
        );
        let details = consequence(decision, &call.function);
        let draft = Draft::by(EventSource::Parent, details).call(call.id).error(error);
        self.pool.events.emit(draft);
    }

    /// Gives a worker up: nobody sends it calls any more, its queue is placed anew, and the policy
    /// says when another takes its place.
    fn lose(&mut self, worker: &Arc<Worker>, call: Option<&Call>, reason: &str, now: Instant) {
        let pool = Arc::clone(&self.pool);
        let message = EventDetails::WorkerError { message: reason.to_owned() };
        let draft = Draft::by(EventSource::Parent, message).worker(worker.id);
        pool.events.emit(match call {
            Some(call) => draft.call(call.id),
            None => draft,
        });
        let mut state = self.restarts.remove(&worker.id).unwrap_or_else(|| RestartState::new(now));
        let decision = state.failed(worker.has_served(), &pool.policy, now, &mut self.random);
        let will_return = !matches!(decision, Decision::Hold { .. });
        if will_return {
            pool.returning.fetch_add(1, Ordering::AcqRel);
        }
        worker.set_health(
            if will_return { HealthState::Restarting } else { HealthState::Stopped },
            Some(reason),
        );
        worker.drain();
        pool.change_workers(|workers| workers.retain(|other| other.id != worker.id));
        pool.lost.lock().unwrap_or_else(PoisonError::into_inner).push(WorkerHealth {
            worker_id: worker.id,
            health_state: worker.health(),
            pending_call_count: 0,
            restart_attempt: worker.restart_attempt,
        });
        if !worker.has_exited() {
            pool.abandon(worker);
        }
        self.progress.remove(&worker.id);
        self.overdue.remove(&worker.id);
        pool.registry.forget_worker(worker.id);
        pool.tell(worker, EventDetails::WorkerExited { failure_reason: Some(reason.to_owned()) });
        match decision {
            Decision::RestartNow { attempt } => {
                self.expect(worker, state, attempt, Duration::ZERO);
            }
            Decision::RestartAfter { attempt, delay } => self.expect(worker, state, attempt, delay),
            Decision::Hold { attempts } => {
                pool.tell(
                    worker,
                    EventDetails::WorkerRestartExhausted {
                        restart_attempt: attempts,
                        max_restarts_per_worker: pool.options.max_restarts_per_worker,
                    },
                );
                // Tried once more when its cool-down is over.
                let attempt = attempts.saturating_add(1);
                if pool.policy.restarts() {
                    self.absent.push(Absent { id: worker.id, state, attempt, is_awaited: false });
                }
            }
        }
        for job in worker.take_queue() {
            self.pool.place(job);
        }
    }

    fn expect(&mut self, lost: &Worker, state: RestartState, attempt: u32, delay: Duration) {
        self.pool.tell(
            lost,
            EventDetails::WorkerRestartScheduled { restart_attempt: attempt, restart_delay: delay },
        );
        self.absent.push(Absent { id: lost.id, state, attempt, is_awaited: true });
    }

    /// Replaces lost workers whose time has come.
    fn replace(&mut self, now: Instant) {
        // Each that was given up still has a thread; there is an end to what a pool may leave behind.
        if self.absent.is_empty() || self.pool.abandoned() >= MAX_ABANDONED {
            return;
        }
        let mut at = 0;
        while at < self.absent.len() {
            if self.absent[at].state.opens_at() > now {
                at += 1;
                continue;
            }
            let absent = self.absent.swap_remove(at);
            if !absent.is_awaited {
                self.pool.returning.fetch_add(1, Ordering::AcqRel);
            }
            self.replace_one(absent, now);
        }
    }

    fn replace_one(&mut self, mut absent: Absent, now: Instant) {
        let pool = Arc::clone(&self.pool);
        let worker = match pool.spawn_worker(absent.attempt) {
            Ok(worker) => worker,
            Err(error) => {
                let decision = absent.state.failed(false, &pool.policy, now, &mut self.random);
                let exhausted = matches!(decision, Decision::Hold { .. });
                let details = EventDetails::WorkerRestartFailed {
                    restart_attempt: absent.attempt,
                    exhausted,
                };
                pool.events.emit(Draft::by(EventSource::Parent, details).error(&error));
                match decision {
                    Decision::RestartNow { attempt } => {
                        self.absent.push(Absent { attempt, is_awaited: true, ..absent });
                    }
                    Decision::RestartAfter { attempt, .. } => {
                        self.absent.push(Absent { attempt, is_awaited: true, ..absent });
                    }
                    Decision::Hold { .. } => {
                        let mut lost = pool.lost.lock().unwrap_or_else(PoisonError::into_inner);
                        lost.iter_mut()
                            .filter(|lost| lost.worker_id == absent.id)
                            .for_each(|lost| lost.health_state = HealthState::Stopped);
                        drop(lost);
                        pool.returning.fetch_sub(1, Ordering::AcqRel);
                        self.absent.push(Absent { is_awaited: false, ..absent });
                    }
                }
                return;
            }
        };
        let attempt = absent.attempt;
        self.restarts.insert(worker.id, absent.state);
        if !pool.change_workers(|workers| workers.push(Arc::clone(&worker))) {
            // The pool stops.
            worker.drain();
            return;
        }
        pool.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|lost| lost.worker_id != absent.id);
        // Its thread may take a moment to come up; calls wait for it meanwhile.
        pool.returning.fetch_sub(1, Ordering::AcqRel);
        pool.tell(&worker, EventDetails::WorkerRestartCompleted { restart_attempt: attempt });
    }
}
