//! `wpc build`: a module out of a project, with what its language cannot tell added to it.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::language::Sources;
use crate::manifest::{self, Build, Source};
use crate::remedy::{Interface, remedy_text};
use crate::text::escape;
use crate::{declarations, file, inspect, source_check, terminal, toolchain};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use wpc_abi::section::custom_section;
use wpc_host::{Limits, ModuleInformation, WasmModule};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The project's folder, or one source file.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where the module is put. Usually it is named like the folder or the file, and lies beside it.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What it is compiled for, as in `wasm32-wasip1`; instead of what `wpc.toml` says.
    #[arg(long)]
    target: Option<String>,
    /// Builds the projects of the modules that the manifest names as well, each after what its own manifest names.
    #[arg(long, conflicts_with_all = ["output", "target"])]
    all: bool,
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    if arguments.all {
        return build_all(arguments, cache, as_json);
    }
    let sources = Sources::at(&arguments.path)?;
    let text = build(&sources, arguments, cache, as_json)?;
    terminal::print(format!("{}\n", text.trim_end()).as_bytes())
}

/// Builds the project and, before it, those of the modules that its manifest names. With JSON each is a line.
fn build_all(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let mut order = Vec::new();
    add_projects(&arguments.path, &mut Vec::new(), &mut order)?;
    if order.is_empty() {
        // The error says what a project is.
        order.push(Sources::at(&arguments.path)?);
    }
    for sources in &order {
        let path = sources.folder.clone();
        let one = Arguments { path, output: None, target: None, all: false };
        let text = build(sources, &one, cache, as_json)?;
        terminal::print(format!("{}\n", text.trim_end()).as_bytes())?;
    }
    Ok(())
}

/// Adds the folder's project to `order` after the projects whose modules its manifest names. `open` has the folders
/// from which this one is reached.
fn add_projects(
    folder: &Path,
    open: &mut Vec<PathBuf>,
    order: &mut Vec<Sources>,
) -> Result<(), Failure> {
    let cannot = |error| Failure::machine(format!("{}: {error}", folder.display()));
    let folder = std::fs::canonicalize(folder).map_err(cannot)?;
    if let Some(start) = open.iter().position(|other| *other == folder) {
        let cycle = open[start..].iter().chain([&folder]);
        let cycle: Vec<_> = cycle.map(|folder| folder.display().to_string()).collect();
        return Err(Failure::usage(format!(
            "dependency cycle of projects: {}",
            cycle.join(" -> ")
        )));
    }
    if order.iter().any(|sources| sources.folder == folder) {
        return Ok(());
    }
    if folder.join(manifest::NAME).is_file() {
        open.push(folder.clone());
        let source = Source::read(&folder)?;
        for file in source.parse()?.files() {
            let file = source.folder().join(file);
            let Some(other) = file.parent().and_then(|other| std::fs::canonicalize(other).ok())
            else {
                continue;
            };
            // A project's module is named like its folder and lies there; others are not built here.
            let is_built = other != folder
                && other.file_name().is_some()
                && other.file_name() == file.file_stem();
            if is_built && Sources::at(&other).is_ok() {
                add_projects(&other, open, order)?;
            }
        }
        open.pop();
    }
    if let Ok(sources) = Sources::at(&folder) {
        order.push(sources);
    }
    Ok(())
}

/// Builds the project of a folder where its module usually lies; nothing where there is no project.
pub(crate) fn build_folder(folder: &Path, cache: &Cache) -> Result<(), Failure> {
    let Ok(sources) = Sources::at(folder) else { return Ok(()) };
    let arguments = Arguments { path: folder.to_owned(), output: None, target: None, all: false };
    build(&sources, &arguments, cache, false).map(drop)
}

fn build(
    sources: &Sources,
    arguments: &Arguments,
    cache: &Cache,
    as_json: bool,
) -> Result<String, Failure> {
    let manifest = read_manifest(&sources.folder)?;
    let build = manifest.as_ref().map(|(_, build)| build);
    let target = arguments.target.as_deref().or(build.and_then(|build| build.target.as_deref()));
    let out = match &arguments.output {
        Some(out) => out.clone(),
        None => sources.folder.join(format!("{}.wasm", sources.name)),
    };
    let out = place(&out, sources)?;
    let cannot = |error: std::io::Error| Failure::machine(format!("{}: {error}", out.display()));
    // Only what is whole comes to its place: somebody may be serving what lies there.
    let mut partial = tempfile::Builder::new();
    partial.prefix(".wpc-build-").suffix(".wasm");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any file that is made, and not for its owner alone.
        partial.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let partial = partial.tempfile_in(out.parent().unwrap_or(Path::new("/"))).map_err(cannot)?;
    let tool = toolchain::compile(sources, target, partial.path())?;
    let mut bytes = read_built(partial.path())?;
    let told = finish(&mut bytes, manifest.as_ref(), cache)?;
    std::fs::write(partial.path(), bytes).map_err(cannot)?;
    partial.persist(&out).map_err(|error| cannot(error.error))?;
    let warnings = source_check::warnings(sources, &told, toolchain::is_wasi(target));
    let text = if as_json {
        let language = sources.language.name();
        json!({
            "file": out,
            "language": language,
            "toolchain": tool,
            "module": told,
            "warnings": warnings,
        })
        .to_string()
    } else {
        for warning in warnings {
            // The reader of standard error may be gone.
            let _ = writeln!(std::io::stderr(), "warning: {}", escape(&warning));
        }
        let functions: String = told.functions.iter().map(inspect::function_line).collect();
        format!("{}\n{} bytes, built by {tool}\n{functions}", out.display(), told.size)
    };
    Ok(text)
}

/// What the compiler wrote, as far as a module may be long.
fn read_built(path: &Path) -> Result<Vec<u8>, Failure> {
    let limit = Limits::default().module_size;
    file::read(path, limit).map_err(|error| {
        if error.is_too_large() {
            let why = format!("it has more than {limit} bytes, which a module may have");
            Failure::Project(format!("what was built is of no use: {why}"))
        } else {
            error.into()
        }
    })
}

/// Where the module goes: what a link leads to, and never in the place of what is no module.
fn place(out: &Path, sources: &Sources) -> Result<PathBuf, Failure> {
    let cannot = |why: &str| Failure::usage(format!("{}: {why}", out.display()));
    let out = match std::fs::canonicalize(out) {
        Ok(out) => out,
        Err(_) => std::path::absolute(out).map_err(|error| cannot(&error.to_string()))?,
    };
    if out.exists() && !out.is_file() {
        return Err(cannot("it is no file that could be replaced"));
    }
    if sources.files.iter().any(|file| sources.folder.join(file) == out) {
        return Err(cannot("it is the source"));
    }
    Ok(out)
}

fn read_manifest(folder: &Path) -> Result<Option<(Source, Build)>, Failure> {
    let path = folder.join(manifest::NAME);
    if !path.exists() {
        return Ok(None);
    }
    let source = Source::read(&path)?;
    let build = source.parse()?.build;
    Ok(Some((source, build)))
}

/// Adds the types, and sees that the module is one.
fn finish(
    bytes: &mut Vec<u8>,
    manifest: Option<&(Source, Build)>,
    cache: &Cache,
) -> Result<ModuleInformation, Failure> {
    let options = cache.options()?;
    if let Some((source, build)) = manifest.filter(|(_, build)| build.declares_types()) {
        let records = declarations::records(source, build).map_err(Failure::Problems)?;
        let told = WasmModule::new(bytes.as_slice()).inspect_with(&options)?;
        let wrong = declarations::wrong(&told, source, build);
        if !wrong.is_empty() {
            return Err(Failure::Problems(wrong));
        }
        bytes.extend(custom_section(&records));
    }
    let told = WasmModule::new(bytes.as_slice()).inspect_with(&options)?;
    match &told.refused {
        Some(why) => {
            let remedy = told.remedy.as_ref();
            let remedy =
                remedy.map(|remedy| format!("; {}", remedy_text(remedy, Interface::Manifest)));
            let remedy = remedy.unwrap_or_default();
            Err(Failure::Project(format!("what was built cannot be used: {why}{remedy}")))
        }
        None => Ok(told),
    }
}
