//! The compilers of this machine: which there are, how each makes a module of a project, and what to
//! install where there is none.

use crate::failure::Failure;
use crate::language::{Language, Sources};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A compiler that is there.
struct Tool {
    /// What starts it: a program, and what it is always given.
    words: Vec<OsString>,
    /// What it says of itself.
    version: String,
}

impl Tool {
    /// The first of the candidates that answers. `asked` makes it tell its version.
    fn first<S: Into<OsString>>(
        candidates: impl IntoIterator<Item = Vec<S>>,
        asked: &str,
        fits: impl Fn(&Self) -> bool,
    ) -> Option<Self> {
        candidates.into_iter().find_map(|words| {
            let words = words.into_iter().map(Into::into).collect();
            let mut tool = Self { words, version: String::new() };
            let said = tool.says(&[asked])?;
            tool.version = said.lines().next().unwrap_or_default().trim().to_owned();
            fits(&tool).then_some(tool)
        })
    }

    /// What it prints when it is asked; `None` where it is not there, or fails.
    fn says(&self, asked: &[&str]) -> Option<String> {
        let output = self.command().args(asked).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }

    /// As it is told to people: what was started, and its version.
    fn told(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| word.to_string_lossy()).collect();
        format!("{} ({})", words.join(" "), self.version)
    }
}

/// Where Rust compiles for, where nothing is said.
const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// The targets with a C library, by their names then and now.
fn is_wasi(target: Option<&str>) -> bool {
    target.is_some_and(|target| target.contains("wasi"))
}

/// Compiles to `out`; tells with what.
pub(crate) fn compile(
    sources: &Sources,
    target: Option<&str>,
    out: &Path,
) -> Result<String, Failure> {
    match sources.language {
        Language::Rust => rust(sources, target.unwrap_or(RUST_TARGET), out),
        Language::C => c(sources, target, out),
        Language::Zig => zig(sources, target, out),
        Language::AssemblyScript => assemblyscript(sources, out),
        Language::Wat => wat(sources, out),
    }
}

fn missing(language: Language, what: &str) -> Failure {
    Failure::machine(format!("there is no compiler of {} here; {what}", language.name()))
}

/// Runs a compiler to its end; what it says of mistakes it says by itself.
fn run(mut command: Command, told: &str) -> Result<Vec<u8>, Failure> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::machine(format!("{told}: {error}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    // What some compilers write there are mistakes as well.
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
    Err(Failure::machine(format!("{told} did not compile it: {}", output.status)))
}

fn rust(sources: &Sources, target: &str, out: &Path) -> Result<String, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let cargo = Tool::first([vec![cargo]], "--version", |_| true)
        .ok_or_else(|| missing(Language::Rust, "install it from https://rustup.rs"))?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries = Tool::first([vec![rustc]], "--version", |_| true)
        .and_then(|rustc| rustc.says(&["--print", "target-libdir", "--target", target]));
    if !libraries.is_some_and(|folder| Path::new(folder.trim()).is_dir()) {
        let install = format!("the target {target} is missing: rustup target add {target}");
        return Err(missing(Language::Rust, &install));
    }
    let mut command = cargo.command();
    command.current_dir(&sources.folder);
    command.args(["build", "--release", "--target", target]);
    command.args(["--message-format", "json-render-diagnostics"]);
    let messages = run(command, &cargo.told())?;
    let modules = built_modules(&messages, &sources.folder);
    let [module] = modules.as_slice() else {
        let names: Vec<_> = modules.iter().map(|module| module.display().to_string()).collect();
        return Err(Failure::usage(if names.is_empty() {
            "the package makes no module; say `crate-type = [\"cdylib\"]` in the [lib] of Cargo.toml".to_owned()
        } else {
            format!(
                "the package makes several modules, and one is built at a time: {}",
                names.join(", ")
            )
        }));
    };
    copy(module, out)?;
    Ok(format!("{} for {target}", cargo.told()))
}

/// The modules that cargo says it made of the package in this folder.
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

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::copy(from, to)
        .map(drop)
        .map_err(|error| Failure::machine(format!("{}: {error}", to.display())))
}

/// The versions of LLVM that systems install side by side.
const LLVM: std::ops::RangeInclusive<u32> = 14..=25;

/// How Zig is started: by itself, or by Python's package of it.
const ZIG: [&[&str]; 3] = [&["zig"], &["python3", "-m", "ziglang"], &["python", "-m", "ziglang"]];

fn find_zig() -> Option<Tool> {
    Tool::first(ZIG.map(|words| words.to_vec()), "version", |_| true)
}

fn find_clang(is_wasi: bool) -> Option<Tool> {
    let versions = LLVM.rev().map(|version| format!("clang-{version}"));
    let names = std::iter::once("clang".to_owned()).chain(versions);
    Tool::first(names.map(|name| vec![name]), "--version", |clang| {
        let knows = clang.says(&["--print-targets"]).is_some_and(|all| all.contains("wasm32"));
        // It names a linker that is not there by its bare name.
        let has = |asked: &str| {
            let file = clang.says(&["--target=wasm32", asked]).unwrap_or_default();
            Path::new(file.trim()).is_absolute()
        };
        let has_library = || {
            ["--print-file-name=libc.a", "--print-libgcc-file-name"].iter().all(|asked| {
                let found = clang.says(&["--target=wasm32-wasi", asked]).unwrap_or_default();
                Path::new(found.trim()).is_file()
            })
        };
        knows && has("--print-prog-name=wasm-ld") && (!is_wasi || has_library())
    })
}

/// A module without a library, and without a program's start.
const C_ALONE: [&str; 3] = ["-ffreestanding", "-nostdlib", "-Wl,--no-entry"];

/// How much stack C has in its memory, before its data, so that running out of it is a trap.
const CLANG_STACK: &str = "-Wl,--stack-first";

/// Zig puts the stack first by itself, and would make it a megabyte or more.
const ZIG_STACK: &str = "65536";

fn c(sources: &Sources, target: Option<&str>, out: &Path) -> Result<String, Failure> {
    let is_wasi = is_wasi(target);
    let (tool, mut command) = if let Some(clang) = find_clang(is_wasi) {
        let mut command = clang.command();
        command.arg(if is_wasi {
            "--target=wasm32-wasi"
        } else {
            "--target=wasm32-unknown-unknown"
        });
        command.arg(CLANG_STACK);
        (clang, command)
    } else if let Some(zig) = find_zig() {
        let mut command = zig.command();
        command.args([
            "cc",
            "-target",
            if is_wasi { "wasm32-wasi" } else { "wasm32-freestanding" },
        ]);
        command.arg(format!("-Wl,-z,stack-size={ZIG_STACK}"));
        (zig, command)
    } else {
        return Err(missing(
            Language::C,
            "install clang with wasm-ld (Debian: apt install clang lld, and for WASI wasi-libc libclang-rt-dev-wasm32), or Zig, which brings both (pip install ziglang)",
        ));
    };
    command.current_dir(&sources.folder);
    if is_wasi {
        command.arg("-mexec-model=reactor");
    } else {
        command.args(C_ALONE);
    }
    command
        .args(["-O2", "-Wall", "-Wextra", "-Wl,--strip-all", "-o"])
        .arg(out)
        .args(&sources.files);
    run(command, &tool.told())?;
    Ok(tool.told())
}

fn zig(sources: &Sources, target: Option<&str>, out: &Path) -> Result<String, Failure> {
    let zig = find_zig().ok_or_else(|| {
        missing(
            Language::Zig,
            "install it from https://ziglang.org/download, or with pip install ziglang",
        )
    })?;
    let mut command = zig.command();
    command.current_dir(&sources.folder);
    let target = if is_wasi(target) { "wasm32-wasi" } else { "wasm32-freestanding" };
    command.arg("build-exe").args(&sources.files);
    command.args(["-target", target, "-fno-entry", "-rdynamic", "-O", "ReleaseSmall"]);
    command.args(["--stack", ZIG_STACK]);
    let mut place = OsString::from("-femit-bin=");
    place.push(out);
    command.arg(place);
    run(command, &zig.told())?;
    Ok(zig.told())
}

fn assemblyscript(sources: &Sources, out: &Path) -> Result<String, Failure> {
    let own = sources.folder.join("node_modules/.bin/asc").into_os_string();
    let asc = Tool::first([vec![own], vec!["asc".into()]], "--version", |_| true);
    let asc = asc.ok_or_else(|| {
        let install = if sources.folder.join("package.json").is_file() {
            format!(
                "install what package.json asks for: npm install --prefix {}",
                sources.folder.display()
            )
        } else {
            "install it with npm install --global assemblyscript".to_owned()
        };
        missing(Language::AssemblyScript, &install)
    })?;
    let mut command = asc.command();
    command.current_dir(&sources.folder);
    command.args(&sources.files).arg("-O").arg("--outFile").arg(out);
    // What `abort` usually imports no host of ours offers; the helper's tells the host why.
    let helper = sources.files[0].with_file_name("wpc");
    if sources.folder.join(&helper).with_extension("ts").is_file() {
        command.arg("--use").arg(format!("abort={}/abort", helper.display()));
    }
    run(command, &asc.told())?;
    Ok(asc.told())
}

fn wat(sources: &Sources, out: &Path) -> Result<String, Failure> {
    let file = sources.folder.join(&sources.files[0]);
    let bytes = ::wat::parse_file(&file).map_err(|error| Failure::machine(error.to_string()))?;
    std::fs::write(out, bytes)
        .map_err(|error| Failure::machine(format!("{}: {error}", out.display())))?;
    Ok("this command itself".to_owned())
}
