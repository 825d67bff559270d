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
use std::path::{Path, PathBuf};
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
        ["bench", arguments @ ..] => run(&built("wpc-bench", &WHOLE)?, arguments),
        ["instructions"] => instructions::check(&root()?, &built("wpc-counted", &HOST)?),
        ["instructions", "--record"] => {
            instructions::record(&root()?, &built("wpc-counted", &HOST)?)
        }
        ["soak", arguments @ ..] => run(&built("wpc-soak", &WHOLE)?, arguments),
        [] => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown task: {}\n\n{USAGE}", other.join(" ")),
    }
}

fn run(program: &Path, arguments: &[&str]) -> Result<()> {
    let ran = Command::new(program)
        .args(arguments)
        // With a backtrace, every created error would capture one.
        .env("RUST_BACKTRACE", "0")
        .status()
        .with_context(|| format!("failed to start `{}`", program.display()))?;
    ensure!(ran.success(), "`{}` failed", program.display());
    Ok(())
}

/// What is built together, so that Wasmtime has one set of features and is compiled once.
const WHOLE: [&str; 1] = ["--workspace"];
/// The same without the server and the cluster, whose dependencies take as long as Wasmtime.
const HOST: [&str; 2] = ["--package=wpc-counted", "--package=wpc-examples"];

/// Builds a program of another crate, so that other tasks need not compile Wasmtime.
fn built(program: &str, packages: &[&str]) -> Result<PathBuf> {
    let built = cargo()
        .args(["build", "--quiet", "--release", "--locked", "--bins", "--examples"])
        .args(packages)
        .current_dir(root()?)
        .status()
        .context("failed to start cargo")?;
    ensure!(built.success(), "failed to build `{program}`");
    Ok(target_folder()?.join("release").join(program))
}

/// Cargo, without the variables that describe the package `xtask`: build scripts of other packages that read variables of these
/// names would run again, and what depends on them would be compiled twice.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let is_of_package =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_package) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Cargo's target folder.
fn target_folder() -> Result<PathBuf> {
    Ok(std::env::var_os("CARGO_TARGET_DIR").map_or(root()?.join("target"), PathBuf::from))
}

fn root() -> Result<PathBuf> {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(xtask.parent().context("xtask is in the workspace")?.to_owned())
}
