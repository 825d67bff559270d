//! `wpc call`: one call, from the command line.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::target::Target;
use crate::{file, terminal, text};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use wpc_host::ReplyMetadata;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Takes the encoded arguments from standard input and writes the encoded result to standard output.
    #[arg(long, conflicts_with = "arguments")]
    raw: bool,
    /// Writes the result to a file: bytes and text as they are, anything else as JSON.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    // Last, since the headings of its options hold for what follows.
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let target = &arguments.target;
    target.check_input(arguments.raw)?;
    let wpc = target.pool(cache, 1, !as_json, terminal::lines(as_json))?;
    let (name, options) = (&target.name(), target.options());
    let answer = if arguments.raw {
        let encoded = file::read_standard_input(target.arguments_limit())?;
        let answer = wpc.submit_encoded(name, &encoded, &options)?.wait_encoded();
        answer.map(|answer| (answer.value, None))
    } else {
        let answer = wpc.submit_json(name, &target.values(&wpc)?, &options)?.wait();
        answer.map(|answer| {
            let shown = if arguments.output.is_some() {
                as_it_is(&answer.value)
            } else if target.is_program() && !as_json {
                Vec::new()
            } else {
                line(&answer.value, &answer.metadata, as_json)
            };
            (shown, answer.metadata.fuel_used)
        })
    };
    // Lines that were logged come before the answer.
    wpc.stop_workers();
    drop(wpc);
    let (bytes, fuel_used) = answer?;
    match &arguments.output {
        Some(path) => std::fs::write(path, bytes)
            .map_err(|error| Failure::machine(format!("{}: {error}", path.display())))?,
        None => terminal::print(&bytes)?,
    }
    if let Some(fuel) = fuel_used.filter(|_| !as_json) {
        let _ = writeln!(anstream::stderr(), "fuel used: {fuel}");
    }
    Ok(())
}

/// Bytes and text without JSON's signs around them.
fn as_it_is(value: &Value) -> Vec<u8> {
    let byte = |item: &Value| item.as_u64().and_then(|byte| u8::try_from(byte).ok());
    match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(items) => match items.iter().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) => bytes,
            None => value.to_string().into_bytes(),
        },
        value => value.to_string().into_bytes(),
    }
}

fn line(value: &Value, metadata: &ReplyMetadata, as_json: bool) -> Vec<u8> {
    let line = if as_json {
        let json = json!({
            "value": value,
            "function_hash_sha1": metadata.function_hash_sha1,
            "fuel_used": metadata.fuel_used,
        });
        json.to_string()
    } else {
        text::escape_json(&value.to_string())
    };
    (line + "\n").into_bytes()
}
