//! Builds the guests in other languages with `wpc build`, as their authors would, with the compilers of this machine.

use crate::guests::{RECORD, SHARED_SOURCES, collect_files, hash_files, hex, remap_flags};
use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCES: &str = "examples/languages";
const BUILT: &str = "examples/languages/wasm";

/// A project's folder or main file, its target unless the project declares it, and the name of the module.
const PROJECTS: [(&str, Option<&str>, &str); 11] = [
    ("assemblyscript", None, "assemblyscript"),
    ("c", None, "c"),
    ("c-wasi", None, "c-wasi"),
    ("rust", None, "rust"),
    ("rust", Some("wasm32-wasip1"), "rust-wasip1"),
    ("streams/streams.ts", None, "streams-assemblyscript"),
    ("streams/streams.c", None, "streams-c"),
    ("streams/streams.c", Some("wasm32-wasip1"), "streams-c-wasi"),
    ("streams/streams.zig", None, "streams-zig"),
    ("wat", None, "wat"),
    ("zig", None, "zig"),
];

/// Builds every guest into the committed folder, and records the hashes of its sources.
pub(crate) fn rebuild(root: &Path) -> Result<()> {
    build_into(root, root)?;
    std::fs::write(root.join(BUILT).join(RECORD), record(root)?)?;
    Ok(())
}

/// Builds every guest into `out`, in a folder with the same name as the committed one.
pub(crate) fn build_into(root: &Path, out: &Path) -> Result<()> {
    let wpc = command(root)?;
    let npm = Command::new("npm")
        .args(["ci", "--silent"])
        .current_dir(root.join(SOURCES).join("assemblyscript"))
        .status()
        .context("failed to start npm, which installs AssemblyScript")?;
    ensure!(npm.success(), "failed to install the compiler of AssemblyScript");
    let mut path = vec![root.join(SOURCES).join("assemblyscript/node_modules/.bin")];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let path_with_asc = std::env::join_paths(path)?;
    let out = out.join(BUILT);
    std::fs::create_dir_all(&out)?;
    for (project, target, name) in PROJECTS {
        let mut build = Command::new(&wpc);
        build.arg("build").arg(root.join(SOURCES).join(project));
        build.arg("--output").arg(out.join(format!("{name}.wasm")));
        build.args(target.iter().flat_map(|target| ["--target", target]));
        if project.ends_with(".ts") {
            // No `node_modules` is beside this file. Other projects do not get this path, because clang would run the
            // `wasm-opt` that is in it.
            build.env("PATH", &path_with_asc);
        }
        let built = build
            .arg("--no-cache")
            .env("CARGO_TARGET_DIR", root.join("target/guests"))
            .env("CARGO_ENCODED_RUSTFLAGS", remap_flags(root)?)
            .status()
            .context("failed to start `wpc`")?;
        ensure!(built.success(), "failed to build `{name}`");
    }
    Ok(())
}

/// The `wpc` binary, built with the same features as for the tests, so that it is compiled once: cargo enables the features of
/// development dependencies for examples, as for tests.
fn command(root: &Path) -> Result<PathBuf> {
    let built = crate::cargo()
        .args(["build", "--quiet", "--locked", "--workspace", "--bins", "--examples"])
        .current_dir(root)
        .status()
        .context("failed to start cargo")?;
    ensure!(built.success(), "failed to build `wpc`");
    Ok(crate::target_folder()?.join("debug/wpc"))
}

/// A line for each module: the hash of its sources, the hash of the built file, and its name.
fn record(root: &Path) -> Result<String> {
    let mut lines = String::new();
    for (project, _, name) in PROJECTS {
        let mut files = Vec::new();
        let (folder, _) = project.split_once('/').unwrap_or((project, ""));
        collect_files(&root.join(SOURCES).join(folder), &mut files)?;
        match project {
            "c-wasi" => files.push(root.join(SOURCES).join("c/wpc.h")),
            "rust" => {
                files.push(root.join(SOURCES).join("rust/Cargo.lock"));
                for shared in SHARED_SOURCES {
                    collect_files(&root.join(shared), &mut files)?;
                }
            }
            _ => {}
        }
        let sources = hash_files(root, files)?;
        let built = std::fs::read(root.join(BUILT).join(format!("{name}.wasm")))
            .with_context(|| format!("guest `{name}` is not built; run `cargo xtask languages`"))?;
        writeln!(lines, "{sources}  {}  {name}", hex(&Sha256::digest(built)))?;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_committed_guest_matches_its_sources() {
        let root = crate::root().unwrap();
        let recorded = std::fs::read_to_string(root.join(BUILT).join(RECORD)).unwrap();
        assert_eq!(
            recorded,
            record(&root).unwrap(),
            "a guest in `{SOURCES}` was not rebuilt since its sources changed; run `cargo xtask languages` and commit"
        );
    }
}
