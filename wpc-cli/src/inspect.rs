//! `wpc inspect`: what a module tells.

use crate::failure::Failure;
use std::fmt::Write as _;
use std::path::PathBuf;
use wpc_host::ModuleInformation;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The module's file.
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    let told = crate::read_module(&arguments.file)?.inspect()?;
    let text = if as_json {
        let json = serde_json::to_string(&told);
        json.map_err(|error| Failure::machine(error.to_string()))? + "\n"
    } else {
        text(&told)
    };
    crate::print(text.as_bytes())
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
    line("memory", &format!("{} bytes to begin with", told.initial_memory));
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
        let signature = function.signature.as_deref().unwrap_or("(types are not told)");
        let space = if function.signature.is_some() { "" } else { " " };
        let _ = writeln!(text, "  {}{space}{signature}", function.name);
    }
    if told.functions.is_empty() {
        text.push_str("  none that could be called\n");
    }
    text
}
