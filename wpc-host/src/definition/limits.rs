//! What a definition may use. Every bound has a default, because every guest is hostile until shown
//! otherwise.

use crate::options::MAX_DURATION;
use std::time::Duration;

/// The largest table a sandbox may have; the address space of every pool slot is set aside for it.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 100_000;

/// Less stack than this is of no use to anybody.
const MIN_STACK: usize = 16 * 1024;

/// The bounds of one definition. They hold for a sandbox as a whole, its dependencies included; of a
/// dependency's own limits only those count that its definition is checked against (`module_size`,
/// `compile_time`, what its memory and table start with), since it runs in the sandboxes of functions.
///
/// ```
/// use wpc_host::Limits;
///
/// let limits = Limits { memory: 16 << 20, fuel: Some(1_000_000), ..Limits::default() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a call may take from its acceptance to its answer. Default `None`: the pool's
    /// [`call_timeout`](crate::Options::call_timeout).
    pub time: Option<Duration>,
    /// How much fuel a call may use: about one unit an operator, one a byte of `memory.fill` and
    /// `memory.copy`, taken before they begin, and one an element of a table operation. Instantiating the sandbox for the call
    /// counts. The same work uses the same fuel. If a call traps or is interrupted, up to
    /// [`MAX_UNCOUNTED_FUEL`](crate::MAX_UNCOUNTED_FUEL) units are missing from its reported fuel.
    /// Metering needs code compiled for it, which is slower; definitions without it are not affected.
    /// Default `None`: not metered.
    pub fuel: Option<u64>,
    /// How many bytes the memories of a sandbox may have together. The heap in which a guest's exceptions lie counts as
    /// one of them: none until the guest throws, then at least 64 KiB. Default 256 MiB.
    pub memory: usize,
    /// How many elements the tables of a sandbox may have together. Default 100,000, and at most
    /// that. A module has at most 4 tables.
    pub table_elements: usize,
    /// How many bytes of stack a guest may use, rounded up to a power of two; going past it ends its
    /// sandbox. From 16 KiB to the pool's
    /// [`max_wasm_stack`](crate::Options::max_wasm_stack). Default `None`: the pool's.
    pub stack: Option<usize>,
    /// How many module instances a sandbox may have: its own module's, and one for each dependency
    /// that it reaches. Default 64.
    pub instances: usize,
    /// How many files and directories each module of a sandbox may have open at once through WASI,
    /// beside those it was granted. The process's own limit must allow for as many in every live sandbox; a guest
    /// that would open the process's last descriptors receives WASI's error `mfile`. Default 32.
    pub open_files: usize,
    /// How many bytes a call's encoded arguments may have. Default 64 MiB.
    pub arguments: usize,
    /// How many bytes a call's encoded result may have. A larger one ends the sandbox, and counts as
    /// a failure of the function. Default 64 MiB.
    pub result: usize,
    /// How many bytes a module may have. Default 64 MiB.
    pub module_size: usize,
    /// How many bytes a call may write for people: log lines, and what goes to WASI's outputs. A line
    /// counts 64 bytes beyond its text. One that writes more is ended. Default 1 MiB.
    pub log: usize,
    /// How long compiling the module may take. Default 30 s.
    pub compile_time: Duration,
    /// After how many calls a sandbox is replaced by a fresh one; 1 gives every call its own.
    /// Default `None`: it is kept as long as it does not fail.
    pub recycle_after_calls: Option<u64>,
    /// Past how many bytes of memory a sandbox is replaced by a fresh one after its call: memory
    /// that one large call grew is kept otherwise. Default `None`: it is kept.
    pub recycle_past_memory: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: None,
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
            recycle_after_calls: None,
            recycle_past_memory: None,
        }
    }
}

impl Limits {
    /// What is wrong with them, an item each; `what` has them.
    pub(crate) fn problems(&self, what: &str, max_wasm_stack: usize) -> Vec<String> {
        let mut problems = Vec::new();
        if self.stack.is_some_and(|stack| !(MIN_STACK..=max_wasm_stack).contains(&stack)) {
            problems.push(format!(
                "`Limits::stack` of {what} must be from {MIN_STACK} to {max_wasm_stack}, which `Options::max_wasm_stack` sets"
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
        if self.time.is_some_and(|time| time.is_zero() || time > MAX_DURATION) {
            problems.push(format!(
                "`Limits::time` of {what} must be longer than zero and at most a year"
            ));
        }
        if self.compile_time.is_zero() || self.compile_time > MAX_DURATION {
            problems.push(format!(
                "`Limits::compile_time` of {what} must be longer than zero and at most a year"
            ));
        }
        if self.recycle_after_calls == Some(0) {
            problems.push(format!("`Limits::recycle_after_calls` of {what} must be at least 1"));
        }
        for (name, bytes) in [("arguments", self.arguments), ("result", self.result)] {
            if bytes > u32::MAX as usize {
                problems.push(format!(
                    "`Limits::{name}` of {what} must be less than 4 GiB, as a guest's memory is"
                ));
            }
        }
        problems
    }
}
