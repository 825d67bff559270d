//! The project's development tasks. `cargo xtask` lists them.

mod guests;
mod instructions;
mod languages;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod prose;
mod sizes;

use anyhow::{Context as _, Result, bail, ensure};
use std::path::PathBuf;
use std::process::Command;

const USAGE: &str = "\
cargo xtask guests              builds every guest and records the hashes of its sources
cargo xtask guests --out DIR    builds every guest into DIR and records nothing
cargo xtask languages [--out DIR]
                                the same for the guests of examples/languages, with the compilers of each
cargo xtask sizes               builds small guests and prints the SDK's share of their size
cargo xtask bench [--json FILE] measures calls against baselines in the same run
cargo xtask bench http          measures only the rows about the server
cargo xtask bench cluster       measures calls over NATS, overload and deployments; needs `nats-server`
cargo xtask bench growth [--json FILE]
                                measures scaling with functions, workers, calls, dependencies, definitions
cargo xtask bench bulk          measures how long bulk memory instructions occupy a worker past a limit
cargo xtask bench plot FILE... [--out DIR]
                                draws results of growth as SVG into docs/performance
cargo xtask instructions [--record]
                                counts the instructions of calls and compares with the recorded numbers
cargo xtask soak [--seconds N] [--seed S] [--stops N] [--floods N]
                                mixes calls, failures and changes at random and checks invariants
cargo xtask soak cluster [--seconds N] [--seed S] [--nodes N] [--servers 1|3]
                                the same with nodes and NATS servers as processes; needs `nats-server`";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["guests"] => guests::rebuild(&root()?),
        ["guests", "--out", folder] => {
            guests::build_into(&root()?, &std::env::current_dir()?.join(folder))
        }
        ["languages"] => languages::rebuild(&root()?),
        ["languages", "--out", folder] => {
            languages::build_into(&root()?, &std::env::current_dir()?.join(folder))
        }
        ["sizes"] => sizes::print_table(&root()?),
        ["bench", arguments @ ..] => run_release("wpc-bench", arguments),
        ["instructions"] => instructions::check(&root()?, &built("wpc-counted")?),
        ["instructions", "--record"] => instructions::record(&root()?, &built("wpc-counted")?),
        ["soak", arguments @ ..] => run_release("wpc-soak", arguments),
        [] => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown task: {}\n\n{USAGE}", other.join(" ")),
    }
}

fn run_release(program: &str, arguments: &[&str]) -> Result<()> {
    let ran = Command::new(built(program)?)
        .args(arguments)
        // With a backtrace, every created error would capture one.
        .env("RUST_BACKTRACE", "0")
        .status()
        .with_context(|| format!("failed to start `{program}`"))?;
    ensure!(ran.success(), "`{program}` failed");
    Ok(())
}

/// Builds a program of another crate, so that other tasks need not compile Wasmtime. It is built together with the
/// workspace's examples: with one set of features, Wasmtime is compiled once.
fn built(program: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "--workspace", "--bins", "--examples"])
        .current_dir(root()?)
        .status()
        .context("failed to start cargo")?;
    ensure!(built.success(), "failed to build `{program}`");
    Ok(target_folder()?.join("release").join(program))
}

/// Cargo's target folder.
fn target_folder() -> Result<PathBuf> {
    Ok(std::env::var_os("CARGO_TARGET_DIR").map_or(root()?.join("target"), PathBuf::from))
}

fn root() -> Result<PathBuf> {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(xtask.parent().context("xtask is in the workspace")?.to_owned())
}
