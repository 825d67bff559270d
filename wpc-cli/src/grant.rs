//! The grants of a command line, applied to a module.

use crate::failure::Failure;
use crate::terminal;
use std::io::{stderr, stdin};
use std::sync::LazyLock;
use wpc_deploy::{Streams, grant};
use wpc_host::{Input, Output, WasmModule};

pub(crate) const HELP: &str = "Grant a capability to the module; may be given several times:
clock, random, function=NAME, arg=TEXT, env=NAME=VALUE, stdin, output, read=FOLDER[:NAME], write=FOLDER[:NAME], wasi
(`wasi`: the WASI imports of standard libraries, without arguments, environment or input;
`stdin`: standard input, read as it arrives). Output of `_start` is\nwritten unchanged to standard output and standard error; output of other functions is shown as log lines";

/// Applies all grants together. A program's output is its result, and is written unchanged;
/// [`terminal::program_output_end`] reports whether it could be. A function's output is shown as log lines, so it
/// cannot be mistaken for a line of this command.
pub(crate) fn apply(
    module: WasmModule,
    grants: &[String],
    is_program: bool,
) -> Result<WasmModule, Failure> {
    let (out, err) = if is_program {
        // The pool runs no other calls that would wait for it.
        (Output::inline_writer(terminal::program_output()?), Output::inline_writer(stderr()))
    } else {
        (Output::events(), Output::events())
    };
    grant(module, grants, &Streams::process(out, err, input()))
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Standard input, which all modules share that it is granted to.
fn input() -> Input {
    static INPUT: LazyLock<Input> = LazyLock::new(|| Input::reader(stdin()));
    INPUT.clone()
}
