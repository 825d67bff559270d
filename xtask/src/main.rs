//! The project's own chores: `cargo xtask` lists them.

mod guests;
mod instructions;
mod languages;
#[cfg(test)]
mod layers;
mod sizes;

use anyhow::{Context as _, Result, bail, ensure};
use std::path::PathBuf;
use std::process::Command;

const USAGE: &str = "\
cargo xtask guests              builds every guest and records what it was built from
cargo xtask guests --out DIR    builds every guest into DIR and records nothing
cargo xtask languages [--out DIR]
                                the same for the guests of examples/languages, with the compilers of each
cargo xtask sizes               builds small guests and prints what of their size is the SDK's
cargo xtask bench [--json FILE] what calls cost, each row against its floor in the same run
cargo xtask bench growth [--json FILE]
                                how costs grow with functions, workers, calls, dependencies, definitions
cargo xtask bench bulk          how long bulk memory instructions keep a worker past a limit
cargo xtask bench plot FILE... [--out DIR]
                                draws what growth wrote, as SVG into docs/performance
cargo xtask instructions [--record]
                                how many instructions calls take, against the recorded numbers
cargo xtask soak [--seconds N] [--seed S]
                                mixes everything the host can meet and checks what must hold";

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
        other => bail!("no such chore: {}\n\n{USAGE}", other.join(" ")),
    }
}

fn run_release(program: &str, arguments: &[&str]) -> Result<()> {
    let ran = Command::new(built(program)?)
        .args(arguments)
        // A trace would be looked for at every error that is made.
        .env("RUST_BACKTRACE", "0")
        .status()
        .with_context(|| format!("`{program}` could not be started"))?;
    ensure!(ran.success(), "`{program}` failed");
    Ok(())
}

/// A program of a crate of its own, so that the other chores need not wait for Wasmtime. It is built together with
/// the workspace's examples: one set of features serves all, and Wasmtime is compiled once.
fn built(program: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "--workspace", "--bins", "--examples"])
        .current_dir(root()?)
        .status()
        .context("cargo could not be started")?;
    ensure!(built.success(), "`{program}` did not build");
    Ok(target_folder()?.join("release").join(program))
}

/// Where cargo puts what it builds.
fn target_folder() -> Result<PathBuf> {
    Ok(std::env::var_os("CARGO_TARGET_DIR").map_or(root()?.join("target"), PathBuf::from))
}

fn root() -> Result<PathBuf> {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(xtask.parent().context("xtask lies in the workspace")?.to_owned())
}
