//! `wpc call`: makes one call from the command line.

use crate::cache::Cache;
use crate::client::{Client, ServerOptions, named_by_variable};
use crate::failure::Failure;
#[cfg(feature = "cluster")]
use crate::remedy::Definition;
use crate::remedy::{Caller, Interface};
use crate::target::Target;
use crate::{remote_call, terminal, text};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use wpc_host::{ReplyMetadata, StreamOptions, WorkerProcedureCall};

// A server needs no module, so the first position is the function.
#[derive(clap::Args)]
#[cfg_attr(feature = "cluster", command(mut_arg("function", |function| function.required_unless_present_any(["server", "cluster"]))))]
#[cfg_attr(not(feature = "cluster"), command(mut_arg("function", |function| function.required_unless_present("server"))))]
pub(crate) struct Arguments {
    /// Read the encoded arguments from standard input, and write the encoded result to standard output.
    #[arg(long, conflicts_with = "arguments")]
    raw: bool,
    /// Write the result to a file: a `Vec<u8>` or `String` unchanged, other types as JSON.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write each item as a line of JSON as soon as it is yielded. The result goes to standard error.
    /// With `--json` items are `{"item": …}`, and the result goes to standard output.
    #[arg(long, conflicts_with_all = ["raw", "output"])]
    stream: bool,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub(crate) cluster: crate::cluster_options::ClusterArguments,
    // Last, because its help heading applies to all options that follow.
    #[command(flatten)]
    pub(crate) target: Target,
}

impl Arguments {
    /// Whether the function is defined by a server or a cluster.
    pub(crate) fn is_remote(&self) -> bool {
        #[cfg(feature = "cluster")]
        if self.is_of_cluster() {
            return true;
        }
        self.server.server.is_some()
    }

    /// Whether the function is defined by a cluster. One that only the environment variable names does not define the functions of
    /// a file.
    #[cfg(feature = "cluster")]
    fn is_of_cluster(&self) -> bool {
        let is_of_file = self.cluster.is_named_by_variable() && self.target.is_file();
        self.server.server.is_none() && self.cluster.is_named() && !is_of_file
    }

    /// How the called function is defined.
    pub(crate) fn interface(&self) -> Interface {
        let local = self.target.interface(Caller::Call);
        #[cfg(feature = "cluster")]
        if self.is_of_cluster() {
            return Interface { definition: Definition::Cluster, ..local };
        }
        local
    }
}

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let target = &arguments.target;
    if let Some(client) = arguments.server.client() {
        return on_server(&client?, arguments, as_json);
    }
    #[cfg(feature = "cluster")]
    if arguments.is_of_cluster() {
        check_remote(arguments, "--cluster")?;
        return crate::cluster_call::run(&arguments.cluster, target, arguments.stream, as_json);
    }
    target.check_input(arguments.raw)?;
    if let Some(server) = named_by_variable().filter(|_| target.is_missing()) {
        return Err(Failure::usage(format!(
            "{} does not exist; to call a function of the server that WPC_SERVER names, add `--server {server}`",
            target.file()
        )));
    }
    let wpc = target.pool(cache, 1, !as_json, terminal::lines(as_json))?;
    let (name, options) = (&target.name(), target.options());
    if arguments.stream {
        return stream(wpc, name, arguments, as_json);
    }
    let answer = if arguments.raw {
        let encoded = target.raw_arguments()?;
        let answer = wpc.submit_encoded(name, encoded, &options)?.wait_encoded();
        answer.map(|answer| (Shown::Bytes { bytes: answer.value, skipped: 0 }, None))
    } else if arguments.output.is_some() && is_bytes_or_text(&wpc, name) {
        // Without JSON, in which each byte takes up to four characters.
        let encoded = target.encoded(&wpc)?;
        let answer = wpc.submit_encoded(name, encoded, &options)?.wait_encoded();
        answer.map(|answer| {
            let skipped = length_prefix(&answer.value);
            (Shown::Bytes { bytes: answer.value, skipped }, answer.metadata.fuel_used)
        })
    } else {
        let answer = wpc.submit_json(name, &target.values(&wpc)?, &options)?.wait_answer();
        answer.map(|answer| {
            let shown = if arguments.output.is_some() {
                Shown::Json(answer.value)
            } else if target.is_program() && !as_json {
                Shown::Bytes { bytes: Vec::new(), skipped: 0 }
            } else {
                let bytes = line(&answer.value, &answer.metadata, as_json);
                Shown::Bytes { bytes, skipped: 0 }
            };
            (shown, answer.metadata.fuel_used)
        })
    };
    end(wpc)?;
    let (shown, fuel_used) = answer?;
    match (&arguments.output, &shown) {
        (Some(path), shown) => shown
            .write_to(path)
            .map_err(|error| Failure::environment(format!("{}: {error}", path.display())))?,
        (None, Shown::Bytes { bytes, skipped }) => terminal::print(&bytes[*skipped..])?,
        (None, Shown::Json(value)) => terminal::print(value.to_string().as_bytes())?,
    }
    if !as_json {
        report_fuel(fuel_used);
    }
    Ok(())
}

/// Refuses options that calls over a network do not support.
fn check_remote(arguments: &Arguments, other_option: &str) -> Result<(), Failure> {
    let given = [("--raw", arguments.raw), ("--output", arguments.output.is_some())];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => {
            Err(Failure::usage(format!("{option} cannot be combined with {other_option}")))
        }
        None => Ok(()),
    }
}

fn on_server(client: &Client, arguments: &Arguments, as_json: bool) -> Result<(), Failure> {
    check_remote(arguments, "--server")?;
    if arguments.stream {
        return remote_call::stream(client, &arguments.target, as_json);
    }
    remote_call::run(client, &arguments.target, as_json)
}

/// Stops the pool, which writes the pending log lines before the answer.
fn end(wpc: WorkerProcedureCall) -> Result<(), Failure> {
    wpc.stop_workers();
    drop(wpc);
    terminal::program_output_end()
}

fn report_fuel(fuel_used: Option<u64>) {
    if let Some(fuel) = fuel_used {
        // The reader of standard error may be gone.
        terminal::note(&format!("fuel used: {fuel}"));
    }
}

/// Writes items while the function runs, and then its result.
fn stream(
    wpc: WorkerProcedureCall,
    name: &str,
    arguments: &Arguments,
    as_json: bool,
) -> Result<(), Failure> {
    let target = &arguments.target;
    let options = StreamOptions::new().call(target.options());
    let mut items = wpc.stream_json(name, &target.values(&wpc)?, &options)?;
    for item in &mut items {
        let Ok(item) = item else { break };
        let line = if as_json {
            json!({ "item": item }).to_string()
        } else {
            text::escape_json(&item.to_string())
        };
        // If the reader is gone, dropping the stream ends the function.
        terminal::print((line + "\n").as_bytes())?;
    }
    let answer = items.finish_answer();
    end(wpc)?;
    let answer = answer?;
    if as_json {
        return terminal::print(&line(&answer.value, &answer.metadata, as_json));
    }
    if !answer.value.is_null() {
        let result = text::escape_json(&answer.value.to_string());
        terminal::note(&format!("result: {result}"));
    }
    report_fuel(answer.metadata.fuel_used);
    Ok(())
}

/// The part of an answer that is written.
enum Shown {
    /// Bytes to write unchanged, without the first `skipped` ones.
    Bytes {
        bytes: Vec<u8>,
        skipped: usize,
    },
    Json(Value),
}

impl Shown {
    /// Writes to a file without another copy in memory.
    fn write_to(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        match self {
            Self::Bytes { bytes, skipped } => file.write_all(&bytes[*skipped..])?,
            Self::Json(value) => serde_json::to_writer(&mut file, value)?,
        }
        file.flush()
    }
}

/// Whether the function's declared result is a byte vector or a string.
fn is_bytes_or_text(wpc: &WorkerProcedureCall, name: &str) -> bool {
    let signature = wpc.function_information(name).and_then(|function| function.signature);
    let result = signature.and_then(|signature| signature.result);
    result.is_some_and(|result| matches!(&*result.to_string(), "String" | "Vec<u8>"))
}

/// The size of the length prefix, a varint, of encoded bytes and strings.
fn length_prefix(encoded: &[u8]) -> usize {
    let more = encoded.iter().take_while(|byte| **byte >= 0x80).count();
    (more + 1).min(encoded.len())
}

pub(crate) fn line(value: &Value, metadata: &ReplyMetadata, as_json: bool) -> Vec<u8> {
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
