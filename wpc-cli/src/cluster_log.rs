//! What the library of clusters logs, as lines of standard error.

use crate::event_log::{self, Level};
use crate::log_writer::LogWriter;
use crate::text::escape;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// The module of the library whose log is written.
const TARGET: &str = "wpc_cluster";

/// Writes the log of the library from now on, as long as there is the writer.
pub(crate) fn start(as_json: bool, level: Level, log: &Arc<LogWriter>) {
    let level = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // A process serves once, so no other subscriber was set.
    let log = Arc::downgrade(log);
    let _ = tracing::subscriber::set_global_default(Lines { as_json, level, log });
}

struct Lines {
    as_json: bool,
    level: LevelFilter,
    /// A subscriber lives as long as the process, and must not keep the writer.
    log: Weak<LogWriter>,
}

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Decided once, so that spans of calls cost nothing.
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_of_library = metadata.target().split("::").next() == Some(TARGET);
        is_of_library && metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let Some(log) = self.log.upgrade() else { return };
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let mut fields = Fields::default();
        event.record(&mut fields);
        log.line(fields.line(&event_log::time(SystemTime::now()), &level, self.as_json));
    }

    // No span is enabled.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.others.insert(field.name().to_owned(), value.into());
        }
    }

    fn line(self, time: &str, level: &str, as_json: bool) -> String {
        let Self { message, others } = self;
        if as_json {
            let mut line = Map::new();
            for (name, value) in
                [("event", "cluster"), ("time", time), ("level", level), ("message", &message)]
            {
                line.insert(name.to_owned(), value.into());
            }
            line.extend(others);
            return Value::Object(line).to_string();
        }
        let mut line = format!("{time} [{level}] cluster: {message}");
        for (name, value) in others {
            line += &format!(", {} {}", name.replace('_', " "), value.as_str().unwrap_or_default());
        }
        escape(&line)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_message_and_the_other_fields() {
        let fields = || Fields {
            message: "a report cannot be read".to_owned(),
            others: Map::from_iter([("node".to_owned(), Value::from("b\u{7}"))]),
        };
        let (time, level) = ("2030-01-01T00:00:00.000Z", "warn");
        let text = fields().line(time, level, false);
        assert_eq!(
            text,
            "2030-01-01T00:00:00.000Z [warn] cluster: a report cannot be read, node b\\u{7}"
        );
        let json: Value = serde_json::from_str(&fields().line(time, level, true)).unwrap();
        let expected = serde_json::json!({ "event": "cluster", "time": time, "level": level,
            "message": "a report cannot be read", "node": "b\u{7}" });
        assert_eq!(json, expected);
    }
}
