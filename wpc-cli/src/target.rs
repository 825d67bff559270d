//! What is called on the command line: a function, what it needs, and a pool with both.

use crate::cache::Cache;
use crate::constant::{self, Declared};
use crate::deployment::Deployment;
use crate::failure::Failure;
use crate::file::{self, MAX_JSON, STANDARD_INPUT};
use crate::limit_options::LimitOptions;
use crate::manifest::Source;
use crate::nearest::nearest;
use crate::remedy::Interface;
use crate::{grant, module_file};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wpc_host::{CallOptions, Error, Limits, Options, WasmModule, WorkerEvent, WorkerProcedureCall};

#[derive(clap::Args)]
pub(crate) struct Target {
    /// The module's file; `-` is standard input. A project's folder or a manifest defines the function with its
    /// constants, dependencies, grants and limits.
    file: PathBuf,
    /// The export to call, as `wpc inspect` lists it; with a manifest, the function's name there.
    #[arg(required_unless_present = "manifest", default_value = "", hide_default_value = true)]
    function: String,
    /// Its arguments, each JSON. Text needs no quotes; `@FILE` gives a file's bytes to a `Vec<u8>`, and its JSON to
    /// other types but text; `@-` reads standard input.
    #[arg(allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Takes the definitions from this manifest, or the one in this folder; no FILE is given then.
    #[arg(long, value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
    /// Defines a constant, of the type that the module declares; `wpc inspect` lists it. Where it declares none, one with
    /// integers needs its type, as in `LIMIT:u32=3`. May be given several times.
    #[arg(long = "const", value_name = "NAME[:TYPE]=JSON")]
    constants: Vec<String>,
    /// Defines a dependency; it is granted what the function is. May be given several times.
    #[arg(long = "dep", value_name = "ALIAS=FILE")]
    dependencies: Vec<String>,
    #[arg(long = "grant", value_name = "GRANT", help = grant::HELP)]
    grants: Vec<String>,
    /// How many workers there are.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) workers: u16,
    #[command(flatten)]
    limits: LimitOptions,
}

/// How long a call may take where nothing is chosen.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The export that runs a whole program.
const PROGRAM: &str = "_start";

impl Target {
    /// Sorts the words out: with `--manifest` there is no file before the function.
    pub(crate) fn sort_out(&mut self) {
        if self.manifest.is_none() {
            if Source::is_at(&self.file) {
                self.manifest = Some(self.file.clone());
            }
            return;
        }
        let function = self.file.to_string_lossy().into_owned();
        let first = std::mem::replace(&mut self.function, function);
        if !first.is_empty() {
            self.arguments.insert(0, first);
        }
    }

    /// What the function and its options are called by.
    pub(crate) fn interface(&self) -> Interface {
        if self.manifest.is_some() { Interface::Manifest } else { Interface::Options }
    }

    /// As [`Self::pool`], by a manifest: with all its constants and dependencies, and the function or the modules.
    fn pool_of(
        &self,
        manifest: &Path,
        cache: &Cache,
        outstanding: usize,
        listener: impl Fn(&WorkerEvent) + Send + Sync + 'static,
    ) -> Result<WorkerProcedureCall, Failure> {
        for (option, is_given) in [
            ("--dep", !self.dependencies.is_empty()),
            ("--grant", !self.grants.is_empty()),
            ("a limit of the definition", self.limits.has_limit_of_definition()),
        ] {
            if is_given {
                return Err(Failure::usage(format!(
                    "{option} and a manifest: write it in \"{}\"",
                    Source::path(manifest).display()
                )));
            }
        }
        let source = Source::read(manifest)?;
        let mut manifest = source.parse()?;
        manifest.keep_function(&self.function);
        manifest.take_calls(outstanding);
        let deployment = Deployment::open(&source, &manifest, cache, listener)?;
        let wpc = deployment.pool().clone();
        let declared = deployment.declared_constants();
        for text in &self.constants {
            constant::define_from(&wpc, &declared, text)?;
        }
        wpc.start_workers(self.workers.into())?;
        let functions = wpc.get_remote_functions();
        let mut names = functions.iter().map(|function| function.name.as_str());
        if names.clone().all(|name| name != self.function) {
            let error = Error::FunctionNotDefined { function: self.function.clone() };
            return Err(match nearest(&self.function, &mut names) {
                Some(nearest) => {
                    Failure::Misspelt { error: Box::new(error), nearest: nearest.to_owned() }
                }
                None => error.into(),
            });
        }
        Ok(wpc)
    }

    /// A pool that is up and has everything defined, and takes so many calls at once. `listener` is called with
    /// its events.
    pub(crate) fn pool(
        &self,
        cache: &Cache,
        outstanding: usize,
        shows_output: bool,
        listener: impl Fn(&WorkerEvent) + Send + Sync + 'static,
    ) -> Result<WorkerProcedureCall, Failure> {
        if let Some(manifest) = &self.manifest {
            return self.pool_of(manifest, cache, outstanding, listener);
        }
        let options = self.pool_options(cache, outstanding)?;
        let wpc = WorkerProcedureCall::new(options.clone())?;
        wpc.on_worker_event(listener)
            .map_err(|error| Failure::machine(format!("no thread for events: {error}")))?;
        let limits = self.limits.limits();
        let mut declared = Declared::default();
        let mut dependencies = Vec::new();
        for text in &self.dependencies {
            let (alias, file) = split_dependency(text)?;
            let module = module_file::read(file, &limits)?.limits(limits.clone());
            declared.add(&module);
            dependencies.push((alias, grant::apply(module, &self.grants, false)?));
        }
        let module = module_file::read(&self.file, &limits)?.export(&self.function).limits(limits);
        let module = grant::apply(module, &self.grants, self.is_program() && shows_output)?;
        declared.add(&module);
        for text in &self.constants {
            constant::define_from(&wpc, &declared, text)?;
        }
        for (alias, module) in dependencies {
            wpc.define_worker_dependency(alias, module)?;
        }
        wpc.define_worker_function(&self.name(), module.clone())
            .map_err(|error| self.with_nearest(error, &module, &options))?;
        wpc.start_workers(self.workers.into())?;
        Ok(wpc)
    }

    /// What the pool may use: no more instances than its workers need for one function, since address space is
    /// reserved for each.
    fn pool_options(&self, cache: &Cache, outstanding: usize) -> Result<Options, Failure> {
        /// The most that a pool may have.
        const MOST: usize = 10_000;
        let usual = cache.options()?;
        let instances = usize::from(self.workers).saturating_mul(self.dependencies.len() + 1);
        Ok(Options {
            max_live_instances: u32::try_from(instances.min(MOST)).unwrap_or(u32::MAX),
            max_wasm_stack: self.limits.pool_stack(usual.max_wasm_stack),
            max_waiting_calls: usual.max_waiting_calls.max(outstanding),
            ..usual
        })
    }

    /// A name that may be defined, and is like the export's, which may be any text.
    pub(crate) fn name(&self) -> String {
        if wpc_abi::names::is_valid(&self.function) {
            return self.function.clone();
        }
        let fits = |character: char| character.is_ascii_alphanumeric();
        let name: String = self.function.chars().map(|c| if fits(c) { c } else { '_' }).collect();
        // Neither empty nor longer than a name may be.
        format!("export_{}", &name[..name.len().min(100)])
    }

    /// The failure of a definition, with the name that was probably meant.
    fn with_nearest(&self, error: Error, module: &WasmModule, options: &Options) -> Failure {
        let nearest = match &error {
            Error::MissingExport { .. } => module.inspect_with(options).ok().and_then(|told| {
                let names = told.functions.iter().map(|function| function.name.as_str());
                nearest(&self.function, names).map(str::to_owned)
            }),
            _ => None,
        };
        match nearest {
            Some(nearest) => Failure::Misspelt { error: Box::new(error), nearest },
            None => error.into(),
        }
    }

    /// Checks that standard input is read once; `raw` where the arguments are read from there.
    pub(crate) fn check_input(&self, raw: bool) -> Result<(), Failure> {
        let is_input = |file: &Path| file.as_os_str() == STANDARD_INPUT;
        let mut uses = Vec::new();
        if is_input(&self.file) {
            uses.push("the module `-`".to_owned());
        }
        for text in &self.dependencies {
            let (alias, file) = split_dependency(text)?;
            if is_input(file) {
                uses.push(format!("--dep {alias}=-"));
            }
        }
        uses.extend(self.arguments.iter().filter(|text| *text == "@-").cloned());
        if raw {
            uses.push("--raw".to_owned());
        }
        if self.grants.iter().any(|grant| grant == "stdin") {
            uses.push("--grant stdin".to_owned());
        }
        match uses.as_slice() {
            [] | [_] => Ok(()),
            [one, other, ..] => {
                Err(Failure::usage(format!("{one} and {other} both read standard input")))
            }
        }
    }

    pub(crate) fn options(&self) -> CallOptions {
        // A manifest chooses others.
        let usual = self.manifest.is_none().then_some(TIME_LIMIT);
        let mut options = CallOptions::new();
        if let Some(limit) = self.limits.time_limit().or(usual) {
            options = options.time_limit(limit);
        }
        if let Some(fuel) = self.limits.fuel().filter(|_| self.manifest.is_some()) {
            options = options.fuel(fuel);
        }
        options
    }

    /// Whether a whole program is called, whose result is what it prints.
    pub(crate) fn is_program(&self) -> bool {
        self.function == PROGRAM
    }

    /// How many bytes the encoded arguments may have.
    pub(crate) fn arguments_limit(&self) -> usize {
        self.limits.limits().arguments
    }

    /// The arguments encoded. Where all of them are bytes and text, they do not go through JSON.
    pub(crate) fn encoded(&self, wpc: &WorkerProcedureCall) -> Result<Vec<u8>, Failure> {
        let signature = self.signature(wpc);
        let types = signature.as_deref().map(argument_types).unwrap_or_default();
        let is_large = |ty: &&str| matches!(*ty, "String" | "Vec<u8>");
        if types.len() != self.arguments.len() || !types.iter().all(is_large) {
            return Ok(wpc.encode_json(&self.name(), &self.values(wpc)?)?);
        }
        let limits = self.limits.limits();
        let mut encoded = Vec::new();
        for (text, ty) in self.arguments.iter().zip(types) {
            let bytes = match text.strip_prefix('@') {
                Some(path) if ty == "Vec<u8>" => file::read_given(path.as_ref(), limits.arguments)?,
                _ => match value(text, Some(ty), &limits)? {
                    Value::String(text) if ty == "String" => text.into_bytes(),
                    // Bytes that were typed as a list, or something that the error is to name.
                    _ => return Ok(wpc.encode_json(&self.name(), &self.values(wpc)?)?),
                },
            };
            let (length, used) = wpc_abi::reply::length(bytes.len());
            encoded.extend_from_slice(&length[..used]);
            encoded.extend_from_slice(&bytes);
        }
        Ok(encoded)
    }

    /// The function's types, where its module declares them.
    fn signature(&self, wpc: &WorkerProcedureCall) -> Option<String> {
        let name = self.name();
        let mut functions = wpc.get_remote_functions().into_iter();
        functions.find(|function| function.name == name)?.parameter_signature
    }

    /// The arguments as they were typed, by the function's types.
    pub(crate) fn values(&self, wpc: &WorkerProcedureCall) -> Result<Vec<Value>, Failure> {
        let signature = self.signature(wpc);
        let types = signature.as_deref().map(argument_types).unwrap_or_default();
        let types = types.into_iter().map(Some).chain(std::iter::repeat(None));
        let limits = self.limits.limits();
        self.arguments.iter().zip(types).map(|(text, ty)| value(text, ty, &limits)).collect()
    }
}

fn split_dependency(text: &str) -> Result<(&str, &Path), Failure> {
    let parts = text.split_once('=');
    let (alias, file) =
        parts.ok_or_else(|| Failure::usage(format!("--dep {text}: it must be ALIAS=FILE")))?;
    Ok((alias, file.as_ref()))
}

/// An argument by its type: text is text, whatever it looks like, unless it has JSON's quotes.
fn value(text: &str, ty: Option<&str>, limits: &Limits) -> Result<Value, Failure> {
    let is_text = matches!(ty, Some("String" | "char"));
    if is_text && !text.starts_with('"') {
        return Ok(Value::from(text));
    }
    if let Some(path) = text.strip_prefix('@').filter(|_| !is_text) {
        let is_bytes = ty == Some("Vec<u8>");
        let limit = if is_bytes { limits.arguments } else { MAX_JSON };
        let bytes = file::read_given(path.as_ref(), limit)?;
        if is_bytes {
            return Ok(Value::from(bytes));
        }
        return serde_json::from_slice(file::without_byte_order_mark(&bytes))
            .map_err(|error| Failure::usage(format!("{path} is not JSON: {error}")));
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // What begins like JSON was meant to be some.
        Err(error) if text.starts_with(['{', '[', '"']) => {
            Err(Failure::usage(format!("{text} is not JSON: {error}")))
        }
        Err(_) => Ok(Value::from(text)),
    }
}

/// The types of a signature's arguments.
fn argument_types(signature: &str) -> Vec<&str> {
    arguments_of(signature).into_iter().map(|(_, ty)| ty).collect()
}

/// A signature's arguments and their types: what stands between its commas, but for those within a type.
pub(crate) fn arguments_of(signature: &str) -> Vec<(&str, &str)> {
    let mut arguments = Vec::new();
    let (mut depth, mut start) = (0_usize, 1);
    for (at, character) in signature.char_indices() {
        match character {
            '(' | '<' => depth += 1,
            '>' if signature[..at].ends_with('-') => break,
            ')' | '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_end = (character == ',' && depth == 1) || depth == 0;
        if is_end {
            if let Some((name, ty)) = signature[start..at].split_once(':') {
                arguments.push((name.trim(), ty.trim()));
            }
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signatures_types_are_what_stands_between_its_commas() {
        for (signature, types) in [
            ("() -> ()", vec![]),
            ("(a: i32) -> String", vec!["i32"]),
            (
                "(a: Map<String, u32>, b: (u8, u8), c: ?) -> ()",
                vec!["Map<String, u32>", "(u8, u8)", "?"],
            ),
        ] {
            assert_eq!(argument_types(signature), types, "{signature}");
        }
    }
}
