//! `cargo xtask bench growth`: how costs scale. Points that are compared are sampled by turns.

mod definitions;
mod dependencies;
mod functions;
mod outstanding;
mod series;
mod start_up;
mod workers;

pub(crate) use series::Series;

use crate::guests::Guests;
use crate::sampling::{Sampled, in_turns};
use anyhow::Result;
use series::What;

/// Measures a figure. The function argument is called after each step.
pub(crate) type Measure = fn(&Guests, &mut dyn FnMut()) -> Result<Vec<Series>>;

/// Every figure with its number of steps.
pub(crate) const FIGURES: [(Measure, u64); 6] = [
    (functions::measure, functions::STEPS),
    (workers::measure, workers::STEPS),
    (outstanding::measure, outstanding::STEPS),
    (dependencies::measure, dependencies::STEPS),
    (definitions::measure, definitions::STEPS),
    (start_up::measure, start_up::STEPS),
];

/// Counts as `x` values of a figure.
fn xs(counts: &[usize]) -> Vec<f64> {
    counts.iter().map(|count| *count as f64).collect()
}

/// A series with a point for each count, sampled by turns.
fn by_turns(
    what: What,
    counts: &[usize],
    rounds: u64,
    mut measures: Vec<Sampled<'_>>,
    tick: &mut dyn FnMut(),
) -> Result<Series> {
    let samples = in_turns(rounds, &mut measures, tick)?;
    Ok(Series { what, points: xs(counts).into_iter().zip(samples).collect() })
}
