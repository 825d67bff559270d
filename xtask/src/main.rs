//! The project's own chores: `cargo xtask` lists them.

mod guests;

use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

const USAGE: &str = "\
cargo xtask guests              builds every guest and records what it was built from
cargo xtask guests --out DIR    builds every guest into DIR and records nothing
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
        ["soak", arguments @ ..] => soak(arguments),
        [] => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("no such chore: {}\n\n{USAGE}", other.join(" ")),
    }
}

/// A crate of its own, so that the other chores need not wait for Wasmtime.
fn soak(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["run", "--quiet", "--release", "--locked", "--package", "wpc-soak", "--"])
        .args(arguments)
        .current_dir(root()?)
        .status()
        .context("cargo could not be started")?;
    anyhow::ensure!(status.success(), "the soak failed");
    Ok(())
}

fn root() -> Result<PathBuf> {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(xtask.parent().context("xtask lies in the workspace")?.to_owned())
}
