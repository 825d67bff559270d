//! Which functions have metrics of their own, so that their number is bounded.
//!
//! The others are counted together, as [`OTHER`]. Counters must not decrease, because Prometheus interprets that as a
//! restart. Therefore a function keeps its own metrics while it is defined, a function that was counted with the others
//! stays with them, and the counts of undefined functions are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wpc_host::{CallCounts, FunctionMetrics, Histogram, Latencies, PoolMetrics};

/// The name of all functions without metrics of their own, and of names that are not defined. A function of this name is
/// counted here as well.
pub(crate) const OTHER: &str = "_other";

/// The counters of one function, or of several.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) calls: CallCounts,
    pub(crate) fuel_used: u64,
    pub(crate) latencies: Latencies,
}

impl Counts {
    fn of(function: &FunctionMetrics) -> Self {
        let FunctionMetrics { calls, fuel_used, latencies, .. } = function;
        Self { calls: calls.clone(), fuel_used: *fuel_used, latencies: latencies.clone() }
    }

    /// Combines each counter with that of `other`.
    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        self.calls.succeeded = with(self.calls.succeeded, other.calls.succeeded);
        for (code, count) in &other.calls.failed {
            let sum = self.calls.failed.entry(*code).or_default();
            *sum = with(*sum, *count);
        }
        self.fuel_used = with(self.fuel_used, other.fuel_used);
        combine(&mut self.latencies.run_time, &other.latencies.run_time, with);
        combine(&mut self.latencies.queue_wait, &other.latencies.queue_wait, with);
    }
}

fn combine(histogram: &mut Histogram, other: &Histogram, with: fn(u64, u64) -> u64) {
    if histogram.counts.is_empty() {
        histogram.bounds.clone_from(&other.bounds);
        histogram.counts = vec![0; other.counts.len()];
    }
    for (sum, count) in histogram.counts.iter_mut().zip(&other.counts) {
        *sum = with(*sum, *count);
    }
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    histogram.sum = Duration::from_nanos(with(nanos(histogram.sum), nanos(other.sum)));
}

/// The number of functions with metrics of their own, if it is not set.
pub(crate) const DEFAULT_MAX: usize = 100;

/// The functions that have metrics of their own.
#[derive(Debug)]
pub(crate) struct Functions {
    max: usize,
    /// Functions with metrics of their own, with their latest counts.
    own: BTreeMap<String, Counts>,
    /// Defined functions that are counted with the others.
    others: BTreeSet<String>,
    /// The latest counts of functions that had metrics of their own and are not defined any more.
    gone: Counts,
    /// The counts that were reported for the others.
    other: Counts,
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            max: DEFAULT_MAX,
            own: BTreeMap::new(),
            others: BTreeSet::new(),
            gone: Counts::default(),
            other: Counts::default(),
        }
    }
}

impl Functions {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Whether the function has metrics of its own.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.own.contains_key(name)
    }

    /// The counts of all other functions, which never decrease.
    pub(crate) fn other(&self) -> &Counts {
        &self.other
    }

    /// Records a snapshot. New functions get metrics of their own until the maximum is reached, the most called ones first.
    pub(crate) fn update(&mut self, metrics: &PoolMetrics) {
        let defined: BTreeMap<&str, &FunctionMetrics> =
            metrics.functions.iter().map(|function| (&*function.name, function)).collect();
        let gone = &mut self.gone;
        self.own.retain(|name, counts| {
            let stays = defined.contains_key(&**name);
            if !stays {
                gone.combine(counts, u64::saturating_add);
            }
            stays
        });
        self.others.retain(|name| defined.contains_key(&**name));
        self.admit(&metrics.functions);
        for (name, counts) in &mut self.own {
            if let Some(function) = defined.get(&**name) {
                *counts = Counts::of(function);
            }
        }
        let mut other = Counts {
            calls: metrics.calls.clone(),
            fuel_used: metrics.fuel_used,
            latencies: metrics.latencies.clone(),
        };
        for counts in self.own.values().chain([&self.gone]) {
            other.combine(counts, u64::saturating_sub);
        }
        // The values of a snapshot are not read at the same moment, so a difference may be smaller than an earlier one.
        self.other.combine(&other, u64::max);
    }

    fn admit(&mut self, functions: &[FunctionMetrics]) {
        let is_new = |function: &&FunctionMetrics| {
            !self.own.contains_key(&function.name) && !self.others.contains(&function.name)
        };
        let mut new: Vec<_> = functions.iter().filter(is_new).collect();
        new.sort_by_key(|function| std::cmp::Reverse(function.calls.total()));
        for function in new {
            let name = function.name.clone();
            if self.own.len() < self.max && name != OTHER {
                self.own.insert(name, Counts::default());
            } else {
                self.others.insert(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wpc_host::{ErrorCode, FunctionHash};

    /// A snapshot of functions with their numbers of successful calls; names that are not defined were called `undefined`
    /// times.
    fn snapshot(functions: &[(&str, u64)], undefined: u64) -> PoolMetrics {
        let mut metrics = PoolMetrics::default();
        for (name, calls) in functions {
            let mut function = FunctionMetrics::new(*name, FunctionHash::of(name.as_bytes()));
            function.calls.succeeded = *calls;
            metrics.calls.succeeded += calls;
            metrics.functions.push(function);
        }
        metrics.calls.failed.insert(ErrorCode::FunctionNotDefined, undefined);
        metrics
    }

    #[test]
    fn the_most_called_functions_have_metrics_and_the_others_are_summed() {
        let mut functions = Functions::new(2);
        functions.update(&snapshot(&[("a", 1), ("b", 5), ("c", 9), ("d", 2)], 4));
        assert!(functions.has("b") && functions.has("c"));
        assert!(!functions.has("a") && !functions.has("d"));
        assert_eq!(functions.other().calls.succeeded, 3);
        assert_eq!(functions.other().calls.failed[&ErrorCode::FunctionNotDefined], 4);
    }

    #[test]
    fn a_function_keeps_its_own_metrics_while_it_is_defined() {
        let mut functions = Functions::new(1);
        functions.update(&snapshot(&[("a", 1)], 0));
        functions.update(&snapshot(&[("a", 1), ("b", 100)], 0));
        assert!(functions.has("a") && !functions.has("b"));
        // `b` stays with the others although the maximum is not reached any more, because their count would decrease.
        let mut metrics = snapshot(&[("b", 100), ("c", 7)], 0);
        metrics.calls.succeeded += 1;
        functions.update(&metrics);
        assert!(functions.has("c") && !functions.has("b"));
        assert_eq!(functions.other().calls.succeeded, 100);
    }

    #[test]
    fn the_counts_of_the_others_never_decrease() {
        let mut functions = Functions::new(1);
        functions.update(&snapshot(&[("a", 1), ("b", 10)], 0));
        assert_eq!(functions.other().calls.succeeded, 1);
        // The pool's counter was read before the function's.
        let mut metrics = snapshot(&[("a", 1), ("b", 12)], 0);
        metrics.calls.succeeded = 12;
        functions.update(&metrics);
        assert_eq!(functions.other().calls.succeeded, 1);
    }

    #[test]
    fn a_function_with_the_name_of_the_others_is_counted_with_them() {
        let mut functions = Functions::new(2);
        functions.update(&snapshot(&[(OTHER, 3)], 0));
        assert!(!functions.has(OTHER));
        assert_eq!(functions.other().calls.succeeded, 3);
    }
}
