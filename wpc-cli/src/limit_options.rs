//! The limits of a definition as options of a command.

use bytesize::ByteSize;
use std::time::Duration;
use wpc_host::Limits;

/// Each field of [`Limits`] with its option here.
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

/// Every limit of a function.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// How long a call may take, as in `500ms` or `10s`. Default 30s, or what a manifest chooses.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Meters fuel, and how much a call may use: about one unit an instruction. Default: not metered.
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
    /// How many bytes of memory a sandbox may have, as in `16MiB`. Default 256 MiB.
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// How many table elements a sandbox may have. Default and maximum 100,000.
    #[arg(long, value_name = "N")]
    table_elements: Option<usize>,
    /// How many bytes of stack a function may use, as in `1MiB`; rounded up to a power of two. Default 512 KiB.
    #[arg(long, value_name = "SIZE")]
    stack: Option<ByteSize>,
    /// How many bytes a module may have, as in `64MiB`, which is the default.
    #[arg(long, value_name = "SIZE")]
    module_size: Option<ByteSize>,
    /// How long compiling a module may take, as in `30s`, which is the default.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    compile_time: Option<Duration>,
    /// How many module instances a sandbox may have: one, and one for each dependency. Default 64.
    #[arg(long, value_name = "N")]
    instances: Option<usize>,
    /// How many files and folders a module may have open through WASI. Default 32.
    #[arg(long, value_name = "N")]
    open_files: Option<usize>,
    /// How many bytes the encoded arguments may have. Default 64 MiB.
    #[arg(long, value_name = "SIZE")]
    arguments_limit: Option<ByteSize>,
    /// How many bytes the encoded result may have. Default 64 MiB.
    #[arg(long, value_name = "SIZE")]
    result_limit: Option<ByteSize>,
    /// How many bytes of log lines and output a call may write. Default 1 MiB.
    #[arg(long, value_name = "SIZE")]
    log_limit: Option<ByteSize>,
    /// After how many calls a sandbox is replaced by a fresh one. Default: never.
    #[arg(long, value_name = "N")]
    recycle_after_calls: Option<u64>,
    /// Past how many bytes of memory a sandbox is replaced after its call. Default: never.
    #[arg(long, value_name = "SIZE")]
    recycle_past_memory: Option<ByteSize>,
}

impl LimitOptions {
    pub(crate) fn limits(&self) -> Limits {
        let usual = Limits::default();
        // Each field by name: one that is new in the library needs an option here.
        Limits {
            // Each call is given it; see `time_limit`.
            time: usual.time,
            fuel: self.fuel,
            memory: self.memory.map_or(usual.memory, bytes),
            table_elements: self.table_elements.unwrap_or(usual.table_elements),
            stack: self.stack.map(bytes),
            instances: self.instances.unwrap_or(usual.instances),
            open_files: self.open_files.unwrap_or(usual.open_files),
            arguments: self.arguments_limit.map_or(usual.arguments, bytes),
            result: self.result_limit.map_or(usual.result, bytes),
            module_size: self.module_size.map_or(usual.module_size, bytes),
            log: self.log_limit.map_or(usual.log, bytes),
            compile_time: self.compile_time.unwrap_or(usual.compile_time),
            recycle_after_calls: self.recycle_after_calls,
            recycle_past_memory: self.recycle_past_memory.map(bytes),
        }
    }

    /// How long a call may take, if that was chosen.
    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.timeout
    }

    /// How much fuel a call may use, if that was chosen.
    pub(crate) fn fuel(&self) -> Option<u64> {
        self.fuel
    }

    /// Whether a limit was chosen that belongs to a definition, and not to a call.
    pub(crate) fn has_limit_of_definition(&self) -> bool {
        let chosen = Limits { fuel: None, ..self.limits() };
        chosen != Limits::default()
    }

    /// How much stack the pool must allow for them, from what it allows by itself.
    pub(crate) fn pool_stack(&self, usual: usize) -> usize {
        // More than a pool may allow is reported as a wrong limit.
        const MOST: usize = 64 << 20;
        self.stack.map_or(usual, bytes).clamp(usual, MOST)
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}
