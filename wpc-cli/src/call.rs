//! `wpc call`: one call, from the command line.

use crate::failure::Failure;
use crate::{constant, grant, read_module};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;
use wpc_host::{
    CallOptions, EventDetails, Limits, Options, ReplyMetadata, WorkerEvent, WorkerProcedureCall,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The module's file.
    file: PathBuf,
    /// The function to call.
    function: String,
    /// Its arguments, each JSON. What is no JSON is taken as text.
    #[arg(allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Defines a constant; a number other than i64 and f64 needs its type. May be given several times.
    #[arg(long = "const", value_name = "NAME[:TYPE]=JSON")]
    constants: Vec<String>,
    /// Defines a dependency, with the same grants. May be given several times.
    #[arg(long = "dep", value_name = "ALIAS=FILE")]
    dependencies: Vec<String>,
    #[arg(long = "grant", value_name = "GRANT", help = grant::HELP)]
    grants: Vec<String>,
    /// How long the call may take, as in `500ms` or `10s`.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Meters fuel, and how much there is: about one unit an instruction.
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
    /// How many bytes of memory the function may have.
    #[arg(long, value_name = "BYTES")]
    memory: Option<usize>,
    /// How many workers there are.
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// Takes the encoded arguments from standard input and writes the encoded result to standard output.
    #[arg(long, conflicts_with = "arguments")]
    raw: bool,
}

pub(crate) fn run(arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    let wpc = WorkerProcedureCall::new(Options::default())?;
    wpc.on_worker_event(tell_line)
        .map_err(|error| Failure::machine(format!("no thread for events: {error}")))?;
    define(&wpc, arguments)?;
    wpc.start_workers(arguments.workers)?;
    let options = CallOptions::new().time_limit(arguments.timeout);
    let name = &arguments.function;
    let result = if arguments.raw {
        let mut encoded = Vec::new();
        std::io::stdin()
            .read_to_end(&mut encoded)
            .map_err(|error| Failure::machine(format!("standard input: {error}")))?;
        let answer = wpc.submit_encoded(name, &encoded, &options)?.wait_encoded();
        answer.map(|answer| (answer.value, None))
    } else {
        let values: Vec<_> = arguments.arguments.iter().map(|text| value(text)).collect();
        let answer = wpc.submit_json(name, &values, &options)?.wait();
        answer.map(|answer| {
            (line(&answer.value, &answer.metadata, as_json), answer.metadata.fuel_used)
        })
    };
    // Lines that were logged come before the answer.
    wpc.stop_workers();
    drop(wpc);
    let (bytes, fuel_used) = result?;
    let mut out = std::io::stdout();
    out.write_all(&bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::machine(format!("standard output: {error}")))?;
    if let Some(fuel) = fuel_used.filter(|_| !as_json) {
        anstream::eprintln!("fuel used: {fuel}");
    }
    Ok(())
}

fn define(wpc: &WorkerProcedureCall, arguments: &Arguments) -> Result<(), Failure> {
    for text in &arguments.constants {
        constant::define(wpc, text)?;
    }
    for text in &arguments.dependencies {
        let (alias, file) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("--dep {text}: it must be ALIAS=FILE")))?;
        let module = grant::apply(read_module(file.as_ref())?, &arguments.grants)?;
        wpc.define_worker_dependency(alias, module)?;
    }
    let limits = Limits { fuel: arguments.fuel, ..Limits::default() };
    let limits = Limits { memory: arguments.memory.unwrap_or(limits.memory), ..limits };
    let module = read_module(&arguments.file)?.export(&arguments.function).limits(limits);
    wpc.define_worker_function(&arguments.function, grant::apply(module, &arguments.grants)?)?;
    Ok(())
}

/// An argument as it was typed: JSON, or text that needs no quotes.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn line(value: &Value, metadata: &ReplyMetadata, as_json: bool) -> Vec<u8> {
    let line = if as_json {
        json!({
            "value": value,
            "function_hash_sha1": metadata.function_hash_sha1,
            "fuel_used": metadata.fuel_used,
        })
    } else {
        value.clone()
    };
    format!("{line}\n").into_bytes()
}

fn tell_line(event: &WorkerEvent) {
    if let EventDetails::GuestLog { level, message, .. } = &event.details {
        anstream::eprintln!("[{level}] {message}");
    }
}
