//! What a definition may use. Every bound has a default, because every guest is hostile until shown
//! otherwise.

use crate::config::MAX_DURATION;
use std::time::Duration;

/// The bounds of one definition. They hold for a sandbox as a whole, its dependencies included.
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
    /// How much fuel a call may use, roughly one unit an instruction. Metering needs code compiled
    /// for it, which is slower; without it nothing is paid. Default `None`: not metered.
    pub fuel: Option<u64>,
    /// How many bytes the memories of a sandbox may have together. Default 256 MiB.
    pub memory: usize,
    /// How many elements the tables of a sandbox may have together. Default 100,000.
    pub table_elements: usize,
    /// How many bytes a call's encoded arguments may have. Default 64 MiB.
    pub arguments: usize,
    /// How many bytes a call's encoded result may have. Default 64 MiB.
    pub result: usize,
    /// How many bytes a module may have. Default 64 MiB.
    pub module_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: None,
            fuel: None,
            memory: 256 << 20,
            table_elements: 100_000,
            arguments: 64 << 20,
            result: 64 << 20,
            module_size: 64 << 20,
        }
    }
}

impl Limits {
    /// What is wrong with them, an item each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.time.is_some_and(|time| time.is_zero() || time > MAX_DURATION) {
            problems.push("`Limits::time` must be longer than zero and at most a year".to_owned());
        }
        for (name, bytes) in [("arguments", self.arguments), ("result", self.result)] {
            if bytes > u32::MAX as usize {
                problems.push(format!(
                    "`Limits::{name}` must be less than 4 GiB, as a guest's memory is"
                ));
            }
        }
        problems
    }
}
