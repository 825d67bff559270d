//! A row of the table: ours, its floor in the same run, and its goal.

use crate::sampling::{Samples, Timed, alone, by_turns};
use crate::unit::Unit;
use anyhow::Result;
use serde_json::json;

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most so many times the floor.
    Ratio(f64),
    /// At most so much, in the row's unit; at least, where more is better.
    Absolute(f64),
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) ours: Samples,
    pub(crate) floor: Option<Samples>,
    pub(crate) goal: Goal,
}

/// How many samples a row has of either side, where nothing keeps it from having so many.
pub(crate) const PAIRS: u64 = 100;

/// The row of something that is to take at most so many times as long as its floor.
pub(crate) fn against(
    name: &'static str,
    most: f64,
    ours: Timed<'_>,
    floor: Timed<'_>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let (ours, floor) = by_turns(PAIRS, ours, floor, tick)?;
    let (unit, goal) = (Unit::Nanoseconds, Goal::Ratio(most));
    Ok(Row { name, unit, ours, floor: Some(floor), goal })
}

/// The row of something that is to take at most so many nanoseconds.
pub(crate) fn within(
    name: &'static str,
    most: f64,
    rounds: u64,
    ours: Timed<'_>,
    tick: &mut dyn FnMut(),
) -> Result<Row> {
    let (unit, goal) = (Unit::Nanoseconds, Goal::Absolute(most));
    Ok(Row { name, unit, ours: alone(rounds, ours, tick)?, floor: None, goal })
}

/// What the heading has over the rows' names.
const P99: &str = "(p99: of samples, most of which are means of batches)";

impl Row {
    /// What 99 of 100 samples are at least as good as. Most samples are means of batches: of single calls it says
    /// nothing.
    fn p99(&self) -> f64 {
        self.ours.quantile(if self.unit.is_better_when_more() { 0.01 } else { 0.99 })
    }

    /// Ours by the floor.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.floor.as_ref().map(|floor| self.ours.median() / floor.median())
    }

    pub(crate) fn is_met(&self) -> bool {
        match self.goal {
            Goal::Ratio(most) => self.ratio().is_some_and(|ratio| ratio <= most),
            Goal::Absolute(least) if self.unit.is_better_when_more() => self.ours.median() >= least,
            Goal::Absolute(most) => self.ours.median() <= most,
        }
    }

    /// The line above all rows.
    pub(crate) fn heading() -> String {
        line(
            [P99, "ours p50", "p99", "spread", "floor p50", "ratio", "goal", "", "n"]
                .map(str::to_owned),
        )
    }

    pub(crate) fn line(&self) -> String {
        let floor = self.floor.as_ref();
        let figure = |value| self.unit.figure(value, 2);
        let goal = match self.goal {
            Goal::Ratio(most) => format!("<= {most:.3}x"),
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
            floor.map_or_else(String::new, |floor| figure(floor.median())),
            self.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
            goal,
            if self.is_met() { "met" } else { "missed" }.to_owned(),
            self.ours.len().to_string(),
        ])
    }

    pub(crate) fn as_json(&self) -> serde_json::Value {
        let (goal, kind) = match self.goal {
            Goal::Ratio(most) => (most, "ratio"),
            Goal::Absolute(figure) => (figure, "absolute"),
        };
        json!({
            "row": self.name,
            "ours": self.ours.median(),
            "ours_p99": self.p99(),
            "spread": self.ours.spread(),
            "floor": self.floor.as_ref().map(Samples::median),
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
    format!("{name:<60}{}", rest.collect::<Vec<_>>().join(""))
}
