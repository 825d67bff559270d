//! Builds the Rust guests, and checks that the committed `.wasm` files match their sources.
//!
//! The built files are committed, so that no wasm target is needed to try the project. Each folder has a list with the
//! hashes of the sources of each file.

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of guests, the folder of the committed `.wasm` files, and the build target.
const WORKSPACES: [(&str, &str, &str); 3] = [
    ("fixtures/guests", "fixtures/wasm", "wasm32-unknown-unknown"),
    ("fixtures/wasi", "fixtures/wasi/wasm", "wasm32-wasip1"),
    ("examples/guests", "examples/guests/wasm", "wasm32-unknown-unknown"),
];

/// Sources of every guest besides its own folder.
pub(crate) const SHARED_SOURCES: [&str; 2] = ["wpc-abi", "wpc-guest-sdk"];

pub(crate) const RECORD: &str = "sources.sha256";

/// Builds every guest into the committed folder, and records the hashes of its sources.
pub(crate) fn rebuild(root: &Path) -> Result<()> {
    for (sources, committed, target) in WORKSPACES {
        let committed = root.join(committed);
        build(root, &root.join(sources), target, &committed)?;
        let record = record(root, &root.join(sources), &committed)?;
        std::fs::write(committed.join(RECORD), record)?;
    }
    Ok(())
}

/// Builds every guest into `out`, in folders with the same names as the committed ones.
pub(crate) fn build_into(root: &Path, out: &Path) -> Result<()> {
    for (sources, committed, target) in WORKSPACES {
        build(root, &root.join(sources), target, &out.join(committed))?;
    }
    Ok(())
}

fn build(root: &Path, sources: &Path, target: &str, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)?;
    for name in guest_names(sources)? {
        let built = build_guest(root, sources, &name, target, &[])?;
        let to = out.join(format!("{name}.wasm"));
        let size = std::fs::copy(&built, &to)
            .with_context(|| format!("failed to build `{}`", built.display()))?;
        println!("{size:>9} bytes  {}", to.strip_prefix(root).unwrap_or(&to).display());
    }
    Ok(())
}

/// Builds one guest alone, so that features of other guests do not affect it, and returns its path.
pub(crate) fn build_guest(
    root: &Path,
    sources: &Path,
    name: &str,
    target: &str,
    environment: &[(&str, &str)],
) -> Result<PathBuf> {
    let target_dir = root.join("target/guests");
    let mut command = crate::cargo();
    if let Some(compiler) = c_compiler(sources, target)? {
        command.env(c_compiler_variable(target), compiler);
    }
    let status = command
        .args(["build", "--release", "--locked", "--package", name, "--target", target])
        .arg("--target-dir")
        .arg(&target_dir)
        // Panic messages contain paths. Paths of this machine must not be in committed files.
        .env("CARGO_ENCODED_RUSTFLAGS", remap_flags(root)?)
        .envs(environment.iter().copied())
        .current_dir(sources)
        .status()
        .context("failed to start cargo")?;
    ensure!(
        status.success(),
        "failed to build guest `{name}` in `{}`; if the target is missing: rustup target add {target}",
        sources.display()
    );
    Ok(target_dir.join(target).join("release").join(format!("{name}.wasm")))
}

pub(crate) fn remap_flags(root: &Path) -> Result<String> {
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let flags = [
        format!("--remap-path-prefix={}=.", root.display()),
        format!("--remap-path-prefix={home}=cargo"),
    ];
    Ok(flags.join("\x1f"))
}

/// The compiler for C libraries that guests use through packages: a clang with WebAssembly support, which Apple's
/// lacks. `None` if no guest uses a C library, or if the environment already names a compiler.
fn c_compiler(sources: &Path, target: &str) -> Result<Option<String>> {
    let lock = std::fs::read_to_string(sources.join("Cargo.lock"))?;
    let variable = c_compiler_variable(target);
    if !lock.contains("\nname = \"cc\"\n") || std::env::var_os(&variable).is_some() {
        return Ok(None);
    }
    // Some systems have only versioned names. The newest is first, and the last is that of Debian 12.
    let numbered = (14..=30).rev().map(|version| format!("clang-{version}"));
    let mut candidates = std::iter::once("clang".to_owned()).chain(numbered);
    let found = candidates.find(|candidate| {
        let output = Command::new(candidate).arg("--print-targets").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("wasm32"))
    });
    let found = found.with_context(|| {
        format!(
            "a guest in `{}` uses a C library, but no clang with WebAssembly support was found; install one (`apt install clang`, `brew install llvm`) on the path or set `{variable}`",
            sources.display()
        )
    })?;
    Ok(Some(found))
}

/// The environment variable in which the crate `cc` looks for a target's compiler.
fn c_compiler_variable(target: &str) -> String {
    format!("CC_{}", target.replace('-', "_"))
}

fn guest_names(sources: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(sources)? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            names.push(
                path.file_name().context("a folder has a name")?.to_string_lossy().into_owned(),
            );
        }
    }
    names.sort();
    Ok(names)
}

/// A line for each guest: the hash of its sources, the hash of the built file, and its name.
fn record(root: &Path, sources: &Path, committed: &Path) -> Result<String> {
    let mut lines = String::new();
    for name in guest_names(sources)? {
        let mut files = vec![sources.join("Cargo.toml"), sources.join("Cargo.lock")];
        collect_files(&sources.join(&name), &mut files)?;
        for shared in SHARED_SOURCES {
            collect_files(&root.join(shared), &mut files)?;
        }
        let sources = hash_files(root, files)?;
        let built = std::fs::read(committed.join(format!("{name}.wasm")))
            .with_context(|| format!("guest `{name}` is not built; run `cargo xtask guests`"))?;
        writeln!(lines, "{sources}  {}  {name}", hex(&Sha256::digest(built)))?;
    }
    Ok(lines)
}

/// One hash of these files, their names, and what they inherit from the workspace.
pub(crate) fn hash_files(root: &Path, mut files: Vec<PathBuf>) -> Result<String> {
    files.sort();
    let mut hash = Sha256::new();
    hash.update(inherited(root)?);
    for file in files {
        let path = file.strip_prefix(root)?.to_string_lossy().into_owned();
        let bytes = std::fs::read(&file).with_context(|| format!("failed to read `{path}`"))?;
        hash.update(format!("{path}\n{}\n", bytes.len()));
        hash.update(bytes);
    }
    Ok(hex(&hash.finalize()))
}

/// The lines of the workspace's manifest that the shared crates inherit: package fields and dependencies. Other changes
/// of the manifest do not affect guests.
fn inherited(root: &Path) -> Result<String> {
    const DEPENDENCIES: [&str; 9] = [
        "postcard ",
        "postcard-schema ",
        "proc-macro2 ",
        "quote ",
        "serde ",
        "syn ",
        "wpc-abi ",
        "wpc-guest-macros ",
        "wpc-schema-macros ",
    ];
    let manifest = std::fs::read_to_string(root.join("Cargo.toml"))?;
    let mut section = "";
    let mut lines = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let counts = match section {
            "[workspace.package]" => true,
            "[workspace.dependencies]" => DEPENDENCIES.iter().any(|name| line.starts_with(name)),
            _ => false,
        };
        if counts {
            writeln!(lines, "{line}")?;
        }
    }
    Ok(lines)
}

/// Collects sources and manifests. Tests of the shared crates do not affect guests.
pub(crate) fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)
        .with_context(|| format!("failed to read `{}`", folder.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | "tests" | "node_modules") {
                collect_files(&path, files)?;
            }
        } else {
            let extension = path.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("rs" | "c" | "h" | "zig" | "ts" | "wat" | "toml" | "json"))
            {
                files.push(path);
            }
        }
    }
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_committed_guest_matches_its_sources() {
        let root = crate::root().unwrap();
        for (sources, committed, _) in WORKSPACES {
            let committed = root.join(committed);
            let recorded = std::fs::read_to_string(committed.join(RECORD)).unwrap();
            let today = record(&root, &root.join(sources), &committed).unwrap();
            assert_eq!(
                recorded, today,
                "a guest in `{sources}` was not rebuilt since its sources changed; run `cargo xtask guests` and commit"
            );
        }
    }
}
