//! Finished requests as log lines.

use crate::event_log::{self, Level};
use crate::text::escape;
use serde_json::json;
use std::time::SystemTime;
use wpc_server::FinishedRequest;

/// Which requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AccessLog {
    Off,
    /// Those with a status of 400 or higher, and those whose client disconnected.
    Failed,
    All,
}

/// Whether a client only asked which modules it has to upload, as each deployment of new modules does.
pub(crate) fn is_question(request: &FinishedRequest) -> bool {
    request.code.as_deref() == Some("modules_missing")
}

/// The severity of a request's line.
pub(crate) fn level(request: &FinishedRequest) -> Level {
    match request.status {
        Some(..500) => Level::Info,
        Some(_) | None => Level::Warn,
    }
}

pub(crate) fn json_line(request: &FinishedRequest, now: SystemTime) -> String {
    let mut line = json!({
        "event": "request",
        "time": event_log::time(now),
        "level": level(request).name(),
        "method": request.method,
        "route": request.route,
        "status": request.status,
        "duration_ms": request.duration.as_secs_f64() * 1e3,
    });
    if let Some(call) = request.call {
        line["call"] = u64::from(call).into();
    }
    let texts = [
        ("code", &request.code),
        ("function", &request.function),
        ("trace", &request.trace),
        ("principal", &request.principal),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            line[name] = text.as_str().into();
        }
    }
    line.to_string()
}

pub(crate) fn text_line(request: &FinishedRequest, now: SystemTime) -> String {
    let mut line = format!("{} [{}]", event_log::time(now), level(request).name());
    let call = request.call.map(|call| call.to_string());
    for part in [&call, &request.function].into_iter().flatten() {
        line += &format!(" {part}");
    }
    let status = match (request.status, &request.code) {
        (Some(status), Some(code)) => format!("{status} ({code})"),
        (Some(status), None) => status.to_string(),
        (None, _) => "aborted by the client".to_owned(),
    };
    let milliseconds = request.duration.as_secs_f64() * 1e3;
    line += &format!(": {} {} {status} in {milliseconds:.3} ms", request.method, request.route);
    for (name, text) in [("trace", &request.trace), ("principal", &request.principal)] {
        if let Some(text) = text {
            line += &format!(", {name} {text}");
        }
    }
    escape(&line)
}
