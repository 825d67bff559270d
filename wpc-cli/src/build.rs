//! `wpc build`: a module out of a project, with what its language cannot tell added to it.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::language::Sources;
use crate::manifest::{self, Build, Source};
use crate::problem::{MANIFEST, Problem};
use crate::{inspect, terminal, toolchain};
use serde_json::json;
use std::path::{Path, PathBuf};
use wpc_abi::section::SECTION;
use wpc_abi::text::parse_signature;
use wpc_host::{ModuleInformation, Options, WasmModule};

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
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let sources = Sources::at(&arguments.path)?;
    let manifest = read_manifest(&sources.folder)?;
    let build = manifest.as_ref().map(|(_, build)| build);
    let target = arguments.target.as_deref().or(build.and_then(|build| build.target.as_deref()));
    let out = match &arguments.output {
        Some(out) => out.clone(),
        None => sources.folder.join(format!("{}.wasm", sources.name)),
    };
    let out = std::path::absolute(&out)
        .map_err(|error| Failure::usage(format!("{}: {error}", out.display())))?;
    // Only what is whole comes to its place: somebody may be serving what lies there.
    let partial = out.with_extension("wasm.part");
    let told = toolchain::compile(&sources, target, &partial)
        .and_then(|tool| Ok((tool, finish(&partial, &out, manifest.as_ref(), cache)?)));
    // It is there only where something went wrong, or else it has moved.
    let _ = std::fs::remove_file(&partial);
    let (tool, told) = told?;
    let text = if as_json {
        let language = sources.language.name();
        json!({ "file": out, "language": language, "toolchain": tool, "module": told }).to_string()
    } else {
        let functions: String = told.functions.iter().map(inspect::function_line).collect();
        format!("{}\n{} bytes, built by {tool}\n{functions}", out.display(), told.size)
    };
    terminal::print(format!("{}\n", text.trim_end()).as_bytes())
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
    partial: &Path,
    out: &Path,
    manifest: Option<&(Source, Build)>,
    cache: &Cache,
) -> Result<ModuleInformation, Failure> {
    let cannot = |path: &Path, error: &std::io::Error| {
        Failure::machine(format!("{}: {error}", path.display()))
    };
    let mut bytes = std::fs::read(partial).map_err(|error| cannot(partial, &error))?;
    if let Some((source, build)) = manifest {
        add_signatures(&mut bytes, source, build)?;
    }
    let options = Options { compile_cache: cache.folder()?, ..Options::default() };
    let told = WasmModule::new(bytes.as_slice()).inspect_with(&options)?;
    if let Some((source, build)) = manifest {
        let unknown = unknown_functions(&told, source, build);
        if !unknown.is_empty() {
            return Err(Failure::Problems(unknown));
        }
    }
    std::fs::write(partial, bytes).map_err(|error| cannot(partial, &error))?;
    std::fs::rename(partial, out).map_err(|error| cannot(out, &error))?;
    Ok(told)
}

/// Appends the custom section that tells the manifest's signatures.
fn add_signatures(module: &mut Vec<u8>, source: &Source, build: &Build) -> Result<(), Failure> {
    let mut records = Vec::new();
    let mut problems = Vec::new();
    for (name, text) in &build.signatures {
        match parse_signature(name, text.get_ref()) {
            Ok(signature) => records.extend(signature.record()),
            Err(error) => {
                let message = format!("the signature of \"{name}\": {error}");
                problems.push(source.problem(text.span().start, MANIFEST, &message));
            }
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    if !records.is_empty() {
        append_custom_section(module, SECTION, &records);
    }
    Ok(())
}

/// A custom section: the number 0, its length, and in that its name with a length, and its bytes.
fn append_custom_section(module: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let mut body = leb128(name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(bytes);
    module.push(0);
    module.extend(leb128(body.len()));
    module.append(&mut body);
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn unknown_functions(told: &ModuleInformation, source: &Source, build: &Build) -> Vec<Problem> {
    let is_there = |name: &str| told.functions.iter().any(|function| function.name == name);
    let unknown = build.signatures.iter().filter(|(name, _)| !is_there(name));
    let problem = unknown.map(|(name, text)| {
        let there: Vec<_> = told.functions.iter().map(|function| function.name.as_str()).collect();
        let message =
            format!("the module has no function \"{name}\"; it has: {}", there.join(", "));
        source.problem(text.span().start, MANIFEST, &message)
    });
    problem.collect()
}
