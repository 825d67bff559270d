//! `wpc inspect`: lists what a module exports and requires.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::limit_options::LimitOptions;
use crate::remedy::{Interface, remedy_text};
use crate::text::{count, escape, joined};
use crate::{module_file, terminal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use wpc_deploy::Source;
use wpc_deploy::file::STANDARD_INPUT;
use wpc_host::{
    ExportInformation, FunctionSignature, Limits, ModuleInformation, Options, SuspensionCause,
    TypeInformation,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The module's file, or `-` for standard input. With a manifest or its folder, inspect every module of it.
    #[arg(required_unless_present = "manifest")]
    file: Option<PathBuf>,
    /// Inspect every module of this manifest, or of the one in this folder.
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
    let mut limits = arguments.limits.limits();
    // Checked as a limit of the definition, because no call is made.
    limits.timeout = arguments.limits.timeout().or(limits.timeout);
    let options = cache.options()?;
    let max_wasm_stack = arguments.limits.pool_stack(options.max_wasm_stack);
    // Without a manifest, the command line parser requires a file.
    let file = file.unwrap_or(Path::new(STANDARD_INPUT));
    let module = inspect(file, limits, &options.max_wasm_stack(max_wasm_stack))?;
    let text = if as_json { format!("{}\n", self::as_json(&module)?) } else { text(&module) };
    terminal::print(text.as_bytes())
}

fn inspect(file: &Path, limits: Limits, options: &Options) -> Result<ModuleInformation, Failure> {
    let module = module_file::read(file, &limits)?.limits(limits);
    Ok(module.inspect_with(options)?)
}

/// The remedy if the module is rejected.
fn remedy(module: &ModuleInformation) -> Option<String> {
    module.remedy.as_ref().map(|remedy| remedy_text(remedy, Interface::OPTIONS))
}

/// Inspects every module that a manifest names, without duplicates, with the limits of its entry.
fn inspect_all(
    manifest: &Path,
    arguments: &Arguments,
    cache: &Cache,
    as_json: bool,
) -> Result<(), Failure> {
    if let Some((key, option)) = arguments.limits.first() {
        return Err(Failure::usage(format!(
            "{option} cannot be combined with a manifest; set `{key}` in `limits` in \"{}\"",
            Source::path(manifest).display()
        )));
    }
    let source = Source::read(manifest)?;
    let manifest = source.parse()?;
    let options = cache.options()?.max_wasm_stack(manifest.options().max_wasm_stack);
    let mut modules = Vec::new();
    let mut shown = String::new();
    for (file, limits) in manifest.limited_files() {
        let module = inspect(&source.folder().join(&file), limits, &options)?;
        if as_json {
            modules.push(json!({ "file": file, "module": self::as_json(&module)? }));
        } else {
            let separator = if shown.is_empty() { "" } else { "\n" };
            shown += &format!("{separator}file            {}\n", escape(&file.to_string_lossy()));
            shown += &text(&module);
        }
    }
    if as_json {
        shown = json!({ "modules": modules }).to_string() + "\n";
    }
    terminal::print(shown.as_bytes())
}

fn as_json(module: &ModuleInformation) -> Result<Value, Failure> {
    let mut json =
        serde_json::to_value(module).map_err(|error| Failure::environment(error.to_string()))?;
    if let Some(remedy) = remedy(module) {
        json["remedy"] = remedy.into();
    }
    Ok(json)
}

fn text(module: &ModuleInformation) -> String {
    let mut text = String::new();
    let contract = match (module.abi_version, &module.refused) {
        (Some(version), _) => format!("version {version}"),
        (None, None) => "plain exports; numbers only".to_owned(),
        (None, Some(_)) => "not declared".to_owned(),
    };
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<16}{}", escape(value));
    };
    if let Some(why) = &module.refused {
        let remedy = remedy(module).map(|remedy| format!("; {remedy}")).unwrap_or_default();
        line("refused", &format!("{why}{remedy}"));
    }
    line("size", &count(module.size as u64, "byte"));
    line("SHA-1", &module.hash_sha1.to_string());
    line("SHA-256", &module.hash_sha256.to_string());
    line("contract", &contract);
    let initial = count(module.initial_memory, "byte");
    let memory = match module.maximum_memory {
        Some(max) => format!("{initial} initially, at most {max}"),
        None => format!("{initial} initially, without a maximum"),
    };
    // The memory of a component is unknown.
    if module.refused.is_none() || module.initial_memory > 0 || module.maximum_memory.is_some() {
        line("memory", &memory);
    }
    if let Some(max) = module.maximum_table_elements {
        line("tables", &format!("at most {} each", count(max, "element")));
    }
    let constants =
        module.required_constants.iter().map(|name| match module.constant_types.get(name) {
            Some(types) => format!("{name}: {}", joined(types)),
            None => name.clone(),
        });
    let with_signature = |name: &String, signatures: &BTreeMap<String, Vec<FunctionSignature>>| {
        format!("{name}{}", signatures.get(name).map(|known| joined(known)).unwrap_or_default())
    };
    let dependencies = module.required_dependencies.iter().map(|needed| {
        let imports = needed.imports.iter();
        let imports: Vec<_> =
            imports.map(|name| with_signature(name, &needed.signatures)).collect();
        format!("{} ({})", needed.alias, imports.join(", "))
    });
    let host_functions = module.required_host_functions.iter();
    let host_functions =
        host_functions.map(|name| with_signature(name, &module.host_function_signatures));
    let functions = module.required_functions.iter();
    let functions =
        functions.map(|name| with_signature(name, &module.required_function_signatures));
    let by_name = module.calls_functions_by_name.then(|| "names that it computes".to_owned());
    // In the spelling of `--grant`.
    let capabilities = module.required_capabilities.iter();
    let capabilities = capabilities.map(|needed| format!("{needed:?}").to_lowercase());
    for (name, needed) in [
        ("constants", constants.collect()),
        ("dependencies", dependencies.collect()),
        ("host functions", host_functions.collect()),
        ("calls", functions.chain(by_name).collect()),
        ("capabilities", capabilities.collect()),
        ("WASI", module.required_wasi_imports.clone()),
        ("WASI grants", wasi_grants(module)),
        ("can suspend", module.suspension_causes.iter().map(suspension).collect()),
        ("imports", other_imports(module)),
        ("other exports", module.other_exports.clone()),
    ] {
        if !needed.is_empty() {
            line(name, &needed.join(", "));
        }
    }
    text.push_str("\nfunctions\n");
    for function in &module.functions {
        text.push_str(&function_line(function));
        let rest = function.documentation.as_deref().map_or("", |text| split(text).1);
        push_comment(&mut text, rest);
    }
    if module.functions.is_empty() {
        text.push_str("  none that can be called\n");
    }
    if !module.types.is_empty() {
        text.push_str("\ntypes\n");
        for ty in &module.types {
            text.push_str(&type_lines(ty));
        }
    }
    text
}

/// When this cause suspends a call.
fn suspension(cause: &SuspensionCause) -> String {
    match cause {
        SuspensionCause::HostFunction(name) => {
            format!("if the host function {name} is async or blocking")
        }
        SuspensionCause::FunctionCall(name) => format!("while it calls function {name}"),
        SuspensionCause::WasiImport(name) => format!("when it waits in {name}"),
        SuspensionCause::Items => {
            "when its caller reads items more slowly than the function yields them".to_owned()
        }
        SuspensionCause::TimeSlice(length) => {
            format!("after a time slice of {}", humantime::format_duration(*length))
        }
        other => format!("by {other}"),
    }
}

/// The values of `--grant` that the module's WASI imports require, in addition to capabilities.
fn wasi_grants(module: &ModuleInformation) -> Vec<String> {
    let is_folder = |piece: &String| piece == "read_directory";
    let (folders, others): (Vec<_>, Vec<_>) =
        module.required_wasi_grants.iter().partition(|piece| is_folder(piece));
    let wasi = (!others.is_empty()).then(|| "wasi".to_owned());
    let folder = (!folders.is_empty()).then(|| "read=FOLDER or write=FOLDER".to_owned());
    wasi.into_iter().chain(folder).collect()
}

/// The imports that no other line lists. There are none if the module can be defined.
fn other_imports(module: &ModuleInformation) -> Vec<String> {
    if module.refused.is_none() {
        return Vec::new();
    }
    let dependencies = module.required_dependencies.iter().flat_map(|needed| {
        let alias = &needed.alias;
        needed
            .imports
            .iter()
            .flat_map(move |name| [format!("{alias}.{name}"), format!("wpc:{alias}.{name}")])
    });
    let host_functions =
        module.required_host_functions.iter().map(|name| format!("wpc-host.{name}"));
    let functions = module.required_functions.iter().map(|name| format!("wpc-functions.{name}"));
    let wasi =
        module.required_wasi_imports.iter().map(|name| format!("wasi_snapshot_preview1.{name}"));
    let listed: HashSet<_> =
        dependencies.chain(host_functions).chain(functions).chain(wasi).collect();
    let is_new =
        |import: &&String| import.rsplit_once(": ").is_none_or(|(name, _)| !listed.contains(name));
    module.imports.iter().filter(is_new).cloned().collect()
}

/// The line of a function with its name, its types and the first line of its documentation, and a second line if calling
/// it by this name needs an explanation.
pub(crate) fn function_line(function: &ExportInformation) -> String {
    let types = match &function.signature {
        Some(signature) => signature.to_string(),
        None => " (types not declared)".to_owned(),
    };
    let error = function.signature.as_ref().and_then(|signature| signature.error.as_ref());
    let error = error.map(|error| format!(", or error {error}")).unwrap_or_default();
    let declared = format!("{}{types}{error}", function.name);
    let mut line = with_summary(&declared, function.documentation.as_deref());
    if let Some(how) = &function.how_to_call {
        let _ = writeln!(line, "      how to call it: {how}");
    }
    line
}

/// The lines of a type: its definition and its documentation, then those of its fields and variants that have one.
fn type_lines(ty: &TypeInformation) -> String {
    let mut lines = with_summary(&ty.definition, ty.documentation.as_deref());
    push_comment(&mut lines, ty.documentation.as_deref().map_or("", |text| split(text).1));
    for (item, text) in &ty.item_documentation {
        let (summary, rest) = split(text);
        let _ = writeln!(lines, "      {}  // {}", escape(item), escape(summary));
        push_comment(&mut lines, rest);
    }
    lines
}

/// An indented line with the first line of the documentation beside it, as a comment.
fn with_summary(declared: &str, documentation: Option<&str>) -> String {
    match documentation {
        Some(text) => format!("  {}  // {}\n", escape(declared), escape(split(text).0)),
        None => format!("  {}\n", escape(declared)),
    }
}

/// Appends further lines of the documentation as comments, so that they cannot be mistaken for other lines.
fn push_comment(lines: &mut String, text: &str) {
    for line in text.lines() {
        let _ = writeln!(lines, "{}", format!("      // {}", escape(line)).trim_end());
    }
}

/// The first line of a text, and the lines after it.
fn split(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}
