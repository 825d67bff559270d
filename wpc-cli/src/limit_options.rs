//! The limits of a definition as command-line options.

use crate::option_values;
use bytesize::ByteSize;
use std::time::Duration;
use wpc_host::Limits;

/// Each field of [`Limits`] with its option.
pub(crate) const OPTIONS: [(&str, &str); 16] = [
    ("timeout", "--timeout"),
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
    ("max_concurrent_calls", "--max-concurrent-calls"),
    ("time_slice", "--time-slice"),
    ("recycle_after_calls", "--recycle-after-calls"),
    ("recycle_past_memory", "--recycle-past-memory"),
];

/// All limits of a function.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// Time limit of a call, such as `500ms` or `10s`. Default: 30s, or the manifest's limit.
    #[arg(long, value_name = "TIME", value_parser = option_values::duration)]
    timeout: Option<Duration>,
    /// Maximum fuel of a call, about one unit per instruction. Default: not metered.
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
    /// Maximum memory of a sandbox, such as `16MiB`. Default: 256 MiB.
    #[arg(long, value_name = "SIZE", value_parser = option_values::size)]
    memory: Option<ByteSize>,
    /// Maximum number of table elements of a sandbox. Default and upper bound: 100,000.
    #[arg(long, value_name = "N")]
    table_elements: Option<usize>,
    /// Maximum stack of a function, such as `1MiB`, rounded up to a power of two. Default: 512 KiB.
    #[arg(long, value_name = "SIZE", value_parser = option_values::size)]
    stack: Option<ByteSize>,
    /// Maximum size of a module, such as `16MiB`. Default: 64 MiB.
    #[arg(long, value_name = "SIZE", value_parser = option_values::size)]
    module_size: Option<ByteSize>,
    /// Time limit for compiling a module, such as `10s`. Default: 30s.
    #[arg(long, value_name = "TIME", value_parser = option_values::duration)]
    compile_time: Option<Duration>,
    /// Maximum number of module instances of a sandbox: one, plus one for each dependency. Default: 64.
    #[arg(long, value_name = "N")]
    instances: Option<usize>,
    /// Maximum number of files and folders that a module has open through WASI. Default: 32.
    #[arg(long, value_name = "N")]
    open_files: Option<usize>,
    /// Maximum size of the encoded arguments. Default: 64 MiB.
    #[arg(long, value_name = "SIZE", value_parser = option_values::size)]
    arguments_limit: Option<ByteSize>,
    /// Maximum size of the encoded result. Default: 64 MiB.
    #[arg(long, value_name = "SIZE", value_parser = option_values::size)]
    result_limit: Option<ByteSize>,
    /// Maximum size of the log lines and output of a call. Default: 1 MiB.
    #[arg(long, value_name = "SIZE", value_parser = option_values::size)]
    log_limit: Option<ByteSize>,
    /// Maximum number of calls that run or are suspended at the same time on a worker, if the function can suspend.
    /// Default: 10,000.
    #[arg(long, value_name = "N")]
    max_concurrent_calls: Option<usize>,
    /// Suspend a call that has computed for this time, such as `5ms`, so that the calls behind it run; it continues after
    /// them. At least 1ms. Default: never.
    #[arg(long, value_name = "TIME", value_parser = option_values::duration)]
    time_slice: Option<Duration>,
    /// Replace a sandbox after this number of calls. Default: never.
    #[arg(long, value_name = "N")]
    recycle_after_calls: Option<u64>,
    /// Replace a sandbox after a call if its memory exceeds this size. Default: never.
    #[arg(long, value_name = "SIZE", value_parser = option_values::size)]
    recycle_past_memory: Option<ByteSize>,
}

impl LimitOptions {
    pub(crate) fn limits(&self) -> Limits {
        // The time limit is passed with each call instead; see `timeout`.
        let mut limits = Limits::default();
        let set = |field: &mut usize, value: Option<ByteSize>| *field = value.map_or(*field, bytes);
        set(&mut limits.memory, self.memory);
        set(&mut limits.arguments, self.arguments_limit);
        set(&mut limits.result, self.result_limit);
        set(&mut limits.module_size, self.module_size);
        set(&mut limits.log, self.log_limit);
        limits.table_elements = self.table_elements.unwrap_or(limits.table_elements);
        limits.instances = self.instances.unwrap_or(limits.instances);
        limits.open_files = self.open_files.unwrap_or(limits.open_files);
        limits.compile_time = self.compile_time.unwrap_or(limits.compile_time);
        limits.max_concurrent_calls =
            self.max_concurrent_calls.unwrap_or(limits.max_concurrent_calls);
        limits.time_slice = self.time_slice;
        limits.fuel = self.fuel;
        limits.stack = self.stack.map(bytes);
        limits.recycle_after_calls = self.recycle_after_calls;
        limits.recycle_past_memory = self.recycle_past_memory.map(bytes);
        limits
    }

    /// The time limit of a call, if it was given.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The maximum fuel of a call, if it was given.
    pub(crate) fn fuel(&self) -> Option<u64> {
        self.fuel
    }

    /// Whether calls are suspended after a time slice.
    pub(crate) fn has_time_slice(&self) -> bool {
        self.time_slice.is_some()
    }

    /// The first limit that was given and belongs to the definition instead of the call: its field and its option.
    pub(crate) fn of_definition(&self) -> Option<(&'static str, &'static str)> {
        // In the order of `OPTIONS`.
        let is_given = [
            false, // the timeout, which is passed with the call
            false, // the fuel, as well
            self.memory.is_some(),
            self.table_elements.is_some(),
            self.stack.is_some(),
            self.instances.is_some(),
            self.open_files.is_some(),
            self.arguments_limit.is_some(),
            self.result_limit.is_some(),
            self.module_size.is_some(),
            self.log_limit.is_some(),
            self.compile_time.is_some(),
            self.max_concurrent_calls.is_some(),
            self.time_slice.is_some(),
            self.recycle_after_calls.is_some(),
            self.recycle_past_memory.is_some(),
        ];
        OPTIONS.into_iter().zip(is_given).find_map(|(limit, is_given)| is_given.then_some(limit))
    }

    /// The first limit that was given: its field and its option.
    pub(crate) fn first(&self) -> Option<(&'static str, &'static str)> {
        let [timeout, fuel, ..] = OPTIONS;
        let of_call = [(timeout, self.timeout.is_some()), (fuel, self.fuel.is_some())];
        let of_call = of_call.into_iter().find_map(|(limit, is_given)| is_given.then_some(limit));
        of_call.or_else(|| self.of_definition())
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        limits: LimitOptions,
    }

    #[test]
    fn every_limit_of_the_library_has_an_option() {
        let shown = format!("{:#?}", Limits::default());
        let fields = shown.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
        let fields: Vec<&str> = fields.map(|(field, _)| field).collect();
        assert_eq!(fields, OPTIONS.map(|(field, _)| field));
    }

    #[test]
    fn every_option_sets_its_limit() {
        for (field, option) in OPTIONS.iter().filter(|(field, _)| *field != "timeout") {
            let is_time = matches!(*field, "compile_time" | "time_slice");
            let value = if is_time { "7s" } else { "77777" };
            let limits = Command::parse_from(["wpc", option, value]).limits.limits();
            let default = format!("{:#?}", Limits::default());
            let shown = format!("{limits:#?}");
            let changed =
                shown.lines().filter(|line| line.starts_with("    ") && line.ends_with(','));
            let mut changed = changed.filter(|line| !default.contains(line) && line.contains(": "));
            assert!(changed.all(|line| line.trim().starts_with(field)), "{option}: {shown}");
            assert_ne!(shown, default, "{option}");
            let given = Command::parse_from(["wpc", option, value]).limits.of_definition();
            assert_eq!(given, (*field != "fuel").then_some((*field, *option)));
        }
    }
}
