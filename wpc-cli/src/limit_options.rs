//! The limits of a definition as command-line options.

use bytesize::ByteSize;
use std::time::Duration;
use wpc_host::Limits;

/// Each field of [`Limits`] with its option.
pub(crate) const OPTIONS: [(&str, &str); 14] = [
    ("time", "--timeout"),
    ("fuel", "--fuel"),
    ("memory", "--memory"),
    ("table_elements", "--table-elements"),
    ("stack", "--stack"),
    ("instances", "--instances"),
    ("open_files", "--open-files"),
    ("arguments", "--arguments-limit"),
    ("result", "--result-limit"),
    ("module_size", "--module-size"),
    ("log", "--log-limit"),
    ("compile_time", "--compile-time"),
    ("recycle_after_calls", "--recycle-after-calls"),
    ("recycle_past_memory", "--recycle-past-memory"),
];

/// All limits of a function.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// Time limit of a call, such as `500ms` or `10s`. Default: 30s, or the manifest's limit.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Maximum fuel of a call, about one unit per instruction. Default: not metered.
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
    /// Maximum memory of a sandbox, such as `16MiB`. Default: 256 MiB.
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Maximum number of table elements of a sandbox. Default and upper bound: 100,000.
    #[arg(long, value_name = "N")]
    table_elements: Option<usize>,
    /// Maximum stack of a function, such as `1MiB`, rounded up to a power of two. Default: 512 KiB.
    #[arg(long, value_name = "SIZE")]
    stack: Option<ByteSize>,
    /// Maximum size of a module, such as `16MiB`. Default: 64 MiB.
    #[arg(long, value_name = "SIZE")]
    module_size: Option<ByteSize>,
    /// Time limit for compiling a module, such as `10s`. Default: 30s.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    compile_time: Option<Duration>,
    /// Maximum number of module instances of a sandbox: one, plus one for each dependency. Default: 64.
    #[arg(long, value_name = "N")]
    instances: Option<usize>,
    /// Maximum number of files and folders that a module has open through WASI. Default: 32.
    #[arg(long, value_name = "N")]
    open_files: Option<usize>,
    /// Maximum size of the encoded arguments. Default: 64 MiB.
    #[arg(long, value_name = "SIZE")]
    arguments_limit: Option<ByteSize>,
    /// Maximum size of the encoded result. Default: 64 MiB.
    #[arg(long, value_name = "SIZE")]
    result_limit: Option<ByteSize>,
    /// Maximum size of the log lines and output of a call. Default: 1 MiB.
    #[arg(long, value_name = "SIZE")]
    log_limit: Option<ByteSize>,
    /// Replace a sandbox after this number of calls. Default: never.
    #[arg(long, value_name = "N")]
    recycle_after_calls: Option<u64>,
    /// Replace a sandbox after a call if its memory exceeds this size. Default: never.
    #[arg(long, value_name = "SIZE")]
    recycle_past_memory: Option<ByteSize>,
}

impl LimitOptions {
    pub(crate) fn limits(&self) -> Limits {
        let defaults = Limits::default();
        // All fields are listed, so that a new field of the library fails to compile until it has an option.
        Limits {
            // Passed with each call instead; see `time_limit`.
            time: defaults.time,
            fuel: self.fuel,
            memory: self.memory.map_or(defaults.memory, bytes),
            table_elements: self.table_elements.unwrap_or(defaults.table_elements),
            stack: self.stack.map(bytes),
            instances: self.instances.unwrap_or(defaults.instances),
            open_files: self.open_files.unwrap_or(defaults.open_files),
            arguments: self.arguments_limit.map_or(defaults.arguments, bytes),
            result: self.result_limit.map_or(defaults.result, bytes),
            module_size: self.module_size.map_or(defaults.module_size, bytes),
            log: self.log_limit.map_or(defaults.log, bytes),
            compile_time: self.compile_time.unwrap_or(defaults.compile_time),
            recycle_after_calls: self.recycle_after_calls,
            recycle_past_memory: self.recycle_past_memory.map(bytes),
        }
    }

    /// The time limit of a call, if it was given.
    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.timeout
    }

    /// The maximum fuel of a call, if it was given.
    pub(crate) fn fuel(&self) -> Option<u64> {
        self.fuel
    }

    /// Whether a limit was given that belongs to the definition instead of the call.
    pub(crate) fn has_limit_of_definition(&self) -> bool {
        let chosen = Limits { fuel: None, ..self.limits() };
        chosen != Limits::default()
    }

    /// The maximum stack of the pool: its default, or more if `--stack` requires it.
    pub(crate) fn pool_stack(&self, default: usize) -> usize {
        // The maximum for a pool. A larger `--stack` is reported as an invalid limit of the definition.
        const MAX_STACK: usize = 64 << 20;
        self.stack.map_or(default, bytes).clamp(default, MAX_STACK)
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}
