//! The command `wpc`.

mod answer_writer;
mod bench;
mod build;
mod cache;
mod call;
mod constant;
mod declarations;
mod deployment;
mod event_log;
mod failure;
mod file;
mod grant;
mod inspect;
mod item;
mod language;
mod limit_options;
mod manifest;
mod module_file;
mod nearest;
mod new;
mod owners;
mod problem;
mod remedy;
mod run;
mod sdk;
mod serve;
mod signals;
mod source_check;
mod target;
mod terminal;
mod test;
mod text;
mod toolchain;
mod watch;

use cache::Cache;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use failure::Failure;
use remedy::Interface;
use std::process::ExitCode;

/// Makes, builds, calls and runs WebAssembly functions, each in its sandbox.
#[derive(Parser)]
#[command(name = "wpc", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Prints JSON, errors included.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    cache: Cache,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  something of the machine's did not: a file, a thread, standard input or output
  2  the command line is wrong
  3  the module, or what it was to be given, was refused
  4  the function returned an error
  5  the function trapped or went past a limit
  6  the function reached its time limit
  7  the project did not build, or a test of it failed
130  a second signal ended `wpc run` at once";

#[derive(Subcommand)]
enum Command {
    /// Makes a project: a function that greets, and a test of it.
    #[command(after_help = "Examples:
  wpc new hello
  wpc new hello --template serde
  wpc new hello --sdk 0.1
  wpc new hello --lang c")]
    New(new::Arguments),
    /// Compiles a project, or one source file, to a module.
    #[command(after_help = "Examples:
  wpc build
  wpc build hello --output hello.wasm
  wpc build math.wat
  wpc build --all              # with the projects of the manifest's modules, dependencies first

Which language it is the folder tells: Cargo.toml is Rust, package.json AssemblyScript, and *.c, *.zig and *.wat
are what they are. A `wpc.toml` there may choose the target, and tell types that a language cannot:

  [build]
  target = \"wasm32-wasip1\"
  [build.signatures]
  greet = \"(name: String) -> String\"")]
    Build(build::Arguments),
    /// Runs a pool as a manifest says: calls are JSON lines on standard input, answers on standard output.
    #[command(after_help = run::HELP)]
    Run(run::Arguments),
    /// Runs the tests of a manifest.
    #[command(after_help = "Example of a test in wpc.toml:
  [[tests]]
  function = \"greet\"
  arguments = [\"Ada\"]
  value = \"Hello, Ada!\"      # or: error = \"EmptyName\", a guest error's name or another's code")]
    Test(test::Arguments),
    /// Tells where compiled code is kept, and how much there is.
    #[command(after_help = "Examples:\n  wpc cache\n  wpc cache --clear")]
    Cache(cache::Arguments),
    /// Tells what a module offers and what it needs. Runs none of it.
    #[command(
        after_help = "Examples:\n  wpc inspect resize.wasm\n  wpc inspect .               # every module of ./wpc.toml"
    )]
    Inspect(inspect::Arguments),
    /// Calls a function with JSON, and prints what it returns as JSON.
    #[command(after_help = "Examples:
  wpc call math.wasm add 40 2
  wpc call . moderate 'some text'            # as ./wpc.toml defines it
  wpc call --manifest wpc.toml moderate 'some text'
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
    let mut arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && std::env::args().any(|word| word == "--json") => {
            return Failure::usage(error.render().to_string().trim_end())
                .report(true, Interface::Options);
        }
        Err(error) => error.exit(),
    };
    match &mut arguments.command {
        Command::Call(called) => called.target.sort_out(),
        Command::Bench(measured) => measured.target.sort_out(),
        _ => {}
    }
    let interface = match &arguments.command {
        Command::Run(_) | Command::Test(_) | Command::Build(_) => Interface::Manifest,
        Command::Call(called) => called.target.interface(),
        Command::Bench(measured) => measured.target.interface(),
        _ => Interface::Options,
    };
    let result = match arguments.command {
        Command::New(made) => new::run(&made, arguments.json),
        Command::Build(built) => build::run(&built, &arguments.cache, arguments.json),
        Command::Test(tested) => test::run(&tested, &arguments.cache, arguments.json),
        Command::Run(served) => run::run(&served, &arguments.cache, arguments.json),
        Command::Cache(asked) => cache::run(&asked, &arguments.cache, arguments.json),
        Command::Inspect(inspected) => inspect::run(&inspected, &arguments.cache, arguments.json),
        Command::Bench(measured) => bench::run(&measured, &arguments.cache, arguments.json),
        Command::Call(called) => call::run(&called, &arguments.cache, arguments.json),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "wpc", &mut script);
            terminal::print(&script)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(arguments.json, interface),
    }
}
