//! The project's own chores: `cargo xtask` lists them.

mod guests;

use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

const USAGE: &str = "\
cargo xtask guests              builds every guest and records what it was built from
cargo xtask guests --out DIR    builds every guest into DIR and records nothing";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["guests"] => guests::rebuild(&root()?),
        ["guests", "--out", folder] => {
            guests::build_into(&root()?, &std::env::current_dir()?.join(folder))
        }
        [] => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("no such chore: {}\n\n{USAGE}", other.join(" ")),
    }
}

fn root() -> Result<PathBuf> {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(xtask.parent().context("xtask lies in the workspace")?.to_owned())
}
