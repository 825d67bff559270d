//! `wpc build`: compiles a project to a module, and adds declared types that the language cannot record.

use crate::cache::{BUILD, Cache};
use crate::failure::Failure;
use crate::language::Sources;
use crate::remedy::{Interface, remedy_text};
use crate::text::{count, escape};
use crate::toolchain::{self, TargetFolder};
use crate::{declarations, inspect, source_check, terminal};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use wpc_abi::{documentation, section};
use wpc_deploy::{Build, MANIFEST_NAME, Source, file};
use wpc_host::{Limits, ModuleInformation, Options, WasmModule};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The project's folder, or a source file.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where to write the module. Default: in the project's folder, with the name of the folder or source file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The compilation target, such as `wasm32-wasip1`; overrides the one in `wpc.toml`.
    #[arg(long)]
    target: Option<String>,
    /// Cargo's target folder. Default: the one that the project or the environment chooses; otherwise one shared target folder
    /// inside the compile cache's folder.
    #[arg(long, value_name = "FOLDER")]
    target_dir: Option<PathBuf>,
    /// Also build the projects of the modules that the manifest names, dependencies first.
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

/// Builds the project after those of the modules that its manifest names. With JSON, writes one line for each project.
fn build_all(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let mut order = Vec::new();
    add_projects(&arguments.path, &mut Vec::new(), &mut order)?;
    if order.is_empty() {
        // Returns the error that describes what a project is.
        order.push(Sources::at(&arguments.path)?);
    }
    for sources in &order {
        let path = sources.folder.clone();
        let target_dir = arguments.target_dir.clone();
        let one = Arguments { path, output: None, target: None, target_dir, all: false };
        let text = build(sources, &one, cache, as_json)?;
        terminal::print(format!("{}\n", text.trim_end()).as_bytes())?;
    }
    Ok(())
}

/// Adds the folder's project to `order` after the projects whose modules its manifest names. `open` contains the
/// folders on the path to this one, to detect cycles.
fn add_projects(
    folder: &Path,
    open: &mut Vec<PathBuf>,
    order: &mut Vec<Sources>,
) -> Result<(), Failure> {
    let cannot = |error| Failure::environment(format!("{}: {error}", folder.display()));
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
    if folder.join(MANIFEST_NAME).is_file() {
        open.push(folder.clone());
        let source = Source::read(&folder)?;
        for file in source.parse()?.files() {
            let file = source.folder().join(file);
            let Some(other) = file.parent().and_then(|other| std::fs::canonicalize(other).ok())
            else {
                continue;
            };
            // A project's module has the name of its folder and is in it; other modules are not built here.
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

/// Builds the project of a folder to its default output. Does nothing if the folder does not contain a project.
pub(crate) fn build_folder(folder: &Path, cache: &Cache) -> Result<(), Failure> {
    let Ok(sources) = Sources::at(folder) else { return Ok(()) };
    let path = folder.to_owned();
    let arguments = Arguments { path, output: None, target: None, target_dir: None, all: false };
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
    let out = output_path(&out, sources)?;
    let cannot =
        |error: std::io::Error| Failure::environment(format!("{}: {error}", out.display()));
    // Written to a temporary file and renamed, because a running pool may read the module at any time.
    let mut partial = tempfile::Builder::new();
    partial.prefix(".wpc-build-").suffix(".wasm");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // The default mode of new files; temporary files are otherwise private to their owner.
        partial.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let partial = partial.tempfile_in(out.parent().unwrap_or(Path::new("/"))).map_err(cannot)?;
    let options = cache.options()?;
    let folder = match (&arguments.target_dir, &options.compile_cache) {
        (Some(chosen), _) => TargetFolder::Chosen(absolute(chosen)?),
        (None, Some(cache)) => TargetFolder::Shared(cache.join(BUILD)),
        (None, None) => TargetFolder::Default,
    };
    let tool = toolchain::compile(sources, target, folder, partial.path())?;
    let mut bytes = read_built(partial.path())?;
    let information = finish(&mut bytes, manifest.as_ref(), &options)?;
    std::fs::write(partial.path(), bytes).map_err(cannot)?;
    partial.persist(&out).map_err(|error| cannot(error.error))?;
    let warnings = source_check::warnings(sources, &information, toolchain::is_wasi(target));
    let text = if as_json {
        let language = sources.language.name();
        json!({
            "file": out,
            "language": language,
            "toolchain": tool,
            "module": information,
            "warnings": warnings,
        })
        .to_string()
    } else {
        for warning in warnings {
            // The reader of standard error may be gone.
            let _ = writeln!(std::io::stderr(), "warning: {}", escape(&warning));
        }
        let functions: String = information.functions.iter().map(inspect::function_line).collect();
        let size = count(information.size as u64, "byte");
        format!("{}\n{size}, built by {tool}\n{functions}", out.display())
    };
    Ok(text)
}

fn absolute(folder: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(folder)
        .map_err(|error| Failure::usage(format!("{}: {error}", folder.display())))
}

/// Reads the compiler's output, up to the maximum size of a module.
fn read_built(path: &Path) -> Result<Vec<u8>, Failure> {
    let limit = Limits::default().module_size;
    file::read(path, limit).map_err(|error| {
        if error.is_too_large() {
            let message = format!("the built module is larger than the limit of {limit} bytes");
            Failure::Project(message)
        } else {
            error.into()
        }
    })
}

/// The path to write the module to, with links resolved. Rejects a path that is not a regular file, and the source.
fn output_path(out: &Path, sources: &Sources) -> Result<PathBuf, Failure> {
    let cannot = |why: &str| Failure::usage(format!("{}: {why}", out.display()));
    let out = match std::fs::canonicalize(out) {
        Ok(out) => out,
        Err(_) => std::path::absolute(out).map_err(|error| cannot(&error.to_string()))?,
    };
    if out.exists() && !out.is_file() {
        return Err(cannot("the output must be a regular file"));
    }
    if sources.files.iter().any(|file| sources.folder.join(file) == out) {
        return Err(cannot("the output would overwrite the source"));
    }
    Ok(out)
}

fn read_manifest(folder: &Path) -> Result<Option<(Source, Build)>, Failure> {
    let path = folder.join(MANIFEST_NAME);
    if !path.exists() {
        return Ok(None);
    }
    let source = Source::read(&path)?;
    let build = source.parse()?.build;
    Ok(Some((source, build)))
}

/// Adds the declared types and the documentation, and checks that the module is valid.
fn finish(
    bytes: &mut Vec<u8>,
    manifest: Option<&(Source, Build)>,
    options: &Options,
) -> Result<ModuleInformation, Failure> {
    if let Some((source, build)) = manifest.filter(|(_, build)| build.declares_any()) {
        let information = WasmModule::new(bytes.as_slice()).inspect_with(options)?;
        let types = declarations::records(source, build).map_err(Failure::Problems)?;
        let problems = declarations::check(&information, source, build);
        if !problems.is_empty() {
            return Err(Failure::Problems(problems));
        }
        let texts = declarations::documentation(&information, source, build);
        let texts = texts.map_err(Failure::Problems)?;
        if !types.is_empty() {
            bytes.extend(section::custom_section(&types));
        }
        if !texts.is_empty() {
            bytes.extend(documentation::custom_section(&texts));
        }
    }
    // With the most memory that a definition can have, because its limits are not known here.
    let limits = Limits::default().memory(u32::MAX as usize);
    let information = WasmModule::new(bytes.as_slice()).limits(limits).inspect_with(options)?;
    match &information.refused {
        Some(why) => {
            let remedy = information.remedy.as_ref();
            let remedy =
                remedy.map(|remedy| format!("; {}", remedy_text(remedy, Interface::MANIFEST)));
            let remedy = remedy.unwrap_or_default();
            Err(Failure::Project(format!("the built module cannot be used: {why}{remedy}")))
        }
        None => Ok(information),
    }
}
