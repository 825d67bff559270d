//! Writes results to standard output, and guests' log lines to standard error.

use crate::failure::Failure;
use crate::text::escape;
use serde_json::json;
use std::io::Write as _;
use wpc_host::{EventDetails, WorkerEvent};

/// Writes to standard output; fails if its reader is gone.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::machine(format!("standard output: {error}")))
}

/// A listener that writes guests' log lines to standard error.
pub(crate) fn lines(as_json: bool) -> impl Fn(&WorkerEvent) + Send + Sync + 'static {
    move |event| {
        let EventDetails::GuestLog { function_name, level, message } = &event.details else {
            return;
        };
        let line = if as_json {
            let function = function_name;
            json!({ "event": "log", "function": function, "level": level, "message": message })
                .to_string()
        } else {
            format!("[{level}] {}", escape(message))
        };
        // The reader of standard error may be gone.
        let _ = writeln!(anstream::stderr(), "{line}");
    }
}
