//! Writes results to standard output, and guests' log lines to standard error.

use crate::failure::Failure;
use crate::text::escape;
use serde_json::json;
use std::io::{self, Write};
use std::sync::OnceLock;
use wpc_host::{EventDetails, WorkerEvent};

/// Writes to standard output; fails if its reader is gone.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    output()
        .and_then(|mut out| {
            out.write_all(bytes)?;
            out.flush()
        })
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => failure(error),
        })
}

/// Writes a line to standard error, whose reader may be gone.
pub(crate) fn note(line: &str) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

fn failure(error: impl std::fmt::Display) -> Failure {
    Failure::environment(format!("failed to write to standard output: {error}"))
}

/// Standard output without a buffer. In contrast to [`std::io::Stdout`], it reports a descriptor that cannot be written.
#[cfg(unix)]
pub(crate) fn output() -> io::Result<std::fs::File> {
    use std::os::fd::AsFd as _;
    crate::closed_output::check()?;
    io::stdout().as_fd().try_clone_to_owned().map(std::fs::File::from)
}

/// Standard output.
#[cfg(not(unix))]
pub(crate) fn output() -> io::Result<io::Stdout> {
    Ok(io::stdout())
}

/// The error of the first write of a program's output that failed.
static PROGRAM_OUTPUT_ERROR: OnceLock<String> = OnceLock::new();

/// Standard output as the output of a program. Remembers an error, because a program may ignore it: Rust's `println!`
/// ignores a descriptor that cannot be written.
pub(crate) fn program_output() -> Result<impl Write + Send + 'static, Failure> {
    struct ProgramOutput<W>(W);

    impl<W: Write> Write for ProgramOutput<W> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let written = self.0.write(bytes);
            if let Err(error) = &written
                && error.kind() != io::ErrorKind::Interrupted
            {
                PROGRAM_OUTPUT_ERROR.get_or_init(|| error.to_string());
            }
            written
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    output().map(ProgramOutput).map_err(failure)
}

/// Fails if not all of a program's output could be written.
pub(crate) fn program_output_end() -> Result<(), Failure> {
    PROGRAM_OUTPUT_ERROR.get().map_or(Ok(()), |error| Err(failure(error)))
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
