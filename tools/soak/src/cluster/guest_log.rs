//! What guests report by log lines of their nodes: which calls have started, and which of them after their deadline.

use anyhow::{Result, ensure};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The starts of calls, by the numbers that their callers gave them.
#[derive(Debug, Default)]
pub(crate) struct GuestLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    starts: HashMap<u64, u32>,
    late: HashSet<u64>,
}

impl GuestLog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a line of a node. Returns whether it is of a guest.
    pub(crate) fn read(&self, line: &str) -> bool {
        let number = |word: &str| {
            let (_, rest) = line.split_once(&format!("\"message\":\"{word} "))?;
            u64::from_str_radix(rest.get(..16)?, 16).ok()
        };
        if let Some(number) = number("start") {
            *self.state().starts.entry(number).or_default() += 1;
        } else if let Some(number) = number("late") {
            self.state().late.insert(number);
        } else {
            return false;
        }
        true
    }

    /// Whether this call started after its deadline.
    pub(crate) fn is_late(&self, number: u64) -> bool {
        self.state().late.contains(&number)
    }

    /// The numbers of calls that started, and of those that started after their deadline.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.starts.len(), state.late.len())
    }

    /// Checks that none of these calls started more than `most` times.
    pub(crate) fn check_starts<'a>(
        &self,
        what: &str,
        most: u32,
        calls: impl IntoIterator<Item = &'a u64>,
    ) -> Result<()> {
        let state = self.state();
        for number in calls {
            let starts = state.starts.get(number).copied().unwrap_or(0);
            ensure!(starts <= most, "call {number}, {what}, started {starts} times");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_counted_by_call() {
        let log = GuestLog::default();
        for _ in 0..2 {
            assert!(
                log.read(r#"{"event":"log","message":"start 00000000000000ff","level":"info"}"#)
            );
        }
        assert!(log.read(r#"{"event":"log","message":"late 0000000000000001"}"#));
        assert!(!log.read(r#"{"event":"ready"}"#));
        assert_eq!(log.counts(), (1, 1));
        assert!(log.is_late(1) && !log.is_late(255));
        log.check_starts("plain", 2, &[255]).unwrap();
        log.check_starts("refused", 0, &[1]).unwrap();
        let error = log.check_starts("plain", 1, &[255]).unwrap_err().to_string();
        assert_eq!(error, "call 255, plain, started 2 times");
    }
}
