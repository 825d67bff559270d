//! Observations: what happened, told to listeners and to `tracing`. Nothing in the runtime waits
//! for an event or decides by one.
//!
//! Whoever emits pushes into a bounded queue and goes on; one thread takes events out and calls the
//! listeners in the order they were added. A slow listener fills the queue, and what does not fit
//! is dropped and counted; a panicking one is reported and stays.

pub(crate) mod observer;

use crate::error::Error;
use crate::error::code::ErrorCode;
use crate::id::{CallId, Counter, ListenerId, WorkerId};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::mpsc::{Receiver, sync_channel};
use crate::sync::thread::Thread;
use crate::sync::{ArcSwap, ConcurrentQueue, Mutex, thread};
use crate::system::contain::contain;
use crate::system::offload::{keeps_time, observe};
use crate::system::os_limits;
use serde::Serialize;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// How long the end of a pool waits for listeners to hear what is left. A listener that blocks is
/// left behind with its thread.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The longest text of a guest that an event carries, in bytes: thousands may wait for a listener.
const MAX_TEXT: usize = 16 * 1024;

/// One observation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerEvent {
    /// Counts up from 1 within a pool, in the order of emission.
    pub event_id: u64,
    /// The worker it is about, if it is about one.
    pub worker_id: Option<WorkerId>,
    /// Who saw it.
    pub source: EventSource,
    /// How much it matters.
    pub severity: Severity,
    /// When it was emitted.
    pub timestamp: SystemTime,
    /// The call it belongs to, if it belongs to one.
    pub correlation_id: Option<CallId>,
    /// The failure it tells of, if it tells of one.
    pub error: Option<EventError>,
    /// What happened.
    pub details: EventDetails,
}

impl WorkerEvent {
    /// The event's stable name, such as `worker_ready`.
    #[must_use]
    pub fn event_name(&self) -> &'static str {
        self.details.event_name()
    }
}

/// Who saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventSource {
    /// A worker's thread.
    Worker,
    /// The supervisor, or a thread that used the pool's handle.
    Parent,
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Things go their way.
    Info,
    /// Something failed and is being mended, or looks wrong.
    Warn,
    /// Something failed.
    Error,
}

/// How much the event of a failed call matters, by what ended the call.
///
/// ```
/// use wpc_host::{FailureSeverities, Options, Severity};
///
/// let severities = FailureSeverities::new().guest_error(Severity::Warn);
/// let options = Options { failure_severities: severities, ..Options::default() };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureSeverities {
    /// An error that the function returned, or that its caller caused: arguments that do not fit. Default
    /// [`Severity::Info`]: it is what a validator is for.
    pub guest_error: Severity,
    /// A limit that the call reached, a cancel, a stop. Default [`Severity::Warn`].
    pub limit: Severity,
    /// A trap, or a reply that breaks the contract. Default [`Severity::Error`].
    pub trap: Severity,
}

impl Default for FailureSeverities {
    fn default() -> Self {
        Self { guest_error: Severity::Info, limit: Severity::Warn, trap: Severity::Error }
    }
}

impl FailureSeverities {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how much a function's own error matters.
    #[must_use]
    pub fn guest_error(mut self, severity: Severity) -> Self {
        self.guest_error = severity;
        self
    }

    /// Sets how much a reached limit matters.
    #[must_use]
    pub fn limit(mut self, severity: Severity) -> Self {
        self.limit = severity;
        self
    }

    /// Sets how much a trap matters.
    #[must_use]
    pub fn trap(mut self, severity: Severity) -> Self {
        self.trap = severity;
        self
    }

    pub(crate) fn of(&self, error: &Error) -> Severity {
        match error {
            Error::Guest { .. } | Error::BadArguments { .. } => self.guest_error,
            Error::Timeout { .. }
            | Error::OutOfFuel { .. }
            | Error::OutOfMemory { .. }
            | Error::OutOfTableElements { .. }
            | Error::StackOverflow { .. }
            | Error::LogLimit { .. }
            | Error::ResultTooLarge { .. }
            | Error::TooManyOpenFiles { .. }
            | Error::InstancesInUse { .. }
            | Error::ConstantNotDefined { .. }
            | Error::Cancelled { .. }
            | Error::Stopped { .. } => self.limit,
            _ => self.trap,
        }
    }
}

/// The failure an event tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventError {
    /// The error's stable code.
    pub code: ErrorCode,
    /// The name a guest gave its error; the code's text for all others.
    pub name: String,
    /// What happened, for a person.
    pub message: String,
    /// Where it happened; empty where that is not known.
    pub stack: String,
}

impl From<&Error> for EventError {
    fn from(error: &Error) -> Self {
        let code = error.code();
        let (name, stack) = match error {
            Error::Guest { error, .. } => (error.name.clone(), error.stack.clone()),
            Error::Trap { stack, .. } | Error::UncaughtException { stack, .. } => {
                (code.as_str().to_owned(), stack.clone())
            }
            _ => (code.as_str().to_owned(), String::new()),
        };
        let [name, message, stack] = [name, error.to_string(), stack].map(cut);
        Self { code, name, message, stack }
    }
}

/// The text's beginning.
fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.shrink_to_fit();
    }
    text
}

/// What a worker can do at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Its thread is coming up.
    Starting,
    /// It takes calls of every function.
    Ready,
    /// Some function failed on it and has not answered since: it backs off, is held, or is about to
    /// be tried again. It takes calls of the others.
    Degraded,
    /// Its thread was lost and is being replaced.
    Restarting,
    /// It takes no calls any more.
    Stopped,
}

macro_rules! details {
    ($($(#[$doc:meta])* $variant:ident $name:literal $severity:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty),* $(,)? }),+ $(,)?) => {
        /// What happened, with what belongs to it.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        #[non_exhaustive]
        pub enum EventDetails {
            $($(#[$doc])* $variant { $($(#[$field_doc])* $field: $ty),* }),+
        }

        impl EventDetails {
            /// The event's stable name.
            #[must_use]
            pub fn event_name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name),+ }
            }

            /// How much it matters, unless what belongs to it says otherwise.
            fn usual_severity(&self) -> Severity {
                match self { $(Self::$variant { .. } => Severity::$severity),+ }
            }
        }
    };
}

details! {
    /// A worker's thread was started.
    WorkerSpawned "worker_spawned" Info {
        /// 0 for a worker of `start_workers`, else which replacement in a row.
        restart_attempt: u32,
    },
    /// A worker's thread is up.
    WorkerReady "worker_ready" Info {},
    /// A worker's health changed.
    WorkerHealthStateChanged "worker_health_state_changed" Info {
        /// To this.
        health_state: HealthState,
        /// For this reason.
        reason: Option<String>,
    },
    /// A worker was told to drain and end.
    WorkerShutdownRequested "worker_shutdown_requested" Info {},
    /// A worker's thread ended.
    WorkerExited "worker_exited" Info {
        /// Why, where it should not have.
        failure_reason: Option<String>,
    },
    /// A worker died or fell silent, and was given up.
    WorkerError "worker_error" Error {
        /// What is known.
        message: String,
    },
    /// A lost worker will be replaced.
    WorkerRestartScheduled "worker_restart_scheduled" Warn {
        /// Which replacement in a row.
        restart_attempt: u32,
        /// After this.
        restart_delay: Duration,
    },
    /// A lost worker was replaced.
    WorkerRestartCompleted "worker_restart_completed" Info {
        /// Which replacement in a row.
        restart_attempt: u32,
    },
    /// A replacement's thread could not be started.
    WorkerRestartFailed "worker_restart_failed" Warn {
        /// Which replacement in a row.
        restart_attempt: u32,
        /// Whether it was the last try.
        exhausted: bool,
    },
    /// A lost worker is not replaced any more.
    WorkerRestartExhausted "worker_restart_exhausted" Error {
        /// How many replacements there were in a row.
        restart_attempt: u32,
        /// How many there may be.
        max_restarts_per_worker: u32,
    },
    /// A call ended with a failure of its function: a guest error or a failure of its sandbox. Its severity depends on which,
    /// see [`FailureSeverities`].
    CallExecutionFailed "call_execution_failed" Error {
        /// The function.
        function_name: String,
    },
    /// A function's sandbox was dropped after a failure.
    SandboxFailed "sandbox_failed" Warn {
        /// The function.
        function_name: String,
    },
    /// A failed sandbox will be made anew.
    SandboxRestartScheduled "sandbox_restart_scheduled" Warn {
        /// The function.
        function_name: String,
        /// Which restart since its last answer.
        restart_attempt: u32,
        /// Not before this.
        restart_delay: Duration,
    },
    /// A sandbox that had failed answered again.
    SandboxRecovered "sandbox_recovered" Info {
        /// The function.
        function_name: String,
    },
    /// A function failed too often on a worker and is not tried there any more.
    SandboxHeld "sandbox_held" Error {
        /// The function.
        function_name: String,
        /// How many restarts were tried.
        restart_attempts: u32,
    },
    /// A held function may be tried again, because somebody said so or its cool-down is over.
    SandboxRevived "sandbox_revived" Info {
        /// The function.
        function_name: String,
    },
    /// A definition was refused, and nothing was changed.
    DefinitionRefused "definition_refused" Warn {
        /// What was to be defined: `function`, `dependency`, `constant` or `host function`.
        what: String,
        /// Its name.
        name: String,
    },
    /// A guest wrote a line: to the log, or to an output of WASI's.
    GuestLog "guest_log" Info {
        /// The function that was called.
        function_name: String,
        /// How loud: `error`, `warn`, `info`, `debug` or `trace`; or where to: `stdout` or `stderr`.
        level: String,
        /// The line.
        message: String,
    },
    /// An entry of the compile cache was damaged or is not ours; the module was compiled and the entry replaced.
    CompileCacheEntryRejected "compile_cache_entry_rejected" Warn {
        /// The entry's file.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A module was compiled, and its code could not be kept in the compile cache.
    CompileCacheWriteFailed "compile_cache_write_failed" Warn {
        /// The entry's file.
        entry: String,
        /// Why not.
        reason: String,
    },
    /// Events were dropped, because listeners were too slow for them.
    EventsDropped "events_dropped" Warn {
        /// How many.
        count: u64,
    },
    /// A listener panicked; it stays.
    ListenerPanicked "listener_panicked" Error {
        /// Which.
        listener_id: ListenerId,
    },
}

/// An event before it has its number.
#[derive(Clone)]
pub(crate) struct Draft {
    source: EventSource,
    worker: Option<WorkerId>,
    call: Option<CallId>,
    error: Option<EventError>,
    severity: Severity,
    details: EventDetails,
}

impl Draft {
    pub(crate) fn by(source: EventSource, details: EventDetails) -> Self {
        let severity = details.usual_severity();
        Self { source, worker: None, call: None, error: None, severity, details }
    }

    pub(crate) fn worker(mut self, id: WorkerId) -> Self {
        self.worker = Some(id);
        self
    }

    pub(crate) fn call(mut self, id: CallId) -> Self {
        self.call = Some(id);
        self
    }

    pub(crate) fn error(mut self, error: &Error) -> Self {
        self.error = Some(error.into());
        self
    }

    pub(crate) fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

impl Draft {
    /// Passes the event to `tracing`.
    ///
    /// A subscriber is the embedder's code. One that panics on a guest's line costs the worker whose guest wrote it, which
    /// is replaced; elsewhere its panic is contained. A thread that keeps time does not wait for it.
    fn trace(&self) {
        if self.level() > LevelFilter::current() {
            return;
        }
        if keeps_time() {
            let draft = self.clone();
            observe(move || draft.pass_to_subscriber());
        } else if matches!(self.details, EventDetails::GuestLog { .. }) {
            self.pass_to_subscriber();
        } else {
            drop(contain(|| self.pass_to_subscriber()));
        }
    }

    /// A guest's line has more levels than events have.
    fn level(&self) -> Level {
        let level = match &self.details {
            EventDetails::GuestLog { level, .. } => level.as_str(),
            _ => "",
        };
        match (self.severity, level) {
            (_, "debug") => Level::DEBUG,
            (_, "trace") => Level::TRACE,
            (Severity::Info, _) => Level::INFO,
            (Severity::Warn, _) => Level::WARN,
            (Severity::Error, _) => Level::ERROR,
        }
    }

    fn pass_to_subscriber(&self) {
        let worker = self.worker.map(|id| id.0);
        let call = self.call.map(|id| id.0);
        let error = self.error.as_ref().map(|error| error.message.as_str());
        let details = &self.details;
        let name = details.event_name();
        macro_rules! at {
            ($level:ident) => {
                tracing::$level!(target: "wpc", worker, call, error, ?details, "{name}")
            };
        }
        match self.level() {
            Level::TRACE => at!(trace),
            Level::DEBUG => at!(debug),
            Level::INFO => at!(info),
            Level::WARN => at!(warn),
            Level::ERROR => at!(error),
        }
    }
}

type Listen = dyn Fn(&WorkerEvent) + Send + Sync;

#[derive(Clone)]
struct Listener {
    id: ListenerId,
    listen: Arc<Listen>,
    active: Arc<AtomicBool>,
}

/// Where events go; cheap to clone.
#[derive(Clone)]
pub(crate) struct Events(Arc<Shared>);

struct Shared {
    listeners: ArcSwap<Vec<Listener>>,
    waiting: ConcurrentQueue<WorkerEvent>,
    dropped: AtomicU64,
    event_ids: Counter,
    listener_ids: Counter,
    teller: Mutex<Option<Teller>>,
    /// The teller's thread, to be woken without the lock.
    teller_thread: std::sync::OnceLock<Thread>,
}

struct Teller {
    thread: Thread,
    ended: Receiver<()>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("listeners", &self.0.listeners.load().len()).finish()
    }
}

impl Events {
    pub(crate) fn new(max_waiting: usize) -> Self {
        Self(Arc::new(Shared {
            listeners: ArcSwap::default(),
            waiting: ConcurrentQueue::bounded(max_waiting),
            dropped: AtomicU64::new(0),
            event_ids: Counter::default(),
            listener_ids: Counter::default(),
            teller: Mutex::new(None),
            teller_thread: std::sync::OnceLock::new(),
        }))
    }

    pub(crate) fn add_listener(&self, listen: Arc<Listen>) -> Result<ListenerId, Error> {
        let mut teller = self.0.teller.lock().unwrap_or_else(PoisonError::into_inner);
        if teller.is_none() {
            let shared = Arc::clone(&self.0);
            let (ends, ended) = sync_channel(1);
            let what = "the listeners' thread";
            let handle = os_limits::start_thread(what, os_limits::USUAL_STACK, || {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the one thread that calls listeners"
                )]
                thread::Builder::new().name("wpc-events".to_owned()).spawn(move || {
                    shared.tell();
                    let _ = ends.send(());
                })
            })?;
            let thread = handle.thread().clone();
            let _ = self.0.teller_thread.set(thread.clone());
            *teller = Some(Teller { thread, ended });
        }
        let id = ListenerId(self.0.listener_ids.next());
        let listener = Listener { id, listen, active: Arc::new(AtomicBool::new(true)) };
        self.0.listeners.rcu(|listeners| {
            let mut listeners = Vec::clone(listeners);
            listeners.push(listener.clone());
            listeners
        });
        Ok(id)
    }

    pub(crate) fn remove_listener(&self, id: ListenerId) -> bool {
        let before = self.0.listeners.rcu(|listeners| {
            listeners.iter().filter(|listener| listener.id != id).cloned().collect::<Vec<_>>()
        });
        match before.iter().find(|listener| listener.id == id) {
            Some(listener) => {
                listener.active.store(false, Ordering::SeqCst);
                true
            }
            None => false,
        }
    }

    pub(crate) fn emit(&self, draft: Draft) {
        draft.trace();
        let Draft { source, worker, call, error, severity, details } = draft;
        if self.0.listeners.load().is_empty() {
            return;
        }
        let event = WorkerEvent {
            event_id: self.0.event_ids.next(),
            worker_id: worker,
            source,
            severity,
            timestamp: SystemTime::now(),
            correlation_id: call,
            error,
            details,
        };
        if self.0.waiting.push(event).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(thread) = self.0.teller_thread.get() {
            thread.unpark();
        }
    }

    /// Lets the thread tell what waits and end. Waits for it a little, but not for a listener that
    /// blocks, nor for itself.
    pub(crate) fn close(&self) {
        self.0.waiting.close();
        let teller = self.0.teller.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Teller { thread, ended }) = teller else { return };
        thread.unpark();
        if thread.id() != thread::current().id() {
            // An answer, a disconnection and the end of spin-then-park policy are all the same here.
            let _ = ended.recv_timeout(LAST_WORDS);
        }
    }
}

impl Shared {
    fn tell(&self) {
        loop {
            match self.waiting.pop() {
                Ok(event) => self.tell_all(&event),
                Err(concurrent_queue::PopError::Empty) => thread::park(),
                Err(concurrent_queue::PopError::Closed) => return,
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                self.tell_own(EventDetails::EventsDropped { count: dropped });
            }
        }
    }

    /// An event of this thread's own, told at once: in the queue it could be dropped itself.
    fn tell_own(&self, details: EventDetails) {
        let draft = Draft::by(EventSource::Parent, details);
        draft.trace();
        self.tell_all(&WorkerEvent {
            event_id: self.event_ids.next(),
            worker_id: None,
            source: draft.source,
            severity: draft.severity,
            timestamp: SystemTime::now(),
            correlation_id: None,
            error: None,
            details: draft.details,
        });
    }

    fn tell_all(&self, event: &WorkerEvent) {
        let listeners = self.listeners.load_full();
        for listener in listeners.iter() {
            if !listener.active.load(Ordering::SeqCst) {
                continue;
            }
            let told = contain(|| (listener.listen)(event));
            let about_panics = matches!(event.details, EventDetails::ListenerPanicked { .. });
            if told.is_err() && !about_panics {
                self.tell_own(EventDetails::ListenerPanicked { listener_id: listener.id });
            }
        }
    }
}
