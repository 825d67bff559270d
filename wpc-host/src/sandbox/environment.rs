//! What the sandboxes of a worker share, why a guest ends without a reply, and how its lines for people
//! are told and counted.

use crate::call::{Call, Interrupt};
use crate::codec::payload::Refused;
use crate::event::observer::Observer;
use crate::event::{Draft, EventDetails, EventSource, Events, Severity};
use crate::host_function::HostFunction;
use crate::id::WorkerId;
use crate::name_map::NameMap;
use crate::system::epoch_ticker::EpochTicker;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// The longest log line or panic message that is kept, in bytes; the rest of it is cut off. A line
/// is for people, and thousands of these fit the events' queue.
pub(super) const MAX_TEXT: usize = 16 * 1024;

/// How many bytes a log line counts beyond its text: about what its event takes.
pub(super) const LINE_COST: usize = 64;

/// The constants' values, encoded, by name.
pub(crate) type Constants = NameMap<[u8]>;

/// The embedder's functions, by name.
pub(crate) type HostFunctions = NameMap<HostFunction>;

/// Why a guest's execution ended without a reply. Travels through the engine as its error.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("interrupted")]
    Interrupted(Interrupt),
    #[error("{0}")]
    Contract(String),
    #[error("the result has {found} bytes")]
    ResultTooLarge { found: usize },
    #[error("the program of module {at} exited with {status}")]
    Exited { at: usize, status: i32 },
    #[error("{used} bytes were logged")]
    LogLimit { used: usize },
    #[error(transparent)]
    Refused(Refused),
    #[error("the arguments do not fit: {0}")]
    BadArguments(String),
    #[error("constant \"{0}\" is not defined")]
    ConstantNotDefined(String),
    #[error("{0}")]
    Link(String),
    #[error("{0}")]
    Init(String),
    #[error("{0}")]
    Exception(String),
}

/// What every sandbox of a worker shares.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) worker: WorkerId,
    pub(crate) events: Events,
    pub(crate) constants: Arc<ArcSwap<Constants>>,
    pub(crate) host_functions: Arc<ArcSwap<HostFunctions>>,
    /// Set when whatever runs on the worker has to end.
    pub(crate) stopping: Arc<AtomicBool>,
    /// Whether the worker's thread does what may take any time, and is no call: nobody is to count on it.
    pub(crate) is_occupied: AtomicBool,
    /// The supervisor's clock.
    pub(crate) ticker: Arc<EpochTicker>,
    /// Who observes calls that have run.
    pub(crate) observer: Arc<Observer>,
    /// Where the monotonic clock counts from.
    pub(crate) started: Instant,
    pub(crate) max_wasm_stack: usize,
    /// How many instances the worker may keep alive.
    pub(crate) max_instances: usize,
}

impl Environment {
    /// Why the call should end now, if it should.
    pub(super) fn interrupt(&self, call: Option<&Call>, now: Instant) -> Option<Interrupt> {
        call?.should_end(&self.stopping, now)
    }
}

/// Counts what a call writes for people. Only the worker's thread touches it, in several places.
#[derive(Debug)]
pub(super) struct Volume {
    used: AtomicUsize,
    pub(super) limit: usize,
}

impl Volume {
    pub(super) const fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    #[inline]
    pub(super) fn begin_call(&self) {
        self.used.store(0, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: usize) -> Result<(), Failure> {
        let used = self.used.load(Ordering::Relaxed).saturating_add(bytes);
        self.used.store(used, Ordering::Relaxed);
        if used > self.limit { Err(Failure::LogLimit { used }) } else { Ok(()) }
    }
}

/// Tells of a line that a guest wrote for people.
pub(super) fn tell_line(
    environment: &Environment,
    call: &Call,
    severity: Severity,
    level: &str,
    message: String,
) {
    let details = EventDetails::GuestLog {
        function_name: call.function.to_string(),
        level: level.to_owned(),
        message,
    };
    let draft = Draft::by(EventSource::Worker, details).severity(severity);
    environment.events.emit(draft.worker(environment.worker).call(call.id));
}
