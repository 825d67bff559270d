//! A row of the table: wpc, the baseline in the same run, and the goal.

use crate::sampling::{Samples, Timed, alone, by_turns};
use crate::unit::Unit;
use anyhow::Result;
use serde_json::json;

/// The goal of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most this many times the baseline.
    Ratio(f64),
    /// At most this much more than the baseline, in the row's unit.
    Above(f64),
    /// At most this value in the row's unit, or at least, if more is better.
    Absolute(f64),
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) ours: Samples,
    pub(crate) baseline: Option<Samples>,
    pub(crate) goal: Goal,
}

/// The number of samples of both sides of a row, unless measuring takes too long.
pub(crate) const PAIRS: u64 = 100;

/// A row whose goal is a multiple of its baseline.
pub(crate) fn against(
    name: &'static str,
    most: f64,
    ours: Timed<'_>,
    baseline: Timed<'_>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    compared(name, Goal::Ratio(most), ours, baseline, tick)
}

/// A row whose goal is a number of nanoseconds above its baseline.
pub(crate) fn above(
    name: &'static str,
    most: f64,
    ours: Timed<'_>,
    baseline: Timed<'_>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    compared(name, Goal::Above(most), ours, baseline, tick)
}

fn compared(
    name: &'static str,
    goal: Goal,
    ours: Timed<'_>,
    baseline: Timed<'_>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let (ours, baseline) = by_turns(PAIRS, ours, baseline, tick)?;
    Ok(Row { name, unit: Unit::Nanoseconds, ours, baseline: Some(baseline), goal })
}

/// A row whose goal is a number of nanoseconds.
pub(crate) fn within(
    name: &'static str,
    most: f64,
    rounds: u64,
    ours: Timed<'_>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let (unit, goal) = (Unit::Nanoseconds, Goal::Absolute(most));
    Ok(Row { name, unit, ours: alone(rounds, ours, tick)?, baseline: None, goal })
}

/// The heading of the column with the rows' names.
const P99: &str = "(p99: of samples, most of which are means of batches)";

impl Row {
    /// The value that 99 of 100 samples are at least as good as. Most samples are means of batches, so this is not the
    /// p99 of single calls.
    fn p99(&self) -> f64 {
        self.ours.quantile(if self.unit.is_better_when_more() { 0.01 } else { 0.99 })
    }

    /// wpc divided by the baseline.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.baseline.as_ref().map(|baseline| self.ours.median() / baseline.median())
    }

    pub(crate) fn is_met(&self) -> bool {
        match self.goal {
            Goal::Ratio(most) => self.ratio().is_some_and(|ratio| ratio <= most),
            Goal::Above(most) => self
                .baseline
                .as_ref()
                .is_some_and(|baseline| self.ours.median() <= baseline.median() + most),
            Goal::Absolute(least) if self.unit.is_better_when_more() => self.ours.median() >= least,
            Goal::Absolute(most) => self.ours.median() <= most,
        }
    }

    /// The heading of the table.
    pub(crate) fn heading() -> String {
        line(
            [P99, "wpc p50", "p99", "spread", "baseline p50", "ratio", "goal", "", "n"]
                .map(str::to_owned),
        )
    }

    pub(crate) fn line(&self) -> String {
        let baseline = self.baseline.as_ref();
        let figure = |value| self.unit.figure(value, 2);
        let goal = match self.goal {
            Goal::Ratio(most) => format!("<= {most:.3}x"),
            Goal::Above(most) => format!("<= +{}", figure(most)),
            Goal::Absolute(least) if self.unit.is_better_when_more() => {
                format!(">= {}", figure(least))
            }
            Goal::Absolute(most) => format!("<= {}", figure(most)),
        };
        line([
            self.name.to_owned(),
            figure(self.ours.median()),
            figure(self.p99()),
            format!("{:.0}%", self.ours.spread() * 100.0),
            baseline.map_or_else(String::new, |baseline| figure(baseline.median())),
            self.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
            goal,
            if self.is_met() { "met" } else { "missed" }.to_owned(),
            self.ours.len().to_string(),
        ])
    }

    pub(crate) fn as_json(&self) -> serde_json::Value {
        let (goal, kind) = match self.goal {
            Goal::Ratio(most) => (most, "ratio"),
            Goal::Above(most) => (most, "above"),
            Goal::Absolute(figure) => (figure, "absolute"),
        };
        json!({
            "row": self.name,
            "ours": self.ours.median(),
            "ours_p99": self.p99(),
            "spread": self.ours.spread(),
            "baseline": self.baseline.as_ref().map(Samples::median),
            "ratio": self.ratio(),
            "goal": goal,
            "goal_kind": kind,
            "met": self.is_met(),
            "unit": self.unit.as_str(),
            "samples": self.ours.len(),
        })
    }
}

fn line(cells: [String; 9]) -> String {
    let [name, rest @ ..] = cells;
    let widths = [14, 14, 7, 12, 7, 14, 7, 6];
    let rest = rest.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}"));
    format!("{name:<64}{}", rest.collect::<Vec<_>>().join(""))
}
