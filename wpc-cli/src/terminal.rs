//! Writes results to standard output, and guests' log lines to standard error.

use crate::failure::Failure;
use crate::text::escape;
use serde_json::json;
use std::io::Write as _;
use wpc_host::{EventDetails, WorkerEvent};

/// Writes to standard output; fails if its reader is gone.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    output()
        .and_then(|mut out| {
            out.write_all(bytes)?;
            out.flush()
        })
        .map_err(|error| Failure::environment(format!("standard output: {error}")))
}

/// Standard output without a buffer. In contrast to [`std::io::Stdout`], it reports a descriptor that cannot be written.
#[cfg(unix)]
pub(crate) fn output() -> std::io::Result<std::fs::File> {
    use std::os::fd::AsFd as _;
    crate::closed_output::check()?;
    std::io::stdout().as_fd().try_clone_to_owned().map(std::fs::File::from)
}

/// Standard output.
#[cfg(not(unix))]
pub(crate) fn output() -> std::io::Result<std::io::Stdout> {
    Ok(std::io::stdout())
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
