//! The options of a pool and of a call. All of them are validated before they take effect.

use crate::error::Error;
use crate::event::FailureSeverities;
use crate::id::{CallContext, FunctionHash, TraceContext};
use std::sync::Arc;
use std::time::Duration;

/// The options of a pool. No duration may be longer than a year, and only the jitter may be zero.
///
/// ```
/// use std::time::Duration;
/// use wpc_host::Options;
///
/// let options = Options::default().call_timeout(Duration::from_secs(5));
/// ```
///
/// Each field has a method of the same name that sets it. Future versions may add fields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// How long a call may take from its acceptance to its answer, including waiting, unless the call or the function's
    /// definition sets another limit. Default 30 s.
    pub call_timeout: Duration,
    /// How long [`start_workers`](crate::WorkerProcedureCall::start_workers) waits for all threads to be ready. Default
    /// 10 s.
    pub start_timeout: Duration,
    /// How long [`stop_workers`](crate::WorkerProcedureCall::stop_workers) waits for accepted calls to
    /// finish before it interrupts them. Default 10 s.
    pub stop_timeout: Duration,
    /// How long a worker may fail to react after its call's time limit or cancellation before it is considered unresponsive:
    /// its thread is abandoned and replaced. This happens only after the call has run for as long as its function's own limit
    /// allows, so that a caller's shorter limit does not cause a worker to be replaced. The call is answered earlier in any
    /// case. Also how long a stop waits for interrupted calls before it abandons their workers. Default 1 s.
    pub unresponsive_worker_grace: Duration,
    /// Whether failed sandboxes and unresponsive workers are replaced. Default true. If false, one failure of a function
    /// opens its circuit breaker on that worker until the function is redefined or revived.
    pub restart_on_failure: bool,
    /// The number of consecutive restarts, without an answer in between, after which a function's circuit breaker opens on a
    /// worker. After the same number of replacements, an unresponsive worker is not replaced until the cool-down is over.
    /// Default 3; with 0, each restart waits for the cool-down.
    pub max_restarts_per_worker: u32,
    /// The delay before the first restart that is not immediate. It doubles with each further restart. Default 100 ms.
    pub restart_base_delay: Duration,
    /// The longest delay, including jitter. Default 5 s.
    pub restart_max_delay: Duration,
    /// The maximum random addition to a delay, so that workers do not restart at the same time. Default 100 ms.
    pub restart_jitter: Duration,
    /// The seed of the jitter, to make it reproducible. Default `None`: a random seed.
    pub restart_jitter_seed: Option<u64>,
    /// How long a function's circuit breaker on a worker stays open before it admits a trial call. Also the time after which a
    /// worker whose restarts are used up is replaced again. Default 60 s.
    pub circuit_breaker_cool_down: Duration,
    /// How many unanswered calls a worker may have, apart from those that functions make to each other. Default 10,000.
    pub max_pending_calls_per_worker: usize,
    /// How many calls may wait in the overflow queue, for capacity or for a function's restart. Once it is full, such calls
    /// are refused with [`Error::Saturated`]. Default 10,000.
    pub max_waiting_calls: usize,
    /// How many module instances may exist in the whole pool. A sandbox has one, and one more for each of its dependencies.
    /// If all are used, a new sandbox replaces the one that was idle longest: a worker with at least its equal share drops
    /// one of its own, other workers drop one of the worker with the most. Each instance reserves 4 GiB of address space, not
    /// memory, and as much again for each other compiler setting in use: with fuel, with its own stack size, with canonical
    /// NaNs, for calls that can suspend. Between 1 and 10,000. Default 1,000.
    pub max_live_instances: u32,
    /// How many of the [`max_live_instances`](Self::max_live_instances) may be in use by calls that can suspend, whether they run
    /// or are suspended. Further such calls wait, so that calls to other functions always find instances. From 1 to
    /// `max_live_instances`. Default `None`: three quarters of them.
    pub max_suspended_instances: Option<u32>,
    /// The [time slice](crate::Limits::time_slice) of functions that can suspend and whose definition sets none, so that a
    /// function that computes for a long time does not delay the others. At least 1 ms. Default `None`: only definitions set
    /// one.
    pub time_slice: Option<Duration>,
    /// How many threads run blocking host functions, and the readers, writers and pipes for which WASI guests wait. They are
    /// started when they are needed. If all are busy, further tasks wait for a thread. A thread whose host function has not
    /// returned when its call ends is abandoned; up to 64 of these are replaced. Between 1 and 1,024. Default 64.
    pub max_helper_threads: usize,
    /// The tokio runtime whose timers and sockets async host functions use. Default `None`: the multi-threaded runtime within
    /// which the pool is created, or one with a single thread that the pool starts when it is first needed. Requires the
    /// feature `tokio`.
    #[cfg(feature = "tokio")]
    pub runtime: Option<tokio::runtime::Handle>,
    /// The stack of a guest, in bytes. A guest that overflows it traps. Between 64 KiB and 64 MiB. Default 512 KiB.
    pub max_wasm_stack: usize,
    /// The folder of the compile cache, which stores compiled code by the module's content and the compiler's settings, so
    /// that later processes need not compile the module again. It must be an absolute path, and is created if it is missing.
    /// The least recently used entries are deleted beyond 512 MiB. Entries are native code. Each is verified with a key of
    /// the folder before it is loaded; a damaged entry, or one of another module, is replaced and reported. A folder that
    /// users other than this one and root can change is refused. Default `None`: no cache. Requires the
    /// feature `compile-cache`.
    #[cfg(feature = "compile-cache")]
    pub compile_cache: Option<std::path::PathBuf>,
    /// The severities of the events of failed calls. Default: a guest error is `Info`, a reached limit `Warn`, a trap
    /// `Error`.
    pub failure_severities: FailureSeverities,
    /// How many events may wait for slow listeners. Further events are dropped and counted. Default 4,096.
    pub max_waiting_events: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(30),
            start_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(10),
            unresponsive_worker_grace: Duration::from_secs(1),
            restart_on_failure: true,
            max_restarts_per_worker: 3,
            restart_base_delay: Duration::from_millis(100),
            restart_max_delay: Duration::from_secs(5),
            restart_jitter: Duration::from_millis(100),
            restart_jitter_seed: None,
            circuit_breaker_cool_down: Duration::from_secs(60),
            max_pending_calls_per_worker: 10_000,
            max_waiting_calls: 10_000,
            max_live_instances: 1_000,
            max_suspended_instances: None,
            time_slice: None,
            max_helper_threads: 64,
            #[cfg(feature = "tokio")]
            runtime: None,
            max_wasm_stack: 512 * 1024,
            #[cfg(feature = "compile-cache")]
            compile_cache: None,
            failure_severities: FailureSeverities::default(),
            max_waiting_events: 4_096,
        }
    }
}

/// The longest allowed duration. Every platform can represent a point in time that far away.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// The shortest time slice: guests are checked once in this time.
const MIN_TIME_SLICE: Duration = Duration::from_millis(1);

/// Whether a time slice may have this length.
pub(crate) fn is_time_slice(length: Duration) -> bool {
    (MIN_TIME_SLICE..=MAX_DURATION).contains(&length)
}

impl Options {
    setters! {
        call_timeout: Duration,
        start_timeout: Duration,
        stop_timeout: Duration,
        unresponsive_worker_grace: Duration,
        restart_on_failure: bool,
        max_restarts_per_worker: u32,
        restart_base_delay: Duration,
        restart_max_delay: Duration,
        restart_jitter: Duration,
        restart_jitter_seed: u64 => Some,
        circuit_breaker_cool_down: Duration,
        max_pending_calls_per_worker: usize,
        max_waiting_calls: usize,
        max_live_instances: u32,
        max_suspended_instances: impl Into<Option<u32>> => Into::into,
        time_slice: impl Into<Option<Duration>> => Into::into,
        max_helper_threads: usize,
        #[cfg(feature = "tokio")]
        runtime: impl Into<Option<tokio::runtime::Handle>> => Into::into,
        max_wasm_stack: usize,
        #[cfg(feature = "compile-cache")]
        compile_cache: impl Into<Option<std::path::PathBuf>> => Into::into,
        failure_severities: FailureSeverities,
        max_waiting_events: usize,
    }

    /// How many instances calls that can suspend may use.
    pub(crate) fn suspended_instances(&self) -> usize {
        let most = self.max_live_instances.saturating_mul(3).div_ceil(4);
        self.max_suspended_instances.unwrap_or(most) as usize
    }

    /// Checks every option.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`], which names every invalid option.
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
            ("unresponsive_worker_grace", self.unresponsive_worker_grace),
            ("restart_base_delay", self.restart_base_delay),
            ("restart_max_delay", self.restart_max_delay),
            ("circuit_breaker_cool_down", self.circuit_breaker_cool_down),
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
            self.max_suspended_instances
                .is_none_or(|most| (1..=self.max_live_instances).contains(&most)),
            "`max_suspended_instances` must be from 1 to `max_live_instances`",
        );
        check(
            self.time_slice.is_none_or(is_time_slice),
            "`time_slice` must be at least 1 ms and at most one year",
        );
        check(
            (1..=1_024).contains(&self.max_helper_threads),
            "`max_helper_threads` must be from 1 to 1,024",
        );
        check(
            (64 * 1024..=64 * 1024 * 1024).contains(&self.max_wasm_stack),
            "`max_wasm_stack` must be from 64 KiB to 64 MiB",
        );
        #[cfg(feature = "compile-cache")]
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

/// The options of one call.
///
/// ```
/// use std::time::Duration;
/// use wpc_host::CallOptions;
///
/// let options = CallOptions::new().timeout(Duration::from_millis(50)).affinity("user-17");
/// ```
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) fuel: Option<u64>,
    pub(crate) pin: Option<FunctionHash>,
    pub(crate) affinity: Option<u64>,
    pub(crate) wait_for_capacity: bool,
    pub(crate) within_limits: bool,
    pub(crate) context: Option<Arc<CallContext>>,
}

impl CallOptions {
    /// Options that use the function's settings, and otherwise the pool's.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the call may take from its acceptance to its answer, including waiting, instead of what the definition allows.
    /// Zero and more than a year are refused with [`Error::InvalidCallOptions`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How much fuel the call may use, instead of what the definition allows. If the definition does not meter fuel, see
    /// [`Limits::fuel`](crate::Limits::fuel), the call is refused with [`Error::InvalidCallOptions`].
    #[must_use]
    pub fn fuel(mut self, fuel: u64) -> Self {
        self.fuel = Some(fuel);
        self
    }

    /// Requires this version of the function's module. If another one is defined, the call is refused.
    #[must_use]
    pub fn pin(mut self, hash: FunctionHash) -> Self {
        self.pin = Some(hash);
        self
    }

    /// Dispatches calls with the same key to the same worker, as long as that worker admits the function. If that worker is
    /// saturated, the call is refused or waits even if other workers have capacity.
    #[must_use]
    pub fn affinity(mut self, key: impl std::hash::Hash) -> Self {
        use std::hash::BuildHasher as _;
        self.affinity = Some(rustc_hash::FxBuildHasher.hash_one(key));
        self
    }

    /// If the workers are saturated, waits for capacity within the time limit instead of failing at once.
    #[must_use]
    pub fn wait_for_capacity(mut self) -> Self {
        self.wait_for_capacity = true;
        self
    }

    /// Lets [`timeout`](Self::timeout) and [`fuel`](Self::fuel) only lower what the definition allows; higher values have no
    /// effect. For applications that pass on the wishes of clients that they do not trust.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpc_host::CallOptions;
    ///
    /// // A client that requests a year gets the definition's own limit.
    /// let requested = Duration::from_secs(365 * 24 * 3600);
    /// let options = CallOptions::new().timeout(requested).within_limits();
    /// ```
    #[must_use]
    pub fn within_limits(mut self) -> Self {
        self.within_limits = true;
        self
    }

    /// The trace that the call belongs to. The call's `tracing` span, the events of its failure,
    /// [`FinishedCall`](crate::FinishedCall) and [`HostContext`](crate::HostContext) carry it.
    ///
    /// ```
    /// use wpc_host::{CallOptions, TraceContext};
    ///
    /// // The header `traceparent` of a request.
    /// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// let mut options = CallOptions::new().correlation_id("request-17");
    /// // A request with an invalid header is served without a trace.
    /// if let Ok(context) = header.parse::<TraceContext>() {
    ///     options = options.trace_context(context);
    /// }
    /// ```
    #[must_use]
    pub fn trace_context(mut self, context: TraceContext) -> Self {
        self.context_mut().trace = Some(context);
        self
    }

    /// The trace that [`trace_context`](Self::trace_context) set.
    #[must_use]
    pub fn get_trace_context(&self) -> Option<&TraceContext> {
        self.context.as_ref()?.trace.as_ref()
    }

    /// What [`timeout`](Self::timeout) set.
    #[must_use]
    pub fn get_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The time limit of a call whose definition allows `own`.
    #[inline]
    #[must_use]
    pub fn time_limit(&self, own: Duration) -> Duration {
        match self.timeout {
            None => own,
            Some(chosen) if self.within_limits => chosen.min(own),
            Some(chosen) => chosen,
        }
    }

    /// What [`fuel`](Self::fuel) set.
    #[must_use]
    pub fn get_fuel(&self) -> Option<u64> {
        self.fuel
    }

    /// Whether [`within_limits`](Self::within_limits) was set.
    #[must_use]
    pub fn is_within_limits(&self) -> bool {
        self.within_limits
    }

    /// What [`pin`](Self::pin) set.
    #[must_use]
    pub fn get_pin(&self) -> Option<FunctionHash> {
        self.pin
    }

    /// A hash of the key that [`affinity`](Self::affinity) set.
    #[must_use]
    pub fn get_affinity(&self) -> Option<u64> {
        self.affinity
    }

    /// Whether [`wait_for_capacity`](Self::wait_for_capacity) was set.
    #[must_use]
    pub fn waits_for_capacity(&self) -> bool {
        self.wait_for_capacity
    }

    /// What [`correlation_id`](Self::correlation_id) set.
    #[must_use]
    pub fn get_correlation_id(&self) -> Option<&str> {
        self.context.as_ref()?.correlation_id()
    }

    /// The caller's own identifier of the call, such as that of a request. It is reported where
    /// [`trace_context`](Self::trace_context) is. It must have 1 to 256 bytes without control characters; otherwise the
    /// call is refused with [`Error::InvalidCallOptions`].
    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.context_mut().correlation_id = Some(id.into());
        self
    }

    fn context_mut(&mut self) -> &mut CallContext {
        Arc::make_mut(self.context.get_or_insert_default())
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
    fn all_invalid_options_are_reported_together() {
        let options = Options {
            call_timeout: Duration::ZERO,
            restart_base_delay: Duration::from_secs(9),
            max_pending_calls_per_worker: 0,
            ..Options::default()
        };
        let Err(Error::InvalidOptions { problems }) = options.validate() else {
            panic!("the options are valid")
        };
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}

/// The options of one call whose items are read.
///
/// ```
/// use std::time::Duration;
/// use wpc_host::{CallOptions, StreamOptions};
///
/// let call = CallOptions::new().timeout(Duration::from_secs(60));
/// let options = StreamOptions::new().call(call).max_waiting_items(16);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamOptions {
    /// The options of the call.
    pub call: CallOptions,
    /// How many items may wait for the caller before the function is suspended. The default is 1,024.
    pub max_waiting_items: usize,
    /// How many bytes these items may have, encoded, with 8 more for each. A larger item waits alone. The default is
    /// 1 MiB.
    pub max_waiting_bytes: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { call: CallOptions::default(), max_waiting_items: 1024, max_waiting_bytes: 1 << 20 }
    }
}

impl StreamOptions {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        call: CallOptions,
        max_waiting_items: usize,
        max_waiting_bytes: usize,
    }
}
