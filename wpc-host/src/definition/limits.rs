//! The limits of a definition. Every limit has a default, because every guest is treated as hostile.

use crate::options::{MAX_DURATION, is_time_slice};
use std::time::Duration;

/// The maximum number of table elements in a sandbox. Every slot of the instance pool reserves address space for it.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 100_000;

/// The minimum stack size. A smaller stack would not be useful.
const MIN_STACK: usize = 16 * 1024;

/// The limits of one definition. They apply to a sandbox as a whole, its dependencies included.
///
/// A dependency runs in the sandboxes of functions. Its own limits therefore apply only when it is defined: `module_size`,
/// `compile_time`, and the initial sizes of its memory and tables.
///
/// ```
/// use wpc_host::Limits;
///
/// let limits = Limits::default().memory(16 << 20).fuel(1_000_000);
/// ```
///
/// Each field has a method of the same name that sets it. Future versions may add fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum time of a call from its acceptance to its answer. Default `None`: the pool's
    /// [`call_timeout`](crate::Options::call_timeout). Reaching it counts as a failure of the function only if the function
    /// itself ran for the whole limit, less a tolerance of at most 10 ms and at most one eighth of the limit: time in a queue
    /// does not count.
    pub timeout: Option<Duration>,
    /// The maximum fuel of a call: about one unit per operator, one per byte of `memory.fill` and `memory.copy`, taken
    /// before they begin, and one per element of a table operation. Instantiating the sandbox for the call counts. The
    /// same work uses the same fuel. If a call traps or is interrupted, up to
    /// [`MAX_UNCOUNTED_FUEL`](crate::MAX_UNCOUNTED_FUEL) units are missing from its reported fuel. Metered code is
    /// compiled separately and is slower; definitions without metering are not affected. Default `None`: not metered.
    pub fuel: Option<u64>,
    /// The maximum total size of a sandbox's memories, in bytes. The heap of a guest's exceptions counts as a memory: it
    /// is empty until the guest throws, then it has at least 64 KiB. Default 256 MiB.
    pub memory: usize,
    /// The maximum total number of elements in a sandbox's tables. Default 100,000, which is also the maximum. A module
    /// has at most 4 tables.
    pub table_elements: usize,
    /// The stack size of a guest in bytes, rounded up to a power of two. Exceeding it ends the sandbox. Between 16 KiB and
    /// the pool's [`max_wasm_stack`](crate::Options::max_wasm_stack). Default `None`: the pool's.
    pub stack: Option<usize>,
    /// The maximum number of module instances in a sandbox: one of its own module, and one of each transitive dependency.
    /// Default 64.
    pub instances: usize,
    /// The maximum number of files and directories that each module of a sandbox may have open at once through WASI, in
    /// addition to those it was granted. The process's descriptor limit must be large enough for this many in every live
    /// sandbox. A guest that would open the last descriptors of the process receives WASI's error `mfile`. Default 32.
    pub open_files: usize,
    /// The maximum size of a call's encoded arguments, in bytes. Default 64 MiB.
    pub arguments: usize,
    /// The maximum size of a call's encoded result, in bytes. A larger result ends the sandbox and counts as a failure of
    /// the function. Default 64 MiB.
    pub result: usize,
    /// The maximum size of a module, in bytes. Default 64 MiB.
    pub module_size: usize,
    /// The maximum number of bytes that a call may write to logs and to WASI's outputs. Each line counts 64 bytes in
    /// addition to its text. A call that writes more is ended. Default 1 MiB.
    pub log: usize,
    /// The maximum time for compiling the module. Default 30 s.
    pub compile_time: Duration,
    /// The maximum number of calls that run or are suspended at the same time on each worker, if the functions
    /// [can suspend](crate::FunctionInformation::can_suspend). Each has a sandbox of its own; further calls wait. With 1 all
    /// calls on a worker share one state. Default 10,000: only
    /// [`max_suspended_instances`](crate::Options::max_suspended_instances) bounds them. Each level of
    /// [calls between functions](crate::WasmModule::grant_function) may exceed it by one, so that callers do not wait for
    /// each other.
    pub max_concurrent_calls: usize,
    /// How long a guest computes before it is suspended, so that the calls behind it can run; then it continues. With a time
    /// slice, the functions can suspend, which costs each call a few hundred nanoseconds. At least 1 ms, in whole ticks of 1
    /// ms. Default `None`: a guest computes until it returns.
    pub time_slice: Option<Duration>,
    /// The number of calls after which a sandbox is replaced by a fresh one; 1 gives every call its own sandbox. Default
    /// `None`: a sandbox is kept until it fails.
    pub recycle_after_calls: Option<u64>,
    /// The memory size in bytes above which a sandbox is replaced by a fresh one after a call. This frees memory that one
    /// large call has grown. Default `None`: the sandbox is kept.
    pub recycle_past_memory: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: None,
            fuel: None,
            memory: 256 << 20,
            table_elements: MAX_TABLE_ELEMENTS,
            stack: None,
            instances: 64,
            open_files: 32,
            arguments: 64 << 20,
            result: 64 << 20,
            module_size: 64 << 20,
            log: 1 << 20,
            compile_time: Duration::from_secs(30),
            max_concurrent_calls: 10_000,
            time_slice: None,
            recycle_after_calls: None,
            recycle_past_memory: None,
        }
    }
}

impl Limits {
    setters! {
        timeout: impl Into<Option<Duration>> => Into::into,
        fuel: u64 => Some,
        memory: usize,
        table_elements: usize,
        stack: usize => Some,
        instances: usize,
        open_files: usize,
        arguments: usize,
        result: usize,
        module_size: usize,
        log: usize,
        compile_time: Duration,
        max_concurrent_calls: usize,
        time_slice: impl Into<Option<Duration>> => Into::into,
        recycle_after_calls: u64 => Some,
        recycle_past_memory: usize => Some,
    }

    /// The problems of these limits, one item each, which name the definition by `what`.
    pub(crate) fn problems(&self, what: &str, max_wasm_stack: usize) -> Vec<String> {
        let mut problems = Vec::new();
        if self.stack.is_some_and(|stack| !(MIN_STACK..=max_wasm_stack).contains(&stack)) {
            problems.push(format!(
                "`Limits::stack` of {what} must be between {MIN_STACK} bytes and `Options::max_wasm_stack`, {max_wasm_stack} bytes"
            ));
        }
        if self.instances == 0 {
            problems.push(format!("`Limits::instances` of {what} must be at least 1"));
        }
        if self.table_elements > MAX_TABLE_ELEMENTS {
            problems.push(format!(
                "`Limits::table_elements` of {what} must be at most {MAX_TABLE_ELEMENTS}"
            ));
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero() || timeout > MAX_DURATION) {
            problems.push(format!(
                "`Limits::timeout` of {what} must be greater than zero and at most one year"
            ));
        }
        if self.compile_time.is_zero() || self.compile_time > MAX_DURATION {
            problems.push(format!(
                "`Limits::compile_time` of {what} must be greater than zero and at most one year"
            ));
        }
        if self.max_concurrent_calls == 0 {
            problems.push(format!("`Limits::max_concurrent_calls` of {what} must be at least 1"));
        }
        if !self.time_slice.is_none_or(is_time_slice) {
            problems.push(format!(
                "`Limits::time_slice` of {what} must be at least 1 ms and at most one year"
            ));
        }
        if self.recycle_after_calls == Some(0) {
            problems.push(format!("`Limits::recycle_after_calls` of {what} must be at least 1"));
        }
        for (name, bytes) in [("arguments", self.arguments), ("result", self.result)] {
            if bytes > u32::MAX as usize {
                problems.push(format!(
                    "`Limits::{name}` of {what} must be less than 4 GiB, the maximum size of a guest's memory"
                ));
            }
        }
        problems
    }
}
