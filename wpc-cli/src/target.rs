//! What is called on the command line: a function, what it needs, and a pool with both.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::terminal::{read_module, tell_line};
use crate::{constant, grant};
use bytesize::ByteSize;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use wpc_host::{CallOptions, Limits, Options, WorkerProcedureCall};

#[derive(clap::Args)]
pub(crate) struct Target {
    /// The module's file.
    file: PathBuf,
    /// The function to call.
    pub(crate) function: String,
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
    /// A pool that is up and has everything defined. Guests' lines go to standard error.
    pub(crate) fn pool(&self, cache: &Cache) -> Result<WorkerProcedureCall, Failure> {
        let options = Options { compile_cache: cache.folder()?, ..Options::default() };
        let wpc = WorkerProcedureCall::new(options)?;
        wpc.on_worker_event(tell_line)
            .map_err(|error| Failure::machine(format!("no thread for events: {error}")))?;
        for text in &self.constants {
            constant::define_from(&wpc, text)?;
        }
        for text in &self.dependencies {
            let (alias, file) = text
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--dep {text}: it must be ALIAS=FILE")))?;
            let module = grant::apply(read_module(file.as_ref())?, &self.grants)?;
            wpc.define_worker_dependency(alias, module)?;
        }
        let limits = Limits { fuel: self.fuel, ..Limits::default() };
        let memory = self.memory.map(|size| usize::try_from(size.as_u64()).unwrap_or(usize::MAX));
        let limits = Limits { memory: memory.unwrap_or(limits.memory), ..limits };
        let module = read_module(&self.file)?.export(&self.function).limits(limits);
        wpc.define_worker_function(&self.function, grant::apply(module, &self.grants)?)?;
        wpc.start_workers(self.workers)?;
        Ok(wpc)
    }

    pub(crate) fn reads_input(&self) -> bool {
        self.grants.iter().any(|grant| grant == "stdin")
    }

    pub(crate) fn options(&self) -> CallOptions {
        CallOptions::new().time_limit(self.timeout)
    }

    /// The arguments as they were typed: JSON, or text that needs no quotes.
    pub(crate) fn values(&self) -> Vec<Value> {
        let value = |text: &String| {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        };
        self.arguments.iter().map(value).collect()
    }
}
