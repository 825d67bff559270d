//! What an embedder chooses: for the pool, and for one call. Checked all at once, before anything
//! changes.

use crate::error::Error;
use crate::event::FailureSeverities;
use crate::id::FunctionHash;
use std::path::PathBuf;
use std::time::Duration;

/// The choices that hold for a whole pool. No duration may be longer than a year, and only the
/// jitter may be zero.
///
/// ```
/// use std::time::Duration;
/// use wpc_host::Options;
///
/// let options = Options { call_timeout: Duration::from_secs(5), ..Options::default() };
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a call may take from its acceptance to its answer, waiting included, where neither
    /// the call nor the function's definition says otherwise. Default 30 s.
    pub call_timeout: Duration,
    /// How long the threads of [`start_workers`](crate::WorkerProcedureCall::start_workers) may take
    /// to come up, all together. Default 10 s.
    pub start_timeout: Duration,
    /// How long [`stop_workers`](crate::WorkerProcedureCall::stop_workers) lets accepted calls
    /// finish before it interrupts them. Default 10 s.
    pub stop_timeout: Duration,
    /// How long past its limit, or its cancel, a call's worker may stay silent before it is given up as lost and its
    /// thread replaced (its call is answered before); also how long a stop waits for interrupted calls
    /// before it gives their workers up. Default 1 s.
    pub lost_worker_grace: Duration,
    /// Whether failed sandboxes and lost workers are replaced. Default true. Without it a function
    /// that failed on a worker is held there until it is redefined or revived.
    pub restart_on_failure: bool,
    /// How many restarts in a row, without an answer in between, before a function is held on a
    /// worker, or a worker that is lost again and again is not replaced for the cool-down. Default 3; 0
    /// waits for the cool-down each time.
    pub max_restarts_per_worker: u32,
    /// The delay before the first restart that is not immediate; doubles with each further one.
    /// Default 100 ms.
    pub restart_base_delay: Duration,
    /// The longest delay, jitter included. Default 5 s.
    pub restart_max_delay: Duration,
    /// Up to how much is added to a delay at random, so that workers do not restart in step.
    /// Default 100 ms; zero adds nothing.
    pub restart_jitter: Duration,
    /// Makes the jitter repeatable. Default `None`: another one each time.
    pub restart_jitter_seed: Option<u64>,
    /// How long a function is held on a worker before one trial call may go through, and how long a
    /// worker whose restarts are used up stays away before it is replaced once more. Default 60 s.
    pub hold_cool_down: Duration,
    /// How many accepted calls a worker may have unanswered. Default 10,000.
    pub max_pending_calls_per_worker: usize,
    /// How many calls may wait for room or for a function to come back. At the bound a call that
    /// would wait is refused as saturated. Default 10,000.
    pub max_waiting_calls: usize,
    /// How many module instances may be alive in the whole pool; a sandbox has one, and one more
    /// for each of its dependencies. Where all are used, the longest idle sandbox is dropped for a new one: a worker
    /// that has its equal share or more drops one of its own, others one of the worker that has most. Address space, not memory, is set aside for them: 4 GiB each,
    /// and as much again for each other kind of code that is defined: with fuel, with a stack of its
    /// own, with canonical NaNs. From 1 to 10,000. Default 1,000.
    pub max_live_instances: u32,
    /// How much stack a guest may use, in bytes; going past it ends its sandbox. From 64 KiB to
    /// 64 MiB. Default 512 KiB.
    pub max_wasm_stack: usize,
    /// The folder in which compiled code is kept, by its module's content and the compiler's settings, so
    /// that no process compiles what another did. An absolute path; it is created where it is missing, and
    /// what was not used for longest is deleted once there are 512 MiB. Its files are native code. Each is verified
    /// with a key of the folder before it is loaded: a damaged file, or one of another module, is replaced and reported.
    /// A folder in which other users than this one and root can change anything is refused. Default `None`: each
    /// process compiles for itself.
    pub compile_cache: Option<PathBuf>,
    /// How much the events of failed calls matter, by what ended the call. Default: a guest's own error is
    /// information, a reached limit a warning, a trap an error.
    pub failure_severities: FailureSeverities,
    /// How many events may wait for slow listeners before further ones are dropped and counted.
    /// Default 4,096.
    pub max_waiting_events: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(30),
            start_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(10),
            lost_worker_grace: Duration::from_secs(1),
            restart_on_failure: true,
            max_restarts_per_worker: 3,
            restart_base_delay: Duration::from_millis(100),
            restart_max_delay: Duration::from_secs(5),
            restart_jitter: Duration::from_millis(100),
            restart_jitter_seed: None,
            hold_cool_down: Duration::from_secs(60),
            max_pending_calls_per_worker: 10_000,
            max_waiting_calls: 10_000,
            max_live_instances: 1_000,
            max_wasm_stack: 512 * 1024,
            compile_cache: None,
            failure_severities: FailureSeverities::default(),
            max_waiting_events: 4_096,
        }
    }
}

/// The longest any duration may be: a moment that far away can be told on every platform.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(60 * 60 * 24 * 365);

impl Options {
    /// Checks every choice.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] that names every choice that is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        for (name, duration) in [
            ("call_timeout", self.call_timeout),
            ("start_timeout", self.start_timeout),
            ("stop_timeout", self.stop_timeout),
            ("lost_worker_grace", self.lost_worker_grace),
            ("restart_base_delay", self.restart_base_delay),
            ("restart_max_delay", self.restart_max_delay),
            ("hold_cool_down", self.hold_cool_down),
        ] {
            check(!duration.is_zero(), &format!("`{name}` must be longer than zero"));
            check(duration <= MAX_DURATION, &format!("`{name}` must be at most a year"));
        }
        check(self.restart_jitter <= MAX_DURATION, "`restart_jitter` must be at most a year");
        check(
            self.restart_base_delay <= self.restart_max_delay,
            "`restart_base_delay` must not be longer than `restart_max_delay`",
        );
        check(
            self.max_pending_calls_per_worker > 0,
            "`max_pending_calls_per_worker` must be at least 1",
        );
        check(
            (1..=10_000).contains(&self.max_live_instances),
            "`max_live_instances` must be from 1 to 10,000",
        );
        check(
            (64 * 1024..=64 * 1024 * 1024).contains(&self.max_wasm_stack),
            "`max_wasm_stack` must be from 64 KiB to 64 MiB",
        );
        check(
            self.compile_cache.as_ref().is_none_or(|folder| folder.is_absolute()),
            "`compile_cache` must be an absolute path",
        );
        check(
            (1..=1 << 20).contains(&self.max_waiting_events),
            "`max_waiting_events` must be from 1 to 1,048,576",
        );
        if problems.is_empty() { Ok(()) } else { Err(Error::InvalidOptions { problems }) }
    }
}

/// The choices that hold for one call.
///
/// ```
/// use std::time::Duration;
/// use wpc_host::CallOptions;
///
/// let options = CallOptions::new().time_limit(Duration::from_millis(50)).affinity("user-17");
/// ```
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    pub(crate) time_limit: Option<Duration>,
    pub(crate) fuel: Option<u64>,
    pub(crate) pin: Option<FunctionHash>,
    pub(crate) affinity: Option<u64>,
    pub(crate) wait_for_room: bool,
}

impl CallOptions {
    /// The function's own choices, then the pool's.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the call may take from its acceptance to its answer, waiting included. Zero, and
    /// more than a year, is refused with [`Error::InvalidCallOptions`].
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// How much fuel the call may use. Needs a definition that meters fuel, see
    /// [`Limits::fuel`](crate::Limits::fuel); without one it is refused with
    /// [`Error::InvalidCallOptions`].
    #[must_use]
    pub fn fuel(mut self, fuel: u64) -> Self {
        self.fuel = Some(fuel);
        self
    }

    /// The module that must answer; another version is refused.
    #[must_use]
    pub fn pin(mut self, hash: FunctionHash) -> Self {
        self.pin = Some(hash);
        self
    }

    /// Sends calls of the same key to the same worker while that worker can take the function. When
    /// that worker is full the call is refused as saturated, or waits, although others have room.
    #[must_use]
    pub fn affinity(mut self, key: impl std::hash::Hash) -> Self {
        use std::hash::BuildHasher as _;
        self.affinity = Some(rustc_hash::FxBuildHasher.hash_one(key));
        self
    }

    /// At saturation, waits for room within the time limit instead of failing at once.
    #[must_use]
    pub fn wait_for_room(mut self) -> Self {
        self.wait_for_room = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert!(Options::default().validate().is_ok());
    }

    #[test]
    fn every_wrong_choice_is_named_at_once() {
        let options = Options {
            call_timeout: Duration::ZERO,
            restart_base_delay: Duration::from_secs(9),
            max_pending_calls_per_worker: 0,
            ..Options::default()
        };
        let Err(Error::InvalidOptions { problems }) = options.validate() else {
            panic!("it is refused")
        };
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
