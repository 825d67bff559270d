//! The last events and calls, and the last failure of each function.

use super::samples::Samples;
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wpc_host::{EventDetails, FinishedCall, WorkerEvent};

/// How many events and calls are kept.
pub(crate) const KEPT: usize = 100;

/// How many sampled calls that succeeded are kept beside the failed ones.
const KEPT_SAMPLES: usize = 20;

/// How many functions' last failures are kept. If more functions fail, those that failed longest ago are dropped.
const MAX_FAILURES: usize = 1_024;

/// The maximum length of a kept text in bytes, because a guest or a client may have written it.
const MAX_TEXT: usize = 1_024;

/// An event.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventRecord {
    /// Counts up from 1.
    pub(crate) number: u64,
    /// In milliseconds since 1970.
    pub(crate) time: u64,
    pub(crate) name: &'static str,
    pub(crate) severity: wpc_host::Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) function: Option<String>,
    pub(crate) text: String,
}

/// A call that has ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CallRecord {
    /// Counts up from 1.
    pub(crate) number: u64,
    /// In milliseconds since 1970.
    pub(crate) time: u64,
    pub(crate) id: u64,
    pub(crate) function: String,
    /// The code of its error; absent if it returned a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<u64>,
    /// How long it ran, in milliseconds, if that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ran: Option<f64>,
    /// The trace that its caller passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
    /// The request id that its caller passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
}

/// The last failure of a function.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    /// In milliseconds since 1970.
    pub(crate) time: u64,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<u64>,
}

/// The last events and calls.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    last_number: u64,
    /// The events as the pool emitted them.
    pub(crate) log: VecDeque<WorkerEvent>,
    pub(crate) events: VecDeque<EventRecord>,
    /// Calls that failed.
    pub(crate) calls: VecDeque<CallRecord>,
    /// Some of the calls that succeeded.
    pub(crate) samples: VecDeque<CallRecord>,
    failures: HashMap<String, Failure>,
}

impl Recent {
    /// The last failure of the function, if there is one.
    pub(crate) fn failure(&self, function: &str) -> Option<&Failure> {
        self.failures.get(function)
    }

    pub(super) fn note(&mut self, event: &WorkerEvent, samples: &Samples) {
        push(&mut self.log, event.clone(), KEPT);
        let function = function(&event.details).map(str::to_owned);
        let time = millis(event.timestamp);
        let call = event.correlation_id.map(u64::from);
        let worker = event.worker_id.map(u64::from);
        if let Some((name, error)) = function.as_ref().zip(event.error.as_ref()) {
            let (code, message) = (error.code.as_str(), cut(&error.message));
            let failure = Failure { time, code, message, call };
            self.fail(name, failure);
        }
        match &event.details {
            EventDetails::CallExecutionFailed { function_name, correlation_id, traceparent } => {
                let error = event.error.as_ref();
                let number = self.next_number();
                let record = CallRecord {
                    number,
                    time,
                    id: call.unwrap_or_default(),
                    function: function_name.clone(),
                    code: error.map(|error| error.code.as_str()),
                    message: error.map(|error| cut(&error.message)).unwrap_or_default(),
                    worker,
                    ran: event.correlation_id.and_then(|id| samples.ran(id)).map(in_millis),
                    trace: traceparent.as_deref().map(cut),
                    request: correlation_id.as_deref().map(cut),
                };
                push(&mut self.calls, record, KEPT);
            }
            details => {
                let text = text(details, event.error.as_ref().map(|error| &*error.message));
                let (name, severity) = (event.event_name(), event.severity);
                let number = self.next_number();
                let record =
                    EventRecord { number, time, name, severity, worker, call, function, text };
                push(&mut self.events, record, KEPT);
            }
        }
    }

    /// Records that events were lost because too many occurred at once.
    pub(super) fn note_lost(&mut self, count: u64) {
        let number = self.next_number();
        let (name, severity) = ("events_dropped", wpc_host::Severity::Warn);
        let events = if count == 1 { "event was" } else { "events were" };
        let text = format!("{count} {events} lost because too many occurred at once");
        let time = millis(SystemTime::now());
        let (worker, call, function) = (None, None, None);
        let record = EventRecord { number, time, name, severity, worker, call, function, text };
        push(&mut self.events, record, KEPT);
    }

    /// Records sampled calls that succeeded.
    pub(super) fn note_succeeded(&mut self, calls: Vec<FinishedCall>) {
        let time = millis(SystemTime::now());
        for call in calls {
            let record = CallRecord {
                number: self.next_number(),
                time,
                id: call.call_id.into(),
                function: call.function_name.to_string(),
                code: None,
                message: String::new(),
                worker: Some(call.worker_id.into()),
                ran: Some(in_millis(call.ran)),
                trace: call.trace_context.map(|trace| trace.to_string()),
                request: call.correlation_id.as_deref().map(cut),
            };
            push(&mut self.samples, record, KEPT_SAMPLES);
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn fail(&mut self, function: &str, failure: Failure) {
        if self.failures.len() >= MAX_FAILURES && !self.failures.contains_key(function) {
            let oldest = self.failures.iter().min_by_key(|(_, failure)| failure.time);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.failures.remove(&name);
            }
        }
        self.failures.insert(function.to_owned(), failure);
    }
}

fn in_millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn push<T>(records: &mut VecDeque<T>, record: T, kept: usize) {
    if records.len() == kept {
        records.pop_front();
    }
    records.push_back(record);
}

/// In milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

/// The function that an event concerns.
fn function(details: &EventDetails) -> Option<&str> {
    match details {
        EventDetails::CallExecutionFailed { function_name, .. }
        | EventDetails::SandboxFailed { function_name }
        | EventDetails::SandboxRestartScheduled { function_name, .. }
        | EventDetails::SandboxRecovered { function_name }
        | EventDetails::CircuitOpened { function_name, .. }
        | EventDetails::SandboxRevived { function_name }
        | EventDetails::GuestLog { function_name, .. } => Some(function_name),
        EventDetails::DefinitionRefused { what, name } if what == "function" => Some(name),
        _ => None,
    }
}

/// The details of an event, in addition to its name, function and worker.
fn text(details: &EventDetails, error: Option<&str>) -> String {
    let text = match details {
        EventDetails::GuestLog { level, message, .. } => format!("{level}: {message}"),
        EventDetails::WorkerHealthStateChanged { health_state, reason } => {
            let state = format!("{health_state:?}").to_lowercase();
            reason.as_ref().map_or_else(|| state.clone(), |reason| format!("{state}: {reason}"))
        }
        EventDetails::WorkerExited { failure_reason: Some(reason) } => reason.clone(),
        EventDetails::WorkerError { message } => message.clone(),
        EventDetails::WorkerRestartScheduled { restart_attempt, restart_delay }
        | EventDetails::SandboxRestartScheduled { restart_attempt, restart_delay, .. } => {
            format!("attempt {restart_attempt} in {restart_delay:?}")
        }
        EventDetails::WorkerRestartCompleted { restart_attempt } => {
            format!("attempt {restart_attempt}")
        }
        EventDetails::WorkerRestartFailed { restart_attempt, exhausted } => {
            let end = if *exhausted { ", the last one" } else { "" };
            format!("attempt {restart_attempt}{end}")
        }
        EventDetails::WorkerRestartExhausted { restart_attempt, .. } => {
            format!("after {restart_attempt} consecutive replacements")
        }
        EventDetails::CircuitOpened { restart_attempts, .. } => {
            format!("after {restart_attempts} restarts")
        }
        EventDetails::DefinitionRefused { what, name } => format!("{what} {name}"),
        EventDetails::CompileCacheEntryRejected { entry, reason }
        | EventDetails::CompileCacheWriteFailed { entry, reason } => format!("{entry}: {reason}"),
        EventDetails::EventsDropped { count } => format!("{count} events"),
        _ => String::new(),
    };
    match error {
        Some(error) if text.is_empty() => cut(error),
        Some(error) => cut(&format!("{text}: {error}")),
        None => cut(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wpc_host::{ErrorCode, EventError, EventSource};

    fn failed(function: &str, at: u64, message: &str) -> WorkerEvent {
        let details = EventDetails::CallExecutionFailed {
            function_name: function.to_owned(),
            correlation_id: None,
            traceparent: None,
        };
        let time = UNIX_EPOCH + std::time::Duration::from_millis(at);
        let mut event = WorkerEvent::new(at, time, EventSource::Worker, details);
        event.error = Some(EventError::new(ErrorCode::Trap, message));
        event
    }

    #[test]
    fn the_last_failure_of_a_function_is_known() {
        let mut recent = Recent::default();
        recent.note(&failed("add", 1, "the first"), &Samples::default());
        recent.note(&failed("add", 2, "the second"), &Samples::default());
        assert_eq!(recent.failure("add").unwrap().message, "the second");
        assert_eq!(recent.calls.len(), 2);
        assert!(recent.failure("other").is_none());
    }

    #[test]
    fn kept_events_and_calls_are_bounded() {
        let mut recent = Recent::default();
        for at in 0..2_000 {
            let event = failed(&format!("function{at}"), at, &"é".repeat(10_000));
            recent.note(&event, &Samples::default());
        }
        assert_eq!((recent.calls.len(), recent.failures.len()), (KEPT, MAX_FAILURES));
        assert!(recent.failure("function1999").unwrap().message.len() <= MAX_TEXT);
        assert!(recent.failure("function0").is_none(), "the oldest is forgotten first");
    }
}
