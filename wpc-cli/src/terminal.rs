//! What the command reads and writes: modules' files, standard output, guests' lines.

use crate::failure::Failure;
use crate::words::printable;
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

/// A guest's line, for people.
pub(crate) fn tell_line(event: &WorkerEvent) {
    if let EventDetails::GuestLog { level, message, .. } = &event.details {
        // Whoever reads this may be gone.
        let _ = writeln!(anstream::stderr(), "[{level}] {}", printable(message));
    }
}
