//! The function that `wpc call` and `wpc bench` call, with its definitions, and a pool that contains them.

mod arguments;

use crate::cache::Cache;
use crate::constant;
use crate::failure::Failure;
use crate::limit_options::LimitOptions;
use crate::nearest::nearest;
use crate::remedy::{Caller, Definition, Interface};
use crate::{grant, module_file};
use arguments::{bytes, value};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wpc_deploy::file::{self, STANDARD_INPUT};
use wpc_deploy::{ConstantTypes, Deployment, Source};
use wpc_host::{
    CallOptions, Error, FunctionParameter, Options, WasmModule, WorkerEvent, WorkerProcedureCall,
};

pub(crate) use arguments::MAX_JSON;

#[derive(clap::Args)]
pub(crate) struct Target {
    /// The module's file, or `-` for standard input. With a manifest or its folder, the manifest defines the
    /// function's constants, dependencies, grants and limits.
    #[arg(index = 1)]
    file: PathBuf,
    /// The export to call, as listed by `wpc inspect`; with a manifest, the function's name in it.
    #[arg(index = 2, required_unless_present = "manifest")]
    function: Option<String>,
    /// The arguments as JSON; strings need no quotes. `@FILE` reads a file: its bytes for `Vec<u8>`, its JSON for
    /// other types except strings. `@-` reads standard input.
    #[arg(index = 3, allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Use the definitions of this manifest, or of the one in this folder; replaces FILE.
    #[arg(long, value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
    /// Define a constant; may be given several times. Its type is the one that the module declares, as listed by
    /// `wpc inspect`. Otherwise, integers need a type: `LIMIT:u32=3`.
    #[arg(long = "const", value_name = "NAME[:TYPE]=JSON")]
    constants: Vec<String>,
    /// Define a dependency, with the same grants as the function; may be given several times.
    #[arg(long = "dep", value_name = "ALIAS=FILE")]
    dependencies: Vec<String>,
    #[arg(long = "grant", value_name = "GRANT", help = grant::HELP)]
    grants: Vec<String>,
    /// Number of workers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) workers: u16,
    #[command(flatten)]
    limits: LimitOptions,
}

/// The default time limit of a call.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The entry point of a WASI program.
const PROGRAM: &str = "_start";

impl Target {
    /// Assigns positional arguments: with `--manifest`, the first one is the function instead of the file.
    pub(crate) fn resolve_positions(&mut self) {
        if self.manifest.is_none() {
            if Source::is_at(&self.file) {
                self.manifest = Some(self.file.clone());
            }
            return;
        }
        self.shift_positions();
    }

    /// Assigns the positional arguments of a call to a server: the first one is the function instead of the file.
    pub(crate) fn resolve_server_positions(&mut self) {
        self.shift_positions();
    }

    /// Makes the first positional argument the function, and the second one the first argument of the call.
    fn shift_positions(&mut self) {
        let function = self.file.to_string_lossy().into_owned();
        if let Some(first) = self.function.replace(function) {
            self.arguments.insert(0, first);
        }
    }

    /// The name of the function; empty if none was given.
    fn function(&self) -> &str {
        self.function.as_deref().unwrap_or_default()
    }

    /// The module's file as the command line names it.
    pub(crate) fn file(&self) -> std::path::Display<'_> {
        self.file.display()
    }

    /// Whether a module or a manifest was given.
    #[cfg(feature = "cluster")]
    pub(crate) fn is_file(&self) -> bool {
        let is_module = self
            .file
            .extension()
            .is_some_and(|extension| extension == "wasm" || extension == "wat");
        let is_input = self.file.as_os_str() == STANDARD_INPUT;
        self.manifest.is_some()
            || is_input
            || Source::is_at(&self.file)
            || is_module && self.file.exists()
    }

    /// Whether neither a manifest nor an existing file was given.
    pub(crate) fn is_missing(&self) -> bool {
        let is_input = self.file.as_os_str() == STANDARD_INPUT;
        self.manifest.is_none() && !is_input && !self.file.exists()
    }

    /// The function of a server. Options that define a function are refused, because the server has
    /// its own definitions.
    pub(crate) fn remote_function(&self) -> Result<&str, Failure> {
        let given = [
            ("--manifest", self.manifest.is_some()),
            ("--const", !self.constants.is_empty()),
            ("--dep", !self.dependencies.is_empty()),
            ("--grant", !self.grants.is_empty()),
        ];
        let given = given.into_iter().find_map(|(option, is_given)| is_given.then_some(option));
        if let Some(option) = given.or(self.limits.of_definition().map(|(_, option)| option)) {
            return Err(Failure::usage(format!(
                "{option} cannot be combined with --server or --cluster, which have their own definitions"
            )));
        }
        if !wpc_abi::names::is_valid(self.function()) {
            let name = self.function();
            return Err(Failure::usage(format!("{name:?} is not a valid name of a function")));
        }
        Ok(self.function())
    }

    /// The options of a call to a server, as its query.
    pub(crate) fn remote_query(&self) -> String {
        // Without spaces, which a query cannot contain.
        let timeout = self.limits.timeout().map(|limit| {
            format!("timeout={}", humantime::format_duration(limit).to_string().replace(' ', ""))
        });
        let fuel = self.limits.fuel().map(|fuel| format!("fuel={fuel}"));
        let parameters: Vec<_> = [timeout, fuel].into_iter().flatten().collect();
        if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) }
    }

    /// The options of a call to a function that is defined elsewhere.
    #[cfg(feature = "cluster")]
    pub(crate) fn remote_options(&self) -> CallOptions {
        let mut options = CallOptions::new();
        if let Some(limit) = self.limits.timeout() {
            options = options.timeout(limit);
        }
        if let Some(fuel) = self.limits.fuel() {
            options = options.fuel(fuel);
        }
        options
    }

    /// The arguments of the command line, without knowing the function's types: text that is not JSON is a string.
    pub(crate) fn untyped_values(&self) -> Result<Vec<Value>, Failure> {
        self.arguments.iter().map(|text| value(text, None, MAX_JSON)).collect()
    }

    /// The interface that defines the function and its settings.
    pub(crate) fn interface(&self, caller: Caller) -> Interface {
        let definition =
            if self.manifest.is_some() { Definition::Manifest } else { Definition::Options };
        Interface { definition, caller }
    }

    /// As [`Self::pool`], with the constants and dependencies of a manifest, and the function or the modules that may
    /// define it.
    fn pool_of(
        &self,
        manifest: &Path,
        cache: &Cache,
        outstanding: usize,
        listener: impl Fn(&WorkerEvent) + Send + Sync + 'static,
    ) -> Result<WorkerProcedureCall, Failure> {
        let definition = [
            ("--dep", "[dependencies]", !self.dependencies.is_empty()),
            ("--grant", "`grants`", !self.grants.is_empty()),
        ];
        let definition = definition
            .into_iter()
            .find(|(.., is_given)| *is_given)
            .map(|(option, key, _)| (option, key.to_owned()));
        let limit = self
            .limits
            .of_definition()
            .map(|(field, option)| (option, format!("`{field}` in `limits`")));
        if let Some((option, key)) = definition.or(limit) {
            return Err(Failure::usage(format!(
                "{option} cannot be combined with a manifest; set {key} in \"{}\"",
                Source::path(manifest).display()
            )));
        }
        let source = Source::read(manifest)?;
        let mut manifest = source.parse()?;
        manifest.keep_function(self.function());
        manifest.accept_outstanding(outstanding);
        let deployment = Deployment::open(&source, &manifest, cache.setup()?.on_event(listener))?;
        let wpc = deployment.pool().clone();
        let declared = deployment.constant_types();
        for text in &self.constants {
            constant::define_from(&wpc, &declared, text)?;
        }
        wpc.start_workers(self.workers.into())?;
        let functions = wpc.get_remote_functions();
        let mut names = functions.iter().map(|function| function.name.as_str());
        if names.clone().all(|name| name != self.function()) {
            let error = Error::function_not_defined(self.function());
            return Err(match nearest(self.function(), &mut names) {
                Some(nearest) => {
                    Failure::Misspelt { error: Box::new(error), nearest: nearest.to_owned() }
                }
                None => error.into(),
            });
        }
        Ok(wpc)
    }

    /// Starts a pool with all definitions that accepts `outstanding` concurrent calls. `listener` receives its events.
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
        wpc.on_worker_event(listener).map_err(|error| {
            Failure::environment(format!("failed to start the event thread: {error}"))
        })?;
        let limits = self.limits.limits();
        let mut declared = ConstantTypes::default();
        let mut dependencies = Vec::new();
        for text in &self.dependencies {
            let (alias, file) = split_dependency(text)?;
            let module = module_file::read(file, &limits)?.limits(limits.clone());
            declared.add(&module);
            dependencies.push((alias, grant::apply(module, &self.grants, false)?));
        }
        let module = module_file::read(&self.file, &limits)?.export(self.function()).limits(limits);
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

    /// The pool's options, with only as many instances as the calls of one function need at once, because the pool reserves
    /// address space for each instance.
    fn pool_options(&self, cache: &Cache, outstanding: usize) -> Result<Options, Failure> {
        /// The maximum for a pool.
        const MAX_INSTANCES: usize = 10_000;
        let mut options = cache.options()?;
        let workers = usize::from(self.workers);
        // A call that has a time slice keeps its instances while others run.
        let calls = if self.limits.has_time_slice() { workers.max(outstanding) } else { workers };
        let instances = calls.saturating_mul(self.dependencies.len() + 1);
        options.max_live_instances =
            u32::try_from(instances.min(MAX_INSTANCES)).unwrap_or(u32::MAX);
        options.max_wasm_stack = self.limits.pool_stack(options.max_wasm_stack);
        options.max_waiting_calls = options.max_waiting_calls.max(outstanding);
        Ok(options)
    }

    /// A valid function name derived from the export's name, which may be any string.
    pub(crate) fn name(&self) -> String {
        if wpc_abi::names::is_valid(self.function()) {
            return self.function().to_owned();
        }
        let is_valid = |character: char| character.is_ascii_alphanumeric();
        let name: String =
            self.function().chars().map(|c| if is_valid(c) { c } else { '_' }).collect();
        // With a prefix so that it is not empty, and within the maximum length of a name.
        format!("export_{}", &name[..name.len().min(100)])
    }

    /// A definition's error, with the name that was probably meant.
    fn with_nearest(&self, error: Error, module: &WasmModule, options: &Options) -> Failure {
        let nearest = match &error {
            Error::MissingExport { .. } => module.inspect_with(options).ok().and_then(|found| {
                let names = found.functions.iter().map(|function| function.name.as_str());
                nearest(self.function(), names).map(str::to_owned)
            }),
            _ => None,
        };
        match nearest {
            Some(nearest) => Failure::Misspelt { error: Box::new(error), nearest },
            None => error.into(),
        }
    }

    /// Checks that standard input is used only once; `raw` if the arguments are read from it.
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
        // A manifest has its own time limits.
        let default = self.manifest.is_none().then_some(TIME_LIMIT);
        let mut options = CallOptions::new();
        if let Some(limit) = self.limits.timeout().or(default) {
            options = options.timeout(limit);
        }
        if let Some(fuel) = self.limits.fuel().filter(|_| self.manifest.is_some()) {
            options = options.fuel(fuel);
        }
        options
    }

    /// Whether the target is a WASI program, whose result is its output.
    pub(crate) fn is_program(&self) -> bool {
        self.function() == PROGRAM
    }

    /// The maximum size in bytes of the encoded arguments, and of a file with one of them. With a manifest it is the
    /// largest limit that a definition can have, because the pool compares the arguments with the definition's.
    fn arguments_limit(&self) -> usize {
        if self.manifest.is_some() { u32::MAX as usize } else { self.limits.limits().arguments }
    }

    /// The encoded arguments, read from standard input.
    pub(crate) fn raw_arguments(&self) -> Result<Vec<u8>, Failure> {
        file::read_standard_input(self.arguments_limit()).map_err(arguments::failure)
    }

    /// The encoded arguments. If all of them are byte vectors and strings, they are encoded without JSON.
    pub(crate) fn encoded(&self, wpc: &WorkerProcedureCall) -> Result<Vec<u8>, Failure> {
        let types = self.argument_types(wpc);
        let is_large = |ty: &String| matches!(ty.as_str(), "String" | "Vec<u8>");
        if types.len() != self.arguments.len() || !types.iter().all(is_large) {
            return Ok(wpc.encode_json(&self.name(), &self.values(wpc)?)?);
        }
        let limit = self.arguments_limit();
        let mut encoded = Vec::new();
        for (text, ty) in self.arguments.iter().zip(types) {
            let bytes = match text.strip_prefix('@') {
                Some(path) if ty == "Vec<u8>" => bytes(path, limit)?,
                _ => match value(text, Some(&ty), limit)? {
                    Value::String(text) if ty == "String" => text.into_bytes(),
                    // Bytes given as a JSON array, or a value that the encoder rejects with an error.
                    _ => return Ok(wpc.encode_json(&self.name(), &self.values(wpc)?)?),
                },
            };
            let (length, used) = wpc_abi::reply::length(bytes.len());
            encoded.reserve_exact(used + bytes.len());
            encoded.extend_from_slice(&length[..used]);
            encoded.extend_from_slice(&bytes);
        }
        Ok(encoded)
    }

    /// The function's argument types as text, `?` for one that is not declared; empty if its module declares none.
    fn argument_types(&self, wpc: &WorkerProcedureCall) -> Vec<String> {
        let function = wpc.function_information(&self.name());
        let parameters = function.and_then(|function| function.signature);
        let parameters = parameters.map(|signature| signature.parameters).unwrap_or_default();
        let text = |parameter: FunctionParameter| {
            parameter.ty.map_or_else(|| "?".to_owned(), |ty| ty.to_string())
        };
        parameters.into_iter().map(text).collect()
    }

    /// The arguments of the command line, interpreted by the function's types.
    pub(crate) fn values(&self, wpc: &WorkerProcedureCall) -> Result<Vec<Value>, Failure> {
        let types = self.argument_types(wpc);
        let types = types.iter().map(|ty| Some(ty.as_str())).chain(std::iter::repeat(None));
        let limit = self.arguments_limit();
        self.arguments.iter().zip(types).map(|(text, ty)| value(text, ty, limit)).collect()
    }
}

fn split_dependency(text: &str) -> Result<(&str, &Path), Failure> {
    let parts = text.split_once('=');
    let (alias, file) =
        parts.ok_or_else(|| Failure::usage(format!("--dep {text}: expected ALIAS=FILE")))?;
    Ok((alias, file.as_ref()))
}
