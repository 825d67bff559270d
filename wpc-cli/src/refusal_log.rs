//! Refused clients as log lines.

use crate::event_log::{self, Level};
use crate::text::count;
use serde_json::json;
use std::time::SystemTime;
use wpc_server::Refused;

/// The severity of each line.
pub(crate) const LEVEL: Level = Level::Info;

pub(crate) fn json_line(refused: &Refused, now: SystemTime) -> String {
    json!({
        "event": "client_refused",
        "time": event_log::time(now),
        "level": LEVEL.name(),
        "reason": refused.reason.as_str(),
        "client": refused.client,
        "left_out": refused.left_out,
    })
    .to_string()
}

pub(crate) fn text_line(refused: &Refused, now: SystemTime) -> String {
    let (time, level) = (event_log::time(now), LEVEL.name());
    let mut line = format!("{time} [{level}] refused a client: {}", refused.reason.as_str());
    if let Some(client) = refused.client {
        line += &format!(", from {client}");
    }
    if refused.left_out > 0 {
        line += &format!("; {} since the previous line", count(refused.left_out, "more refusal"));
    }
    line
}
