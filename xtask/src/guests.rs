//! Owns how guests become `.wasm`, and whether a committed `.wasm` is of today's sources.
//!
//! The built files are committed, so that trying the project needs no wasm target; beside each
//! folder of them lies a list of the hashes of what each was built from.

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of guests, where their `.wasm` is committed, and what they are built for.
const WORKSPACES: [(&str, &str, &str); 3] = [
    ("fixtures/guests", "fixtures/wasm", "wasm32-unknown-unknown"),
    ("fixtures/wasi", "fixtures/wasi/wasm", "wasm32-wasip1"),
    ("examples/guests", "examples/guests/wasm", "wasm32-unknown-unknown"),
];

/// What every guest is built from, beside its own folder.
pub(crate) const SHARED_SOURCES: [&str; 2] = ["wpc-abi", "wpc-guest-sdk"];

pub(crate) const RECORD: &str = "sources.sha256";

/// Builds every guest, puts it where it is committed, and records what it was built from.
pub(crate) fn rebuild(root: &Path) -> Result<()> {
    for (sources, committed, target) in WORKSPACES {
        let committed = root.join(committed);
        build(root, &root.join(sources), target, &committed)?;
        let record = record(root, &root.join(sources), &committed)?;
        std::fs::write(committed.join(RECORD), record)?;
    }
    Ok(())
}

/// Builds every guest into `out`, in folders named as the committed ones are.
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
            .with_context(|| format!("`{}` was not built", built.display()))?;
        println!("{size:>9} bytes  {}", to.strip_prefix(root).unwrap_or(&to).display());
    }
    Ok(())
}

/// Builds one guest by itself, so that it gets no feature that another one asks for, and says where it
/// lies.
pub(crate) fn build_guest(
    root: &Path,
    sources: &Path,
    name: &str,
    target: &str,
    environment: &[(&str, &str)],
) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target_dir = root.join("target/guests");
    let mut command = Command::new(cargo);
    if let Some(compiler) = c_compiler(sources, target)? {
        command.env(c_compiler_variable(target), compiler);
    }
    let status = command
        .args(["build", "--release", "--locked", "--package", name, "--target", target])
        .arg("--target-dir")
        .arg(&target_dir)
        // Panic messages carry paths: the machine's own must not get into what is committed.
        .env("CARGO_ENCODED_RUSTFLAGS", remap_flags(root)?)
        .envs(environment.iter().copied())
        .current_dir(sources)
        .status()
        .context("cargo could not be started")?;
    ensure!(
        status.success(),
        "guest `{name}` in `{}` did not build; if the target is missing: rustup target add {target}",
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

/// What compiles the C libraries that guests use through packages: a clang that knows WebAssembly,
/// which Apple's does not. `None` where no guest has any, or where somebody chose already.
fn c_compiler(sources: &Path, target: &str) -> Result<Option<String>> {
    let lock = std::fs::read_to_string(sources.join("Cargo.lock"))?;
    let variable = c_compiler_variable(target);
    if !lock.contains("\nname = \"cc\"\n") || std::env::var_os(&variable).is_some() {
        return Ok(None);
    }
    // Some systems have it under its version only; the newest first, down to one that Debian 12 has.
    let numbered = (14..=30).rev().map(|version| format!("clang-{version}"));
    let mut candidates = std::iter::once("clang".to_owned()).chain(numbered);
    let found = candidates.find(|candidate| {
        let output = Command::new(candidate).arg("--print-targets").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("wasm32"))
    });
    let found = found.with_context(|| {
        format!(
            "a guest in `{}` uses a C library, and there is no clang that compiles for WebAssembly; install one (`apt install clang`, `brew install llvm`), on the path or named in `{variable}`",
            sources.display()
        )
    })?;
    Ok(Some(found))
}

/// Where the crate `cc` looks for a target's compiler.
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

/// A line for each guest: the hash of all it is built from, that of what was built, and its name.
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

/// One hash of all these files, their names, and what they inherit from the workspace.
pub(crate) fn hash_files(root: &Path, mut files: Vec<PathBuf>) -> Result<String> {
    files.sort();
    let mut hash = Sha256::new();
    hash.update(inherited(root)?);
    for file in files {
        let path = file.strip_prefix(root)?.to_string_lossy().into_owned();
        let bytes = std::fs::read(&file).with_context(|| format!("`{path}` could not be read"))?;
        hash.update(format!("{path}\n{}\n", bytes.len()));
        hash.update(bytes);
    }
    Ok(hex(&hash.finalize()))
}

/// The lines of the workspace's manifest that the shared crates inherit: the package's own and the
/// dependencies'. What else changes there changes no guest.
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

/// Sources and manifests; tests of the shared crates change no guest.
pub(crate) fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)
        .with_context(|| format!("`{}` could not be read", folder.display()))?
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
    fn every_committed_guest_is_of_todays_sources() {
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
