//! Which functions a client wants to see.

use crate::live::{FunctionSample, Sample};
use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The default number of functions that are shown.
const DEFAULT_LIMIT: usize = 50;

/// The maximum number of functions that can be shown at once.
const MAX_LIMIT: usize = 100;

/// The maximum length of a search text in characters. Names are not longer.
const MAX_SEARCH: usize = 255;

/// The query of `/v1/snapshot` and `/v1/live`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    sort: Option<Sort>,
    /// A part of the name; upper and lower case do not matter.
    #[serde(default)]
    search: String,
    /// Whether to show only functions that fail, or that some workers may not run.
    #[serde(default)]
    problems: bool,
    /// How many of the functions are skipped.
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
    /// The function that is shown with all its details.
    pub(super) function: Option<String>,
    /// Only events and calls with higher numbers are sent.
    #[serde(default)]
    pub(super) after: u64,
}

/// The order of functions. Except by name, the highest comes first, and functions with equal values are sorted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    Name,
    Rate,
    Errors,
    P50,
    P99,
    Memory,
    Fuel,
}

/// The functions of a sample that a client sees.
pub(super) struct Selection<'a> {
    pub(super) sort: Sort,
    /// The number of functions that match the search.
    pub(super) matching: usize,
    pub(super) offset: usize,
    pub(super) rows: Vec<&'a FunctionSample>,
}

impl Parameters {
    /// Refuses values out of range.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.limit.is_some_and(|limit| limit == 0 || limit > MAX_LIMIT) {
            return Err(Problem::bad_request(format!(
                "`limit`: expected a number from 1 to {MAX_LIMIT}"
            )));
        }
        let length = self.search.chars().count();
        if length > MAX_SEARCH {
            return Err(Problem::bad_request(format!(
                "`search`: expected at most {MAX_SEARCH} characters, found {length}"
            )));
        }
        Ok(())
    }

    /// The functions to show. An offset beyond the last page selects the last page.
    pub(super) fn select<'a>(&self, sample: &'a Sample) -> Selection<'a> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        // If all functions fit, they are sorted by name; otherwise the busiest ones come first.
        let by_default = if sample.functions.len() > limit { Sort::Rate } else { Sort::Name };
        let sort = self.sort.unwrap_or(by_default);
        let wanted = self.search.to_ascii_lowercase();
        let mut matching: Vec<&FunctionSample> = sample
            .functions
            .iter()
            .filter(|function| !self.problems || function.has_problem())
            .filter(|function| {
                wanted.is_empty() || function.name.to_ascii_lowercase().contains(&wanted)
            })
            .collect();
        let count = matching.len();
        let offset =
            if self.offset < count { self.offset } else { count.saturating_sub(1) / limit * limit };
        let end = offset.saturating_add(limit).min(count);
        // The sample is sorted by name.
        if sort != Sort::Name {
            let order = |a: &&FunctionSample, b: &&FunctionSample| sort.compare(a, b);
            if end < count {
                matching.select_nth_unstable_by(end, order);
                matching.truncate(end);
            }
            matching.sort_unstable_by(order);
        }
        let rows = matching[offset..end].to_vec();
        Selection { sort, matching: count, offset, rows }
    }
}

impl Sort {
    fn compare(self, a: &FunctionSample, b: &FunctionSample) -> Ordering {
        let key = |function: &FunctionSample| match self {
            Self::Name => None,
            // Totals break ties, so the order is defined before there are rates.
            Self::Rate => function.activity.rate,
            Self::Errors => function.activity.error_rate,
            Self::P50 => function.activity.p50,
            Self::P99 => function.activity.p99,
            Self::Memory => Some(function.memory as f64),
            Self::Fuel => function.activity.fuel_rate,
        };
        let total = |function: &FunctionSample| match self {
            Self::Rate => function.activity.calls,
            Self::Errors => function.activity.errors,
            Self::Fuel => function.fuel,
            _ => 0,
        };
        let (key_a, key_b) = (key(a).unwrap_or(-1.0), key(b).unwrap_or(-1.0));
        key_b
            .total_cmp(&key_a)
            .then_with(|| total(b).cmp(&total(a)))
            .then_with(|| a.name.cmp(&b.name))
    }
}
