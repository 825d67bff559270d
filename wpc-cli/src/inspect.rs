//! `wpc inspect`: what a module tells.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::file::STANDARD_INPUT;
use crate::limit_options::LimitOptions;
use crate::manifest::Source;
use crate::remedy::{Interface, remedy_text};
use crate::text::escape;
use crate::{module_file, terminal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use wpc_host::{ExportInformation, ModuleInformation, Options};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The module's file; `-` is standard input. Of a project's folder or a manifest every module is inspected.
    #[arg(required_unless_present = "manifest")]
    file: Option<PathBuf>,
    /// Inspects every module of this manifest, or of the one in this folder.
    #[arg(long, value_name = "MANIFEST", conflicts_with = "file")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitOptions,
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let file = arguments.file.as_deref();
    if let Some(manifest) =
        file.filter(|file| Source::is_at(file)).or(arguments.manifest.as_deref())
    {
        return inspect_all(manifest, arguments, cache, as_json);
    }
    // Without a manifest the command line has a file.
    let told = inspect(file.unwrap_or(Path::new(STANDARD_INPUT)), arguments, cache)?;
    let text = if as_json { format!("{}\n", self::as_json(&told)?) } else { text(&told) };
    terminal::print(text.as_bytes())
}

fn inspect(
    file: &Path,
    arguments: &Arguments,
    cache: &Cache,
) -> Result<ModuleInformation, Failure> {
    let mut limits = arguments.limits.limits();
    // Checked as a definition's, since nothing is called.
    limits.time = arguments.limits.time_limit().or(limits.time);
    let options = cache.options()?;
    let max_wasm_stack = arguments.limits.pool_stack(options.max_wasm_stack);
    let options = Options { max_wasm_stack, ..options };
    let module = module_file::read(file, &limits)?.limits(limits);
    Ok(module.inspect_with(&options)?)
}

/// What helps where the module is refused.
fn remedy(told: &ModuleInformation) -> Option<String> {
    told.remedy.as_ref().map(|remedy| remedy_text(remedy, Interface::Options))
}

/// Every module that a manifest names, each once.
fn inspect_all(
    manifest: &Path,
    arguments: &Arguments,
    cache: &Cache,
    as_json: bool,
) -> Result<(), Failure> {
    let source = Source::read(manifest)?;
    let files = source.parse()?.files();
    let mut modules = Vec::new();
    let mut shown = String::new();
    for file in files {
        let told = inspect(&source.folder().join(&file), arguments, cache)?;
        if as_json {
            modules.push(json!({ "file": file, "module": self::as_json(&told)? }));
        } else {
            let separator = if shown.is_empty() { "" } else { "\n" };
            shown += &format!("{separator}file            {}\n", escape(&file.to_string_lossy()));
            shown += &text(&told);
        }
    }
    if as_json {
        shown = json!({ "modules": modules }).to_string() + "\n";
    }
    terminal::print(shown.as_bytes())
}

fn as_json(told: &ModuleInformation) -> Result<Value, Failure> {
    let mut json =
        serde_json::to_value(told).map_err(|error| Failure::machine(error.to_string()))?;
    if let Some(remedy) = remedy(told) {
        json["remedy"] = remedy.into();
    }
    Ok(json)
}

fn text(told: &ModuleInformation) -> String {
    let mut text = String::new();
    let contract = match (told.abi_version, &told.refused) {
        (Some(version), _) => format!("version {version}"),
        (None, None) => "none of wpc's; numbers only".to_owned(),
        (None, Some(_)) => "none of wpc's".to_owned(),
    };
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<16}{}", escape(value));
    };
    if let Some(why) = &told.refused {
        let remedy = remedy(told).map(|remedy| format!("; {remedy}")).unwrap_or_default();
        line("refused", &format!("{why}{remedy}"));
    }
    line("size", &count(told.size as u64, "byte"));
    line("SHA-1", &told.hash_sha1.to_string());
    line("SHA-256", &told.hash_sha256.to_string());
    line("contract", &contract);
    let initial = count(told.initial_memory, "byte");
    let memory = match told.maximum_memory {
        Some(most) => format!("{initial} to begin with, at most {most}"),
        None => format!("{initial} to begin with, and no bound of its own"),
    };
    // Of a component nothing is known.
    if told.refused.is_none() || told.initial_memory > 0 || told.maximum_memory.is_some() {
        line("memory", &memory);
    }
    if let Some(most) = told.maximum_table_elements {
        line("tables", &format!("at most {} each", count(most, "element")));
    }
    let constants =
        told.required_constants.iter().map(|name| match told.constant_types.get(name) {
            Some(ty) => format!("{name}: {ty}"),
            None => name.clone(),
        });
    let with_signature = |name: &String, signatures: &BTreeMap<String, String>| {
        format!("{name}{}", signatures.get(name).map_or("", String::as_str))
    };
    let dependencies = told.required_dependencies.iter().map(|needed| {
        let imports = needed.imports.iter();
        let imports: Vec<_> =
            imports.map(|name| with_signature(name, &needed.signatures)).collect();
        format!("{} ({})", needed.alias, imports.join(", "))
    });
    let host_functions = told.required_host_functions.iter();
    let host_functions =
        host_functions.map(|name| with_signature(name, &told.host_function_signatures));
    // As `--grant` takes them.
    let capabilities = told.required_capabilities.iter();
    let capabilities = capabilities.map(|needed| format!("{needed:?}").to_lowercase());
    for (name, needed) in [
        ("constants", constants.collect()),
        ("dependencies", dependencies.collect()),
        ("host functions", host_functions.collect()),
        ("capabilities", capabilities.collect()),
        ("WASI", told.required_wasi_imports.clone()),
        ("WASI grants", wasi_grants(told)),
        ("imports", other_imports(told)),
        ("other exports", told.other_exports.clone()),
    ] {
        if !needed.is_empty() {
            line(name, &needed.join(", "));
        }
    }
    text.push_str("\nfunctions\n");
    for function in &told.functions {
        text.push_str(&function_line(function));
    }
    if told.functions.is_empty() {
        text.push_str("  none that could be called\n");
    }
    if !told.types.is_empty() {
        text.push_str("\ntypes\n");
        for ty in &told.types {
            let _ = writeln!(text, "  {}", escape(&ty.definition));
        }
    }
    text
}

/// What `--grant` must be given for the module's imports of WASI, beside capabilities.
fn wasi_grants(told: &ModuleInformation) -> Vec<String> {
    let is_folder = |piece: &String| piece == "read_directory";
    let (folders, others): (Vec<_>, Vec<_>) =
        told.required_wasi_grants.iter().partition(|piece| is_folder(piece));
    let wasi = (!others.is_empty()).then(|| "wasi".to_owned());
    let folder = (!folders.is_empty()).then(|| "read=FOLDER or write=FOLDER".to_owned());
    wasi.into_iter().chain(folder).collect()
}

/// The imports that no other line tells. There are none where the module can be defined.
fn other_imports(told: &ModuleInformation) -> Vec<String> {
    if told.refused.is_none() {
        return Vec::new();
    }
    let dependencies = told.required_dependencies.iter().flat_map(|needed| {
        let alias = &needed.alias;
        needed
            .imports
            .iter()
            .flat_map(move |name| [format!("{alias}.{name}"), format!("wpc:{alias}.{name}")])
    });
    let host_functions = told.required_host_functions.iter().map(|name| format!("wpc-host.{name}"));
    let wasi =
        told.required_wasi_imports.iter().map(|name| format!("wasi_snapshot_preview1.{name}"));
    let elsewhere: HashSet<_> = dependencies.chain(host_functions).chain(wasi).collect();
    let is_new = |import: &&String| {
        import.rsplit_once(": ").is_none_or(|(name, _)| !elsewhere.contains(name))
    };
    told.imports.iter().filter(is_new).cloned().collect()
}

/// So many of them.
fn count(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// A function's line: its name and its types; a second one where its name needs to be said how to call it.
pub(crate) fn function_line(function: &ExportInformation) -> String {
    let types = function.signature.as_deref().unwrap_or(" (types are not told)");
    let error = function.error_type.as_ref();
    let error = error.map(|error| format!(", or error {error}")).unwrap_or_default();
    let mut line = format!("  {}\n", escape(&format!("{}{types}{error}", function.name)));
    if let Some(how) = &function.how_to_call {
        let _ = writeln!(line, "      how to call it: {how}");
    }
    line
}
