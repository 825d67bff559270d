//! Administrative actions that succeeded as log lines. Those that failed are requests that failed.

use crate::event_log::{self, Level};
use crate::text::escape;
use serde_json::{Value, json};
use std::time::SystemTime;
use wpc_server::{AuditRecord, AuditSubject};

/// Whether an action has a line.
pub(crate) fn is_logged(action: &AuditRecord) -> bool {
    action.outcome == "ok"
}

/// The severity of each line.
pub(crate) const LEVEL: Level = Level::Info;

pub(crate) fn json_line(action: &AuditRecord, now: SystemTime) -> String {
    let mut line = json!({
        "event": "administration",
        "time": event_log::time(now),
        "level": LEVEL.name(),
    });
    // A record is an object.
    if let (Value::Object(line), Ok(Value::Object(fields))) =
        (&mut line, serde_json::to_value(action))
    {
        line.extend(fields);
    }
    line.to_string()
}

pub(crate) fn text_line(action: &AuditRecord, now: SystemTime) -> String {
    let AuditRecord { principal, action: what, target, subject, .. } = action;
    let mut line = format!("{} [{}] {principal}: {what}", event_log::time(now), LEVEL.name());
    // The route may be the path.
    if !what.ends_with(target.as_str()) {
        line += &format!(" {target}");
    }
    match subject {
        Some(AuditSubject::Revision(revision)) => line += &format!(", revision {revision}"),
        Some(AuditSubject::Sha256(hash)) => line += &format!(", module {hash}"),
        _ => {}
    }
    escape(&line)
}
