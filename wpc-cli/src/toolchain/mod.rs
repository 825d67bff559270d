//! The compilers on this machine: how each compiles a project to a module, and how to install one that is missing.

mod group;
mod process;
mod rust;
mod shared_target;

use crate::failure::Failure;
use crate::language::{Language, Sources};
use crate::text::escape;
use process::{Tool, run, to_stderr};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use wpc_deploy::file;

/// The maximum size of a source file in bytes. Module text is several times as long as the module.
const MAX_SOURCE: usize = 256 << 20;

/// The default target for Rust.
const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// Whether the target has WASI's C library, by its former or current name.
pub(crate) fn is_wasi(target: Option<&str>) -> bool {
    target.is_some_and(|target| target.contains("wasi"))
}

/// Where cargo compiles.
pub(crate) enum TargetFolder {
    /// As the project and the environment choose.
    Default,
    Chosen(PathBuf),
    /// In a folder below this one that other projects use too, unless the project needs its own.
    Shared(PathBuf),
}

/// Compiles to `out`; returns the compiler's description.
pub(crate) fn compile(
    sources: &Sources,
    target: Option<&str>,
    folder: TargetFolder,
    out: &Path,
) -> Result<String, Failure> {
    check_target(sources.language, target)?;
    group::listen()?;
    let compiled = match sources.language {
        Language::Rust => rust::compile(sources, target.unwrap_or(RUST_TARGET), folder, out),
        Language::C => c(sources, target, out),
        Language::Zig => zig(sources, target, out),
        Language::AssemblyScript => assemblyscript(sources, out),
        Language::Wat => wat(sources, out),
    };
    if group::is_interrupted() { Err(Failure::Interrupted) } else { compiled }
}

/// Rejects a target that would not be passed to the language's compiler. The Rust compiler checks its own targets.
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
    let expected = if known.is_empty() {
        "has no choice of targets".to_owned()
    } else {
        format!("supports {}", known.join(", "))
    };
    Err(Failure::usage(format!("unknown target `{target}`: {} {expected}", language.name())))
}

/// The files as arguments of a compiler, with a leading `./` so that none is parsed as an option.
fn files(sources: &Sources) -> impl Iterator<Item = PathBuf> {
    sources.files.iter().map(|file| Path::new(".").join(file))
}

fn not_found(language: Language, remedy: &str) -> Failure {
    Failure::environment(format!("found no compiler for {}; {remedy}", language.name()))
}

/// The LLVM versions to look for, because systems install them side by side as `clang-VERSION`.
const LLVM: std::ops::RangeInclusive<u32> = 14..=25;

/// The command lines that start Zig: the program itself, or the Python package.
const ZIG: [&[&str]; 3] = [&["zig"], &["python3", "-m", "ziglang"], &["python", "-m", "ziglang"]];

fn find_zig() -> Option<Tool> {
    Tool::first(ZIG.map(|words| words.to_vec()), "version", |_| true)
}

fn find_clang(is_wasi: bool) -> Option<Tool> {
    let versions = LLVM.rev().map(|version| format!("clang-{version}"));
    let names = std::iter::once("clang".to_owned()).chain(versions);
    Tool::first(names.map(|name| vec![name]), "--version", |clang| {
        let has_target =
            clang.output_of(&["--print-targets"]).is_some_and(|all| all.contains("wasm32"));
        // clang prints the bare name of a program that it cannot find.
        let finds = |query: &str| {
            let file = clang.output_of(&["--target=wasm32", query]).unwrap_or_default();
            Path::new(file.trim()).is_absolute()
        };
        let has_library = || {
            ["--print-file-name=libc.a", "--print-libgcc-file-name"].iter().all(|query| {
                let found = clang.output_of(&["--target=wasm32-wasi", query]).unwrap_or_default();
                Path::new(found.trim()).is_file()
            })
        };
        has_target && finds("--print-prog-name=wasm-ld") && (!is_wasi || has_library())
    })
}

/// Options for a module without a C library and without an entry point.
const C_FREESTANDING: [&str; 3] = ["-ffreestanding", "-nostdlib", "-Wl,--no-entry"];

/// Places C's stack before its data, so that a stack overflow traps instead of overwriting data.
const CLANG_STACK: &str = "-Wl,--stack-first";

/// The stack size in bytes for Zig, which places the stack first by default. Its default size is a megabyte or more.
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
        return Err(not_found(
            Language::C,
            "install clang and wasm-ld (Debian: apt install clang lld; for WASI also wasi-libc libclang-rt-dev-wasm32), or Zig, which includes both (pip install ziglang)",
        ));
    };
    command.current_dir(&sources.folder);
    if is_wasi {
        command.arg("-mexec-model=reactor");
    } else {
        command.args(C_FREESTANDING);
    }
    command
        .args(["-O2", "-Wall", "-Wextra", "-Wl,--strip-all", "-o"])
        .arg(out)
        .args(files(sources));
    run(command, &tool.description(), to_stderr())?;
    Ok(tool.description())
}

fn zig(sources: &Sources, target: Option<&str>, out: &Path) -> Result<String, Failure> {
    let zig = find_zig().ok_or_else(|| {
        not_found(
            Language::Zig,
            "install it from https://ziglang.org/download or with `pip install ziglang`",
        )
    })?;
    let mut command = zig.command();
    command.current_dir(&sources.folder);
    let target = if is_wasi(target) { "wasm32-wasi" } else { "wasm32-freestanding" };
    command.arg("build-exe").args(files(sources));
    command.args(["-target", target, "-fno-entry", "-rdynamic", "-O", "ReleaseSmall"]);
    command.args(["--stack", ZIG_STACK]);
    let mut emit = OsString::from("-femit-bin=");
    emit.push(out);
    command.arg(emit);
    run(command, &zig.description(), to_stderr())?;
    Ok(zig.description())
}

fn assemblyscript(sources: &Sources, out: &Path) -> Result<String, Failure> {
    let own = sources.folder.join("node_modules/.bin/asc").into_os_string();
    let asc = Tool::first([vec![own], vec!["asc".into()]], "--version", |_| true);
    let asc = asc.ok_or_else(|| {
        let install = if sources.folder.join("package.json").is_file() {
            format!(
                "install the dependencies of package.json with `npm install --prefix {}`",
                sources.folder.display()
            )
        } else {
            "install it with `npm install --global assemblyscript`".to_owned()
        };
        not_found(Language::AssemblyScript, &install)
    })?;
    let mut command = asc.command();
    command.current_dir(&sources.folder);
    command.args(files(sources)).arg("-O").arg("--outFile").arg(out);
    // The default `abort` is an import that the host does not provide; the helper's passes the reason to the host.
    let helper = sources.files[0].with_file_name("wpc");
    if sources.folder.join(&helper).with_extension("ts").is_file() {
        command.arg("--use").arg(format!("abort={}/abort", helper.display()));
    }
    run(command, &asc.description(), to_stderr())?;
    Ok(asc.description())
}

fn wat(sources: &Sources, out: &Path) -> Result<String, Failure> {
    let path = sources.folder.join(&sources.files[0]);
    let text = file::read(&path, MAX_SOURCE)?;
    let bytes = ::wat::Parser::new().parse_bytes(Some(&path), &text).map_err(|error| {
        // The parser shows the position on several lines, as other compilers do.
        for line in error.to_string().lines() {
            let _ = writeln!(std::io::stderr(), "{}", escape(line));
        }
        Failure::Project(format!("failed to compile \"{}\"", path.display()))
    })?;
    std::fs::write(out, bytes)
        .map_err(|error| Failure::environment(format!("{}: {error}", out.display())))?;
    Ok(concat!("wpc ", env!("CARGO_PKG_VERSION")).to_owned())
}
