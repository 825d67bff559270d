//! What is called on the command line: a function, what it needs, and a pool with both.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::terminal::read_module;
use crate::{constant, grant};
use bytesize::ByteSize;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use wpc_host::{CallOptions, Limits, WorkerEvent, WorkerProcedureCall};

#[derive(clap::Args)]
pub(crate) struct Target {
    /// The module's file.
    file: PathBuf,
    /// The function to call.
    pub(crate) function: String,
    /// Its arguments, each JSON. Text needs no quotes; `@FILE` gives a file's bytes to a `Vec<u8>`, and its JSON to
    /// other types but text.
    #[arg(allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Defines a constant. One with integers needs its type, as in `LIMIT:u32=3`. May be given several times.
    #[arg(long = "const", value_name = "NAME[:TYPE]=JSON")]
    constants: Vec<String>,
    /// Defines a dependency; it is granted what the function is. May be given several times.
    #[arg(long = "dep", value_name = "ALIAS=FILE")]
    dependencies: Vec<String>,
    #[arg(long = "grant", value_name = "GRANT", help = grant::HELP)]
    grants: Vec<String>,
    /// How long a call may take, as in `500ms` or `10s`.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Meters fuel, and how much there is: about one unit an instruction.
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
    /// How much memory the function may have, as in `16MiB`.
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// How many workers there are.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) workers: usize,
}

impl Target {
    /// A pool that is up and has everything defined. `listener` is told of events.
    pub(crate) fn pool(
        &self,
        cache: &Cache,
        shows_output: bool,
        listener: impl Fn(&WorkerEvent) + Send + Sync + 'static,
    ) -> Result<WorkerProcedureCall, Failure> {
        let wpc = WorkerProcedureCall::new(cache.options()?)?;
        wpc.on_worker_event(listener)
            .map_err(|error| Failure::machine(format!("no thread for events: {error}")))?;
        for text in &self.constants {
            constant::define_from(&wpc, text)?;
        }
        for text in &self.dependencies {
            let (alias, file) = text
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--dep {text}: it must be ALIAS=FILE")))?;
            let module = grant::apply(read_module(file.as_ref())?, &self.grants, false)?;
            wpc.define_worker_dependency(alias, module)?;
        }
        let limits = Limits { fuel: self.fuel, ..Limits::default() };
        let memory = self.memory.map(|size| usize::try_from(size.as_u64()).unwrap_or(usize::MAX));
        let limits = Limits { memory: memory.unwrap_or(limits.memory), ..limits };
        let module = read_module(&self.file)?.export(&self.function).limits(limits);
        wpc.define_worker_function(
            &self.function,
            grant::apply(module, &self.grants, self.is_program() && shows_output)?,
        )?;
        wpc.start_workers(self.workers)?;
        Ok(wpc)
    }

    pub(crate) fn reads_input(&self) -> bool {
        self.grants.iter().any(|grant| grant == "stdin")
    }

    pub(crate) fn options(&self) -> CallOptions {
        CallOptions::new().time_limit(self.timeout)
    }

    /// Whether a whole program is called, whose result is what it prints.
    pub(crate) fn is_program(&self) -> bool {
        self.function == "_start"
    }

    /// The arguments as they were typed, by the function's types.
    pub(crate) fn values(&self, wpc: &WorkerProcedureCall) -> Result<Vec<Value>, Failure> {
        let functions = wpc.get_remote_functions();
        let function = functions.iter().find(|function| function.name == self.function);
        let signature = function.and_then(|function| function.parameter_signature.as_deref());
        let types = signature.map(argument_types).unwrap_or_default();
        let types = types.into_iter().map(Some).chain(std::iter::repeat(None));
        self.arguments.iter().zip(types).map(|(text, ty)| value(text, ty)).collect()
    }
}

/// An argument by its type: text is text, whatever it looks like, unless it has JSON's quotes.
fn value(text: &str, ty: Option<&str>) -> Result<Value, Failure> {
    let is_text = matches!(ty, Some("String" | "char"));
    if is_text && !text.starts_with('"') {
        return Ok(Value::from(text));
    }
    if let Some(path) = text.strip_prefix('@').filter(|_| !is_text) {
        let bytes =
            std::fs::read(path).map_err(|error| Failure::machine(format!("{path}: {error}")))?;
        if ty == Some("Vec<u8>") {
            return Ok(Value::from(bytes));
        }
        return serde_json::from_slice(&bytes)
            .map_err(|error| Failure::usage(format!("{path} is no JSON: {error}")));
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // What begins like JSON was meant to be some.
        Err(error) if text.starts_with(['{', '[', '"']) => {
            Err(Failure::usage(format!("{text} is no JSON: {error}")))
        }
        Err(_) => Ok(Value::from(text)),
    }
}

/// The types of a signature's arguments: what stands between its commas, but for those within a type.
fn argument_types(signature: &str) -> Vec<&str> {
    let mut types = Vec::new();
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
            if let Some((_, ty)) = signature[start..at].split_once(':') {
                types.push(ty.trim());
            }
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    types
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
