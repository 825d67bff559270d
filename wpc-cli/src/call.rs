//! `wpc call`: one call, from the command line.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::target::Target;
use crate::terminal;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use wpc_host::ReplyMetadata;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Takes the encoded arguments from standard input and writes the encoded result to standard output.
    #[arg(long, conflicts_with = "arguments")]
    raw: bool,
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let target = &arguments.target;
    if arguments.raw && target.reads_input() {
        return Err(Failure::usage("--raw and --grant stdin both want standard input"));
    }
    let wpc = target.pool(cache)?;
    let (name, options) = (&target.function, target.options());
    let result = if arguments.raw {
        let mut encoded = Vec::new();
        std::io::stdin()
            .read_to_end(&mut encoded)
            .map_err(|error| Failure::machine(format!("standard input: {error}")))?;
        let answer = wpc.submit_encoded(name, &encoded, &options)?.wait_encoded();
        answer.map(|answer| (answer.value, None))
    } else {
        let answer = wpc.submit_json(name, &target.values(), &options)?.wait();
        answer.map(|answer| {
            (line(&answer.value, &answer.metadata, as_json), answer.metadata.fuel_used)
        })
    };
    // Lines that were logged come before the answer.
    wpc.stop_workers();
    drop(wpc);
    let (bytes, fuel_used) = result?;
    terminal::print(&bytes)?;
    if let Some(fuel) = fuel_used.filter(|_| !as_json) {
        let _ = writeln!(anstream::stderr(), "fuel used: {fuel}");
    }
    Ok(())
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
