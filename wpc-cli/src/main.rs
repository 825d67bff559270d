//! The command `wpc`.

mod bench;
mod call;
mod constant;
mod failure;
mod grant;
mod inspect;
mod target;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use failure::Failure;
use std::process::ExitCode;

/// Looks into WebAssembly functions, and calls them in their sandbox.
#[derive(Parser)]
#[command(name = "wpc", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Prints JSON, errors included.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  something of the machine's did not: a file, a thread
  2  the command line is wrong
  3  the module, or what it was to be given, was refused
  4  the function returned an error
  5  the function trapped or went past a limit
  6  the function reached its time limit";

#[derive(Subcommand)]
enum Command {
    /// Tells what a module offers and what it needs. Runs none of it.
    #[command(after_help = "Example:\n  wpc inspect resize.wasm")]
    Inspect(inspect::Arguments),
    /// Calls a function with JSON, and prints what it returns as JSON.
    #[command(after_help = "Examples:
  wpc call math.wasm add 40 2
  wpc call shop.wasm order '[{\"item\": \"tea\", \"count\": 2}]' '{\"tea\": 3}'
  wpc call label.wasm label /a/b.txt --const SERVICE_PREFIX='\"demo\"' --dep path_dep=path.wasm
  wpc call shout.wasm shout --grant stdin --grant output < notes.txt")]
    Call(call::Arguments),
    /// Calls a function over and over, and tells how many calls a second it serves and how long they take.
    #[command(after_help = "Examples:
  wpc bench math.wasm add 40 2
  wpc bench math.wasm add 40 2 --outstanding 1 --workers 1 --seconds 2")]
    Bench(bench::Arguments),
    /// Prints the completions for a shell.
    #[command(after_help = "Example:\n  wpc completions bash > /etc/bash_completion.d/wpc")]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && std::env::args().any(|word| word == "--json") => {
            return Failure::usage(error.render().to_string().trim_end()).tell(true);
        }
        Err(error) => error.exit(),
    };
    let result = match arguments.command {
        Command::Inspect(inspected) => inspect::run(&inspected, arguments.json),
        Command::Bench(measured) => bench::run(&measured, arguments.json),
        Command::Call(called) => call::run(&called, arguments.json),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "wpc", &mut script);
            print(&script)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(arguments.json),
    }
}

/// Writes to standard output; whoever reads it may be gone.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::machine(format!("standard output: {error}")))
}

/// The bytes of a module's file.
fn read_module(path: &std::path::Path) -> Result<wpc_host::WasmModule, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::machine(format!("`{}`: {error}", path.display())))?;
    Ok(wpc_host::WasmModule::new(bytes))
}
