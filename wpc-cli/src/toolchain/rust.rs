//! Compiles Rust packages with cargo.

use super::group::Group;
use super::process::{Tool, output_of, wait};
use super::shared_target::{self, SharedTarget};
use super::{MAX_SOURCE, TargetFolder, not_found};
use crate::failure::Failure;
use crate::language::{Language, Sources};
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wpc_deploy::file;

pub(super) fn compile(
    sources: &Sources,
    target: &str,
    folder: TargetFolder,
    out: &Path,
) -> Result<String, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let cargo = Tool::first([vec![cargo]], "--version", |_| true)
        .ok_or_else(|| not_found(Language::Rust, "install it from https://rustup.rs"))?;
    let manifest = file::read(&sources.folder.join("Cargo.toml"), MAX_SOURCE).unwrap_or_default();
    let manifest = String::from_utf8_lossy(&manifest);
    let has = |table: &str| manifest.lines().any(|line| line.trim() == table);
    if !has("[package]") {
        return Err(Failure::usage(format!(
            "{}: this is a workspace; build the folder of one of its packages",
            sources.folder.display()
        )));
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    // In the project's folder, because the project may select a toolchain.
    let libraries = output_of(
        Command::new(rustc)
            .args(["--print", "target-libdir", "--target", target])
            .current_dir(&sources.folder),
    );
    if !libraries.is_some_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Err(Failure::environment(format!(
            "the standard library for {target} is not installed; run `rustup target add {target}`"
        )));
    }
    let has_library = has("[lib]") || sources.folder.join("src/lib.rs").is_file();
    let chosen = match folder {
        TargetFolder::Default => None,
        TargetFolder::Chosen(folder) => Some(folder),
        TargetFolder::Shared(folder) if has_library => {
            shared_target::for_project(&folder, cargo.command(), target, sources)
        }
        TargetFolder::Shared(_) => None,
    };
    let options = ["--release", "--target", target, "--message-format", "json-render-diagnostics"];
    let mut command = cargo.command();
    command.current_dir(&sources.folder);
    // Until the module is copied.
    let mut _shared = None;
    match chosen {
        Some(folder) if has_library => {
            let shared = SharedTarget::open(folder, sources)?;
            shared.compile(&mut command, &options);
            _shared = Some(shared);
        }
        folder => {
            command.arg("build").args(options);
            // A binary target beside the library would be built to the same file.
            if has_library {
                command.arg("--lib");
            }
            if let Some(folder) = folder {
                command.arg("--target-dir").arg(folder);
            }
        }
    }
    let messages = run_cargo(command, &cargo.description())?;
    let modules = built_modules(&messages, &sources.folder);
    let [module] = modules.as_slice() else {
        let names: Vec<_> = modules.iter().map(|module| module.display().to_string()).collect();
        return Err(Failure::usage(if names.is_empty() {
            "the package does not build a module; set `crate-type = [\"cdylib\"]` under [lib] of Cargo.toml".to_owned()
        } else {
            format!("the package builds several modules, but one is expected: {}", names.join(", "))
        }));
    };
    std::fs::copy(module, out)
        .map_err(|error| Failure::environment(format!("{}: {error}", out.display())))?;
    Ok(format!("{} for {target}", cargo.description()))
}

/// What the compiler prints before and after the name of a function that is defined twice.
const DUPLICATE: (&str, &str) = ("symbol `wpc:fn:", "` is already defined");

/// As [`run`](super::process::run), for cargo. Searches its messages for a duplicate function, because the compiler
/// reports only the duplicate symbol.
fn run_cargo(mut command: Command, description: &str) -> Result<Vec<u8>, Failure> {
    if io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let cannot = |error: io::Error| Failure::environment(format!("{description}: {error}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group::spawn(&mut command).map_err(cannot)?;
    let errors = group.child.stderr.take();
    let (output, duplicate) = std::thread::scope(|scope| {
        let duplicate = scope.spawn(|| errors.and_then(forward));
        (wait(group), duplicate.join().unwrap_or_default())
    });
    let (status, printed) = output.map_err(cannot)?;
    if status.success() {
        return Ok(printed);
    }
    let remedy = duplicate.map(|name| {
        format!(
            "; two functions are named \"{name}\": rename one of them with `#[wpc::function(name = \"…\")]`"
        )
    });
    let remedy = remedy.unwrap_or_default();
    Err(Failure::Project(format!("compilation with {description} failed: {status}{remedy}")))
}

/// Forwards the compiler's messages to standard error; returns the name of a duplicate function if they report one.
fn forward(messages: impl io::Read) -> Option<String> {
    let mut duplicate = None;
    for line in BufReader::new(messages).split(b'\n').map_while(Result::ok) {
        // The reader of standard error may be gone.
        let _ = io::stderr().write_all(&[line.as_slice(), b"\n"].concat());
        let line = String::from_utf8_lossy(&line);
        let name = line.split_once(DUPLICATE.0).and_then(|(_, rest)| rest.split_once(DUPLICATE.1));
        duplicate = duplicate.or_else(|| name.map(|(name, _)| name.to_owned()));
    }
    duplicate
}

/// The modules that cargo reports as built from the package in this folder.
fn built_modules(messages: &[u8], folder: &Path) -> Vec<PathBuf> {
    let messages = String::from_utf8_lossy(messages);
    let artifacts = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let manifest = message["manifest_path"].as_str()?;
        let is_own = Path::new(manifest).parent() == Some(folder);
        (is_own && message["reason"] == "compiler-artifact").then_some(message)
    });
    let files = artifacts.flat_map(|message| {
        let files = message["filenames"].as_array().cloned().unwrap_or_default();
        files.into_iter().filter_map(|file| Some(PathBuf::from(file.as_str()?)))
    });
    files.filter(|file| file.extension().is_some_and(|found| found == "wasm")).collect()
}
