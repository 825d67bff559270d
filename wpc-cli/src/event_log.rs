//! Writes events of a pool as lines to standard error: guests' log lines, failures and restarts, with time, level,
//! worker, call and function.

use crate::terminal;
use crate::text::escape;
use serde_json::{Value, json};
use std::time::SystemTime;
use wpc_host::{EventDetails, Severity, WorkerEvent};

/// The minimum severity of the lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Level {
    /// No events or log lines.
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn of(event: &WorkerEvent) -> Self {
        match &event.details {
            EventDetails::GuestLog { level, .. } => match level.as_str() {
                "error" => Self::Error,
                "warn" => Self::Warn,
                "debug" => Self::Debug,
                "trace" => Self::Trace,
                // Output to `stdout` and `stderr` does not have a level.
                _ => Self::Info,
            },
            // These occur at every start and stop of a worker.
            EventDetails::WorkerSpawned { .. }
            | EventDetails::WorkerReady {}
            | EventDetails::WorkerHealthStateChanged { .. }
            | EventDetails::WorkerShutdownRequested {}
            | EventDetails::WorkerExited { failure_reason: None } => Self::Debug,
            // A rejected definition is reported separately, with its position in the manifest.
            EventDetails::DefinitionRefused { .. } => Self::Debug,
            _ => match event.severity {
                Severity::Debug => Self::Debug,
                Severity::Info => Self::Info,
                Severity::Warn => Self::Warn,
                Severity::Error => Self::Error,
            },
        }
    }
}

/// A listener that writes events of at least this severity to standard error.
pub(crate) fn lines(as_json: bool, level: Level) -> impl Fn(&WorkerEvent) + Send + Sync + 'static {
    move |event| {
        if let Some(line) = line(event, as_json, level) {
            // The reader of standard error may be gone.
            terminal::note(&line);
        }
    }
}

/// The line of an event, if it has at least this severity.
pub(crate) fn line(event: &WorkerEvent, as_json: bool, level: Level) -> Option<String> {
    let found = Level::of(event);
    let write = || if as_json { json_line(event, found) } else { text_line(event, found) };
    (found <= level).then(write)
}

/// A line about the process itself, as JSON.
pub(crate) fn json_notice(event: &str, level: Level, fields: Value) -> String {
    let time = time(SystemTime::now());
    let mut line = json!({ "event": event, "time": time, "level": level.name() });
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        line.extend(fields);
    }
    line.to_string()
}

/// The timestamp of a log line, in UTC.
pub(crate) fn time(moment: SystemTime) -> String {
    humantime::format_rfc3339_millis(moment).to_string()
}

fn json_line(event: &WorkerEvent, level: Level) -> String {
    let mut line = json!({
        "event": event.event_name(),
        "time": time(event.timestamp),
        "level": level.name(),
        "worker": event.worker_id,
        "call": event.correlation_id,
    });
    if let EventDetails::GuestLog { function_name, level, message } = &event.details {
        line["event"] = "log".into();
        line["function"] = function_name.as_str().into();
        // The function's own label, which may also be `stdout` or `stderr`.
        line["level"] = level.as_str().into();
        line["message"] = message.as_str().into();
        return line.to_string();
    }
    if let Value::Object(details) = details(event) {
        for (name, value) in details {
            let (name, value) = match name.as_str() {
                "function_name" => ("function", value),
                // The library writes durations as seconds and nanoseconds.
                "restart_delay" => ("restart_delay_ms", milliseconds(&value)),
                other => (other, value),
            };
            line[name] = value;
        }
    }
    if let Some(error) = &event.error {
        line["error"] = json!({
            "code": error.code.as_str(),
            "name": error.name,
            "message": error.message,
            "stack": error.stack,
        });
    }
    line.to_string()
}

/// The event's own fields.
fn details(event: &WorkerEvent) -> Value {
    let mut named = serde_json::to_value(&event.details).unwrap_or_default();
    named["details"].take()
}

fn milliseconds(duration: &Value) -> Value {
    let part = |name: &str| duration[name].as_u64().unwrap_or_default();
    Value::from(part("secs").saturating_mul(1_000) + part("nanos") / 1_000_000)
}

fn text_line(event: &WorkerEvent, level: Level) -> String {
    let mut line = time(event.timestamp);
    let mut details = match details(event) {
        Value::Object(details) => details,
        _ => serde_json::Map::new(),
    };
    let mut take =
        |name: &str| details.remove(name).and_then(|value| Some(value.as_str()?.to_owned()));
    let function = take("function_name");
    let text = match &event.details {
        EventDetails::GuestLog { level, message, .. } => {
            line += &format!(" [{level}]");
            details.clear();
            message.clone()
        }
        _ => {
            line += &format!(" [{}]", level.name());
            event.event_name().replace('_', " ")
        }
    };
    if let Some(worker) = event.worker_id {
        line += &format!(" {worker}");
    }
    if let Some(call) = event.correlation_id {
        line += &format!(" {call}");
    }
    if let Some(function) = function {
        line += &format!(" {function}");
    }
    line += &format!(": {text}");
    for (name, value) in details {
        let value = match &value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            duration @ Value::Object(_) => format!("{}ms", milliseconds(duration)),
            other => other.to_string(),
        };
        line += &format!(", {} {value}", name.replace('_', " "));
    }
    if let Some(error) = &event.error {
        line += &format!(": {} ({})", error.message, error.code.as_str());
    }
    escape(&line)
}
