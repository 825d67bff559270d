//! The table of events: their names, severities and fields.

use crate::event::{HealthState, Severity};
use crate::id::ListenerId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

macro_rules! details {
    ($($(#[$doc:meta])* $variant:ident $name:literal $severity:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty),* $(,)? }),+ $(,)?) => {
        /// What happened, with its data.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "name", content = "details")]
        #[non_exhaustive]
        pub enum EventDetails {
            $($(#[$doc])* #[serde(rename = $name)] $variant { $($(#[$field_doc])* $field: $ty),* }),+
        }

        impl EventDetails {
            /// Every event's name.
            pub const NAMES: &[&str] = &[$($name),+];

            /// The event's stable name.
            #[must_use]
            pub fn event_name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name),+ }
            }

            /// The severity, unless the event's data determine another.
            pub(super) fn usual_severity(&self) -> Severity {
                match self { $(Self::$variant { .. } => Severity::$severity),+ }
            }
        }
    };
}

details! {
    /// A worker's thread was started.
    WorkerSpawned "worker_spawned" Info {
        /// 0 for a worker of `start_workers`; otherwise the number of consecutive replacements, from 1.
        restart_attempt: u32,
    },
    /// A worker's thread is ready.
    WorkerReady "worker_ready" Info {},
    /// A worker's health changed.
    WorkerHealthStateChanged "worker_health_state_changed" Info {
        /// The new state.
        health_state: HealthState,
        /// Why it changed.
        reason: Option<String>,
    },
    /// A worker was requested to drain its queue and exit.
    WorkerShutdownRequested "worker_shutdown_requested" Info {},
    /// A worker's thread exited.
    WorkerExited "worker_exited" Info {
        /// Why, if the exit was unexpected.
        failure_reason: Option<String>,
    },
    /// A worker panicked or became unresponsive, and was abandoned.
    WorkerError "worker_error" Error {
        /// What is known about the cause.
        message: String,
    },
    /// A failed or unresponsive worker will be replaced.
    WorkerRestartScheduled "worker_restart_scheduled" Warn {
        /// The number of consecutive replacements, from 1.
        restart_attempt: u32,
        /// The delay until then.
        restart_delay: Duration,
    },
    /// A failed or unresponsive worker was replaced.
    WorkerRestartCompleted "worker_restart_completed" Info {
        /// The number of consecutive replacements, from 1.
        restart_attempt: u32,
    },
    /// A replacement's thread could not be started.
    WorkerRestartFailed "worker_restart_failed" Warn {
        /// The number of consecutive replacements, from 1.
        restart_attempt: u32,
        /// Whether it was the last attempt.
        exhausted: bool,
    },
    /// A failed or unresponsive worker is not replaced, because its restarts are used up.
    WorkerRestartExhausted "worker_restart_exhausted" Error {
        /// The number of consecutive replacements.
        restart_attempt: u32,
        /// The limit on consecutive replacements.
        max_restarts_per_worker: u32,
    },
    /// A call failed because its function returned an error or its sandbox failed. The severity depends on the failure, see
    /// [`FailureSeverities`](crate::FailureSeverities).
    CallExecutionFailed "call_execution_failed" Error {
        /// The function.
        function_name: String,
        /// The identifier that the caller passed with
        /// [`CallOptions::correlation_id`](crate::CallOptions::correlation_id).
        correlation_id: Option<String>,
        /// The trace that the caller passed with [`CallOptions::trace_context`](crate::CallOptions::trace_context).
        traceparent: Option<String>,
    },
    /// A function's sandbox was dropped after a failure.
    SandboxFailed "sandbox_failed" Warn {
        /// The function.
        function_name: String,
    },
    /// A failed sandbox will be instantiated again.
    SandboxRestartScheduled "sandbox_restart_scheduled" Warn {
        /// The function.
        function_name: String,
        /// The number of this restart, counted since the function last answered.
        restart_attempt: u32,
        /// The minimum delay until then.
        restart_delay: Duration,
    },
    /// A function answered again after its sandbox had failed.
    SandboxRecovered "sandbox_recovered" Info {
        /// The function.
        function_name: String,
    },
    /// A function's circuit breaker on a worker opened after repeated failures.
    CircuitOpened "circuit_opened" Error {
        /// The function.
        function_name: String,
        /// The number of attempted restarts.
        restart_attempts: u32,
    },
    /// A function with an open circuit breaker may be tried again: it was revived, or its cool-down is over.
    SandboxRevived "sandbox_revived" Info {
        /// The function.
        function_name: String,
    },
    /// A definition was refused; the previous definition stays active.
    DefinitionRefused "definition_refused" Warn {
        /// The kind of item: `function`, `dependency`, `constant` or `host function`.
        what: String,
        /// Its name.
        name: String,
    },
    /// A guest wrote a line to the log, or to a WASI output.
    GuestLog "guest_log" Info {
        /// The function that was called.
        function_name: String,
        /// The level: `error`, `warn`, `info`, `debug` or `trace`; or the WASI output: `stdout` or `stderr`.
        level: String,
        /// The line.
        message: String,
    },
    /// An entry of the compile cache did not verify. The module was compiled and the entry replaced.
    CompileCacheEntryRejected "compile_cache_entry_rejected" Warn {
        /// The entry's file.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A module was compiled, but its code could not be stored in the compile cache.
    CompileCacheWriteFailed "compile_cache_write_failed" Warn {
        /// The entry's file.
        entry: String,
        /// Why it could not be stored.
        reason: String,
    },
    /// Events were dropped because the listeners were too slow.
    EventsDropped "events_dropped" Warn {
        /// The number of dropped events.
        count: u64,
    },
    /// A listener panicked. It stays registered.
    ListenerPanicked "listener_panicked" Error {
        /// The listener.
        listener_id: ListenerId,
    },
}
