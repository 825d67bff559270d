//! What the command reads and writes: modules' files, standard output, guests' lines.

use crate::failure::Failure;
use crate::words::printable;
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use wpc_host::{EventDetails, WasmModule, WorkerEvent};

/// Writes to standard output; whoever reads it may be gone.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::machine(format!("standard output: {error}")))
}

/// The bytes of a module's file.
pub(crate) fn read_module(path: &Path) -> Result<WasmModule, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::machine(format!("`{}`: {error}", path.display())))?;
    Ok(WasmModule::new(bytes))
}

/// Tells guests' lines on standard error, as they come.
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
            format!("[{level}] {}", printable(message))
        };
        // Whoever reads this may be gone.
        let _ = writeln!(anstream::stderr(), "{line}");
    }
}
