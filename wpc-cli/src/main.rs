//! The command `wpc`.

mod access_log;
mod access_options;
mod action_log;
mod agent;
mod answer_writer;
mod bench;
mod build;
mod cache;
mod call;
mod client;
#[cfg(unix)]
mod closed_output;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "cluster")]
mod cluster_call;
#[cfg(feature = "cluster")]
mod cluster_deploy;
#[cfg(feature = "cluster")]
mod cluster_log;
#[cfg(feature = "cluster")]
mod cluster_node;
#[cfg(feature = "cluster")]
mod cluster_options;
mod configuration;
mod connection_options;
mod constant;
mod constants;
mod declarations;
mod deploy;
mod drain;
mod event_log;
mod exit_code;
mod failure;
mod grant;
mod health;
mod history;
mod inspect;
mod json_lines;
mod language;
mod limit_options;
mod listen_options;
mod log_options;
mod log_writer;
mod logs;
mod module_file;
mod nearest;
mod new;
mod option_values;
mod refusal_log;
mod refused_deployment;
mod remedy;
mod remote_call;
mod run;
mod sdk;
mod serve;
mod signal_thread;
mod signals;
mod source_check;
mod target;
mod terminal;
mod test;
mod text;
mod token;
mod toolchain;
#[cfg(unix)]
mod unix_socket;

use cache::Cache;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use exit_code::ExitCode;
use remedy::{Caller, Interface};

/// Create, build, call and serve WebAssembly functions, each in its own sandbox.
#[derive(Parser)]
#[command(name = "wpc", version, after_help = exit_code::HELP)]
struct Arguments {
    /// Print JSON, including errors.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    cache: Cache,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a project with a function and its tests.
    #[command(after_help = "Examples:
  wpc new hello
  wpc new hello --template serde
  wpc new hello --sdk 0.1
  wpc new hello --lang c")]
    New(new::Arguments),
    /// Compile a project or a source file to a module.
    #[command(after_help = "Examples:
  wpc build
  wpc build hello --output hello.wasm
  wpc build math.wat
  wpc build --all              # also the projects of the manifest's modules, dependencies first

The language is detected from the folder's files: Cargo.toml for Rust, package.json for AssemblyScript, *.c for C,
*.zig for Zig and *.wat for WebAssembly text. The folder's `wpc.toml` may select the target, and declare types that
the language cannot record in the module:

  [build]
  target = \"wasm32-wasip1\"
  [build.signatures]
  greet = \"(name: String) -> String\"")]
    Build(build::Arguments),
    /// Run the pool of a manifest: reads calls as JSON lines from standard input, writes answers to standard output.
    #[command(after_help = run::HELP)]
    Run(run::Arguments),
    /// Serve the pool of a manifest over HTTP.
    #[command(after_help = serve::HELP)]
    Serve(serve::Arguments),
    /// Check whether a server is ready.
    #[command(after_help = health::HELP)]
    Health(health::Arguments),
    /// Deploy a manifest to a cluster, or to a running server, which was started with `wpc serve --data`.
    #[command(after_help = deploy::DEPLOY_HELP)]
    Deploy(deploy::DeployArguments),
    /// Roll a cluster or a running server, or one of its functions, back to an earlier revision.
    #[command(after_help = deploy::ROLLBACK_HELP)]
    Rollback(deploy::RollbackArguments),
    /// Make a running server refuse new calls, or accept them again.
    #[command(after_help = drain::HELP)]
    Drain(drain::Arguments),
    /// List the revisions of a cluster or of a running server, newest first.
    #[command(after_help = history::HISTORY_HELP)]
    History(history::HistoryArguments),
    /// Print the events of a running server.
    #[command(after_help = logs::HELP)]
    Logs(logs::Arguments),
    /// List the functions of a cluster or of a running server.
    #[command(
        after_help = "Examples:\n  wpc ls --server http://127.0.0.1:7071\n  wpc ls --cluster nats://127.0.0.1:4222"
    )]
    Ls(history::ListArguments),
    /// Run the tests of a manifest.
    #[command(after_help = "Example of a test in wpc.toml:
  [[tests]]
  function = \"greet\"
  arguments = [\"Ada\"]
  value = \"Hello, Ada!\"      # or error = \"EmptyName\": the name of a guest error, or the code of another error")]
    Test(test::Arguments),
    /// Set, list and remove the constants and secrets of a running server.
    Constant(constants::Arguments),
    /// Create, list and revoke the tokens of a server.
    Token(token::Arguments),
    /// Check the NATS servers of a cluster, and create keys for them.
    #[cfg(feature = "cluster")]
    Cluster(cluster::Arguments),
    /// Show the folder of the compile cache and its size.
    #[command(after_help = "Examples:\n  wpc cache\n  wpc cache --clear")]
    Cache(cache::Arguments),
    /// List what a module exports and requires, without running it.
    #[command(
        after_help = "Examples:\n  wpc inspect resize.wasm\n  wpc inspect .               # every module of ./wpc.toml"
    )]
    Inspect(inspect::Arguments),
    /// Call a function with JSON arguments, and print its result as JSON.
    #[command(after_help = "Examples:
  wpc call math.wasm add 40 2
  wpc call . moderate 'some text'            # as ./wpc.toml defines it
  wpc call --manifest wpc.toml moderate 'some text'
  wpc call shop.wasm order '[{\"item\": \"tea\", \"count\": 2}]' '{\"tea\": 3}'
  wpc call label.wasm label /a/b.txt --const SERVICE_PREFIX='\"demo\"' --dep path_dep=path.wasm
  wpc call shout.wasm shout --grant stdin --grant output < notes.txt
  wpc call --server http://127.0.0.1:7071 greet Ada          # a function of `wpc serve`; the token is read from WPC_TOKEN
  wpc call --cluster nats://127.0.0.1:4222 greet Ada         # a function of a cluster")]
    Call(call::Arguments),
    /// Call a function repeatedly, and report calls per second and latencies.
    #[command(after_help = "Examples:
  wpc bench math.wasm add 40 2
  wpc bench math.wasm add 40 2 --outstanding 1 --workers 1 --seconds 2")]
    Bench(bench::Arguments),
    /// Print the completion script for a shell.
    #[command(after_help = "Example:\n  wpc completions bash > /etc/bash_completion.d/wpc")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// The command with the environment variables of its services.
fn command() -> clap::Command {
    Arguments::command().mut_subcommand("serve", configuration::with_environment)
}

fn main() -> std::process::ExitCode {
    let parsed = command().try_get_matches();
    let parsed = parsed.and_then(|matches| Arguments::from_arg_matches(&matches));
    let mut arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && std::env::args().any(|word| word == "--json") => {
            return configuration::usage(&error).report(true, Interface::OPTIONS).into();
        }
        Err(error) => {
            // The reader may be gone.
            let _ = error.print();
            if let Some(note) = configuration::note(&error) {
                terminal::note(&note);
            }
            return std::process::ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    match &mut arguments.command {
        Command::Call(call) if call.is_remote() => {
            call.target.resolve_server_positions();
        }
        Command::Call(call) => call.target.resolve_positions(),
        Command::Bench(bench) => bench.target.resolve_positions(),
        _ => {}
    }
    let interface = match &arguments.command {
        Command::Run(_)
        | Command::Serve(_)
        | Command::Deploy(_)
        | Command::Test(_)
        | Command::Build(_) => Interface::MANIFEST,
        Command::Call(call) => call.interface(),
        Command::Bench(bench) => bench.target.interface(Caller::Bench),
        _ => Interface::OPTIONS,
    };
    let result = match arguments.command {
        Command::New(command) => new::run(&command, arguments.json),
        Command::Build(command) => build::run(&command, &arguments.cache, arguments.json),
        Command::Deploy(command) => deploy::deploy(&command, arguments.json),
        Command::Rollback(command) => deploy::rollback(&command, arguments.json),
        Command::Drain(command) => drain::run(&command, arguments.json),
        Command::Logs(command) => logs::run(&command, arguments.json),
        Command::History(command) => history::history(&command, arguments.json),
        Command::Ls(command) => history::list(&command, arguments.json),
        Command::Test(command) => test::run(&command, &arguments.cache, arguments.json),
        Command::Run(command) => run::run(&command, &arguments.cache, arguments.json),
        Command::Serve(command) => serve::configured(command, self::command())
            .and_then(|command| serve::run(&command, &arguments.cache, arguments.json)),
        Command::Health(command) => health::run(&command, arguments.json),
        Command::Constant(command) => constants::run(&command, arguments.json),
        Command::Token(command) => token::run(&command, arguments.json),
        #[cfg(feature = "cluster")]
        Command::Cluster(command) => cluster::run(&command, arguments.json),
        Command::Cache(command) => cache::run(&command, &arguments.cache, arguments.json),
        Command::Inspect(command) => inspect::run(&command, &arguments.cache, arguments.json),
        Command::Bench(command) => bench::run(&command, &arguments.cache, arguments.json),
        Command::Call(command) => call::run(&command, &arguments.cache, arguments.json),
        Command::Completions { shell } => {
            let mut command = command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "wpc", &mut script);
            terminal::print(&script)
        }
    };
    let code = match result {
        Ok(()) => ExitCode::Success,
        Err(failure) => failure.report(arguments.json, interface),
    };
    code.into()
}
