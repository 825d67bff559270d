//! The compilers of this machine: which there are, how each makes a module of a project, and what to
//! install where there is none.

use crate::failure::Failure;
use crate::file;
use crate::language::{Language, Sources};
use crate::text::escape;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

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
        says(self.command().args(asked))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }

    /// As it is told to people: what was started, and its version.
    fn told(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| word.to_string_lossy()).collect();
        let words = words.join(" ");
        // Most say their name themselves.
        if self.version.starts_with(&words) {
            self.version.clone()
        } else {
            format!("{words} ({})", self.version)
        }
    }
}

/// The most bytes of a source that is read here; text of a module is several times as long as the module.
const MAX_SOURCE: usize = 256 << 20;

/// Where Rust compiles for, where nothing is said.
const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// The targets with a C library, by their names then and now.
pub(crate) fn is_wasi(target: Option<&str>) -> bool {
    target.is_some_and(|target| target.contains("wasi"))
}

/// Compiles to `out`; tells with what.
pub(crate) fn compile(
    sources: &Sources,
    target: Option<&str>,
    out: &Path,
) -> Result<String, Failure> {
    check_target(sources.language, target)?;
    match sources.language {
        Language::Rust => rust(sources, target.unwrap_or(RUST_TARGET), out),
        Language::C => c(sources, target, out),
        Language::Zig => zig(sources, target, out),
        Language::AssemblyScript => assemblyscript(sources, out),
        Language::Wat => wat(sources, out),
    }
}

/// Refuses a target that the language's compiler would never hear of. Rust's knows its own.
fn check_target(language: Language, target: Option<&str>) -> Result<(), Failure> {
    const TARGETS: [&str; 3] = [RUST_TARGET, "wasm32-wasi", "wasm32-wasip1"];
    let (Some(target), false) = (target, language == Language::Rust) else { return Ok(()) };
    let known: &[&str] = match language {
        Language::C | Language::Zig => &TARGETS,
        _ => &[],
    };
    if known.contains(&target) {
        return Ok(());
    }
    let known = if known.is_empty() { "no target to choose".to_owned() } else { known.join(", ") };
    Err(Failure::usage(format!("target `{target}`: {} has {known}", language.name())))
}

/// The files as a compiler is given them: none can be taken for an option.
fn files(sources: &Sources) -> impl Iterator<Item = PathBuf> {
    sources.files.iter().map(|file| Path::new(".").join(file))
}

fn missing(language: Language, what: &str) -> Failure {
    Failure::machine(format!("there is no compiler of {} here; {what}", language.name()))
}

/// Runs a compiler to its end; what it says of mistakes it says by itself. Gives what it printed.
fn run(mut command: Command, told: &str, prints: Stdio) -> Result<Vec<u8>, Failure> {
    command.stdout(prints).stderr(Stdio::inherit());
    let (status, printed) = wait_with_output(&mut command)
        .map_err(|error| Failure::machine(format!("{told}: {error}")))?;
    if status.success() {
        return Ok(printed);
    }
    Err(Failure::Project(format!("{told} did not compile it: {status}")))
}

/// What a command prints; `None` where it is not there, or fails.
fn says(command: &mut Command) -> Option<String> {
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let (status, printed) = wait_with_output(command).ok()?;
    status.success().then(|| String::from_utf8_lossy(&printed).into_owned())
}

/// The most bytes that are taken of what a compiler prints: cargo prints some hundred bytes a dependency.
const MAX_PRINTED: usize = 64 << 20;

/// Runs a command without input, and returns what it printed to its standard output if that is piped. A command that
/// prints too much is killed.
fn wait_with_output(command: &mut Command) -> io::Result<(ExitStatus, Vec<u8>)> {
    wait(command.stdin(Stdio::null()).spawn()?)
}

/// Waits for a command that was started, as [`wait_with_output`] does.
fn wait(mut child: Child) -> io::Result<(ExitStatus, Vec<u8>)> {
    let printed = match child.stdout.take() {
        Some(printed) => file::read_at_most(printed, 0, MAX_PRINTED)?,
        None => Some(Vec::new()),
    };
    let Some(printed) = printed else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::other(format!("it printed more than {MAX_PRINTED} bytes")));
    };
    Ok((child.wait()?, printed))
}

/// How the compiler names a function's symbol where two functions have it.
const TAKEN: (&str, &str) = ("symbol `wpc:fn:", "` is already defined");

/// As [`run`], for cargo, whose lines are looked through as they pass: two functions of one name are known to the compiler
/// by their symbols alone.
fn run_cargo(mut command: Command, told: &str) -> Result<Vec<u8>, Failure> {
    if std::io::stderr().is_terminal() {
        command.args(["--color", "always"]);
    }
    let cannot = |error: io::Error| Failure::machine(format!("{told}: {error}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cannot)?;
    let errors = child.stderr.take();
    let (output, taken) = std::thread::scope(|scope| {
        let taken = scope.spawn(|| errors.and_then(pass_on));
        (wait(child), taken.join().unwrap_or_default())
    });
    let (status, printed) = output.map_err(cannot)?;
    if status.success() {
        return Ok(printed);
    }
    let remedy = taken.map(|name| {
        format!(
            "; two functions are called \"{name}\": give one of them another name with `#[wpc::function(name = \"…\")]`"
        )
    });
    let remedy = remedy.unwrap_or_default();
    Err(Failure::Project(format!("{told} did not compile it: {status}{remedy}")))
}

/// Writes a compiler's lines to standard error; returns the function's name that is taken, if the lines report one.
fn pass_on(lines: impl std::io::Read) -> Option<String> {
    let mut taken = None;
    for line in BufReader::new(lines).split(b'\n').map_while(Result::ok) {
        // Its reader may be gone.
        let _ = std::io::stderr().write_all(&[line.as_slice(), b"\n"].concat());
        let line = String::from_utf8_lossy(&line);
        let name = line.split_once(TAKEN.0).and_then(|(_, rest)| rest.split_once(TAKEN.1));
        taken = taken.or_else(|| name.map(|(name, _)| name.to_owned()));
    }
    taken
}

/// Standard output is the command's own: what a compiler prints there goes where mistakes go.
fn beside() -> Stdio {
    std::io::stderr().into()
}

fn rust(sources: &Sources, target: &str, out: &Path) -> Result<String, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let cargo = Tool::first([vec![cargo]], "--version", |_| true)
        .ok_or_else(|| missing(Language::Rust, "install it from https://rustup.rs"))?;
    let manifest = file::read(&sources.folder.join("Cargo.toml"), MAX_SOURCE).unwrap_or_default();
    let manifest = String::from_utf8_lossy(&manifest);
    let has = |table: &str| manifest.lines().any(|line| line.trim() == table);
    if !has("[package]") {
        return Err(Failure::usage(format!(
            "{}: it is a workspace; build the folder of one of its packages",
            sources.folder.display()
        )));
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    // In the project's folder, which may choose its toolchain.
    let libraries = says(
        Command::new(rustc)
            .args(["--print", "target-libdir", "--target", target])
            .current_dir(&sources.folder),
    );
    if !libraries.is_some_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Err(Failure::machine(format!(
            "the compiler has no libraries for {target}: rustup target add {target}"
        )));
    }
    let mut command = cargo.command();
    command.current_dir(&sources.folder);
    command.args(["build", "--release", "--target", target]);
    command.args(["--message-format", "json-render-diagnostics"]);
    // Beside a program, the library's functions are meant; both would be one file.
    if has("[lib]") || sources.folder.join("src/lib.rs").is_file() {
        command.arg("--lib");
    }
    let messages = run_cargo(command, &cargo.told())?;
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
        .args(files(sources));
    run(command, &tool.told(), beside())?;
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
    command.arg("build-exe").args(files(sources));
    command.args(["-target", target, "-fno-entry", "-rdynamic", "-O", "ReleaseSmall"]);
    command.args(["--stack", ZIG_STACK]);
    let mut place = OsString::from("-femit-bin=");
    place.push(out);
    command.arg(place);
    run(command, &zig.told(), beside())?;
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
    command.args(files(sources)).arg("-O").arg("--outFile").arg(out);
    // What `abort` usually imports no host of ours offers; the helper's tells the host why.
    let helper = sources.files[0].with_file_name("wpc");
    if sources.folder.join(&helper).with_extension("ts").is_file() {
        command.arg("--use").arg(format!("abort={}/abort", helper.display()));
    }
    run(command, &asc.told(), beside())?;
    Ok(asc.told())
}

fn wat(sources: &Sources, out: &Path) -> Result<String, Failure> {
    let path = sources.folder.join(&sources.files[0]);
    let text = file::read(&path, MAX_SOURCE)?;
    let bytes = ::wat::Parser::new().parse_bytes(Some(&path), &text).map_err(|error| {
        // As other compilers do, it shows the place on several lines.
        for line in error.to_string().lines() {
            let _ = writeln!(std::io::stderr(), "{}", escape(line));
        }
        Failure::Project(format!("\"{}\" did not compile", path.display()))
    })?;
    std::fs::write(out, bytes)
        .map_err(|error| Failure::machine(format!("{}: {error}", out.display())))?;
    Ok(concat!("wpc ", env!("CARGO_PKG_VERSION")).to_owned())
}
