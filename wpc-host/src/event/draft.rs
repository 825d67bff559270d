//! An event on its way to `tracing` and to the listeners.

use crate::error::Error;
use crate::event::{EventDetails, EventError, EventSource, Severity};
use crate::id::{CallId, WorkerId};
use crate::system::contain::contain;
use crate::system::offload::{is_time_critical, observe};
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// An event before it has a number and a timestamp.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(super) source: EventSource,
    pub(super) worker: Option<WorkerId>,
    pub(super) call: Option<CallId>,
    pub(super) error: Option<EventError>,
    pub(super) severity: Severity,
    pub(super) details: EventDetails,
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

    /// Passes the event to `tracing`.
    ///
    /// A subscriber is the embedder's code. If it panics on a guest's line, the worker that ran the guest is replaced;
    /// elsewhere the panic is contained. A time-critical thread, such as the supervisor, passes the event to another thread,
    /// so that it never waits for a subscriber.
    pub(super) fn trace(&self) {
        if self.level() > LevelFilter::current() {
            return;
        }
        if is_time_critical() {
            let draft = self.clone();
            observe(move || draft.pass_to_subscriber());
        } else if matches!(self.details, EventDetails::GuestLog { .. }) {
            self.pass_to_subscriber();
        } else {
            drop(contain(|| self.pass_to_subscriber()));
        }
    }

    /// The level for `tracing`. Lines of guests also have the level `trace`.
    fn level(&self) -> Level {
        let level = match &self.details {
            EventDetails::GuestLog { level, .. } => level.as_str(),
            _ => "",
        };
        match (self.severity, level) {
            (_, "trace") => Level::TRACE,
            (Severity::Debug, _) => Level::DEBUG,
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
