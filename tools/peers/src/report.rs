//! The output: a line of JSON for each point, and a table for each figure.

use crate::sampling::Samples;
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "ns")]
    Nanoseconds,
    #[serde(rename = "calls/s")]
    CallsPerSecond,
    /// 1,048,576 bytes, as in `cargo xtask bench`.
    #[serde(rename = "MB")]
    Megabytes,
    /// 1,024 bytes.
    #[serde(rename = "KB")]
    Kilobytes,
}

#[derive(Debug, Serialize)]
pub(crate) struct Point {
    figure: &'static str,
    series: String,
    x: usize,
    /// The median of the rounds.
    y: f64,
    /// The value that 99 of 100 rounds are at least as good as: the slow end of durations and of rates. A round is the
    /// mean of a batch, so this is not the p99 of single calls.
    p99: f64,
    unit: Unit,
    samples: usize,
}

impl Point {
    pub(crate) fn new(
        figure: &'static str,
        series: &str,
        x: usize,
        unit: Unit,
        samples: &Samples,
    ) -> Self {
        let (y, p99) = (samples.median(), samples.quantile(0.99));
        Self { figure, series: series.to_owned(), x, y, p99, unit, samples: samples.len() }
    }
}

/// A row for each series and a column for each `x`: the median, and p99 in parentheses.
pub(crate) fn table(points: &[Point]) -> String {
    let mut series: Vec<&str> = Vec::new();
    let mut columns: Vec<usize> = Vec::new();
    for point in points {
        if !series.contains(&point.series.as_str()) {
            series.push(&point.series);
        }
        if !columns.contains(&point.x) {
            columns.push(point.x);
        }
    }
    let mut table = format!("{:<24}", "");
    for x in &columns {
        let _ = write!(table, "{x:>26}");
    }
    for series in series {
        let _ = write!(table, "\n{series:<24}");
        for x in &columns {
            let point = points.iter().find(|point| point.series == series && point.x == *x);
            let cell = point.map_or_else(String::new, |point| {
                format!("{} ({})", figure(point.unit, point.y), figure(point.unit, point.p99))
            });
            let _ = write!(table, "{cell:>26}");
        }
    }
    table
}

fn figure(unit: Unit, value: f64) -> String {
    let steps = match unit {
        Unit::Nanoseconds => [("ns", 1.0), ("us", 1e3), ("ms", 1e6)],
        Unit::CallsPerSecond => [("/s", 1.0), ("k/s", 1e3), ("M/s", 1e6)],
        Unit::Megabytes => [("MB", 1.0), ("MB", 1.0), ("MB", 1.0)],
        Unit::Kilobytes => [("KB", 1.0), ("KB", 1.0), ("KB", 1.0)],
    };
    let (name, size) = steps.into_iter().rev().find(|(_, size)| value >= *size).unwrap_or(steps[0]);
    format!("{:.1} {name}", value / size)
}
