//! The grants of a command line, applied to a module.

use crate::failure::Failure;
use crate::terminal;
use std::io::stderr;
use std::sync::{Arc, OnceLock};
use wpc_deploy::file::{self, FileError};
use wpc_deploy::{GrantError, Streams, grant};
use wpc_host::{Output, WasmModule};

pub(crate) const HELP: &str = "Grant a capability to the module; may be given several times:
clock, random, arg=TEXT, env=NAME=VALUE, stdin, output, read=FOLDER[:NAME], write=FOLDER[:NAME], wasi
(`wasi`: the WASI imports of standard libraries, without arguments, environment or input). Output of `_start` is\nwritten unchanged to standard output and standard error; output of other functions is shown as log lines";

/// The maximum number of bytes of standard input for guests, because it is read into memory first.
const MAX_INPUT: usize = 1 << 30;

/// Applies all grants together. A program's output is its result, and is written unchanged;
/// [`terminal::program_output_end`] reports whether it could be. A function's output is shown as log lines, so that it
/// cannot be mistaken for a line of this command.
pub(crate) fn apply(
    module: WasmModule,
    grants: &[String],
    is_program: bool,
) -> Result<WasmModule, Failure> {
    let (out, err) = if is_program {
        (Output::writer(terminal::program_output()?), Output::writer(stderr()))
    } else {
        (Output::events(), Output::events())
    };
    grant(module, grants, &Streams::process(out, err, input)).map_err(|error| match error {
        GrantError::Input(error) => error.into(),
        error => Failure::usage(error.to_string()),
    })
}

/// Standard input, kept in memory: it can be read only once, but granted to several modules.
fn input() -> Result<Arc<[u8]>, FileError> {
    static INPUT: OnceLock<Arc<[u8]>> = OnceLock::new();
    if let Some(bytes) = INPUT.get() {
        return Ok(Arc::clone(bytes));
    }
    let bytes = file::read_standard_input(MAX_INPUT)?;
    Ok(Arc::clone(INPUT.get_or_init(|| bytes.into())))
}
