//! `wpc inspect`: what a module tells.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::terminal;
use std::fmt::Write as _;
use std::path::PathBuf;
use wpc_host::{ExportInformation, ModuleInformation, Options};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The module's file.
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let options = Options { compile_cache: cache.folder()?, ..Options::default() };
    let told = terminal::read_module(&arguments.file)?.inspect_with(&options)?;
    let text = if as_json {
        let json = serde_json::to_string(&told);
        json.map_err(|error| Failure::machine(error.to_string()))? + "\n"
    } else {
        text(&told)
    };
    terminal::print(text.as_bytes())
}

fn text(told: &ModuleInformation) -> String {
    let mut text = String::new();
    let contract = told.abi_version.map_or_else(
        || "none of wpc's; numbers only".to_owned(),
        |version| format!("version {version}"),
    );
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<16}{value}");
    };
    line("size", &format!("{} bytes", told.size));
    line("SHA-1", &told.hash_sha1.to_string());
    line("SHA-256", &told.hash_sha256.to_string());
    line("contract", &contract);
    let memory = match told.maximum_memory {
        Some(most) => format!("{} bytes to begin with, at most {most}", told.initial_memory),
        None => format!("{} bytes to begin with, and no bound of its own", told.initial_memory),
    };
    line("memory", &memory);
    if let Some(most) = told.maximum_table_elements {
        line("tables", &format!("at most {most} elements each"));
    }
    let dependencies = told.required_dependencies.iter();
    let dependencies =
        dependencies.map(|needed| format!("{} ({})", needed.alias, needed.imports.join(", ")));
    let capabilities = told.required_capabilities.iter().map(|needed| format!("{needed:?}"));
    for (name, needed) in [
        ("constants", told.required_constants.clone()),
        ("dependencies", dependencies.collect()),
        ("host functions", told.required_host_functions.clone()),
        ("capabilities", capabilities.collect()),
        ("WASI", told.required_wasi_imports.clone()),
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
            let _ = writeln!(text, "  {}", ty.definition);
        }
    }
    text
}

/// A function's line: its name and its types.
pub(crate) fn function_line(function: &ExportInformation) -> String {
    match &function.signature {
        Some(signature) => format!("  {}{signature}\n", function.name),
        None => format!("  {} (types are not told)\n", function.name),
    }
}
