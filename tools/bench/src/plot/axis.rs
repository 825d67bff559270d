//! An axis: the positions of values and the ticks.
//!
//! Logarithms are computed here and not by the plotting library, so that ticks can be chosen freely and a logarithmic
//! axis can have a position for zero.

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use std::ops::Range;

/// An axis. Positions on it are between 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
    /// The values with ticks.
    ticks: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    Logarithmic,
    /// With a position for 0 at the left end.
    LogarithmicAndNone,
}

/// The ratio of the largest value to the smallest from which an axis is logarithmic.
const DECADES: f64 = 8.0;

/// The minimum distance between ticks, so that their labels do not overlap.
const MIN_DISTANCE: f64 = 0.055;

/// The fraction of a logarithmic axis that is reserved for 0.
const NONE: f64 = 0.1;

impl Axis {
    /// An axis for chosen values: each value has a tick if labels do not overlap.
    pub(super) fn of_choices(values: impl Iterator<Item = f64> + Clone) -> Self {
        let mut axis = Self::of_values(values.clone());
        let mut choices: Vec<_> = values.collect();
        choices.sort_by(f64::total_cmp);
        choices.dedup();
        let positions: Vec<_> = choices.iter().map(|value| axis.position(*value)).collect();
        if positions.windows(2).all(|pair| pair[1] - pair[0] >= MIN_DISTANCE) {
            axis.ticks = choices;
        }
        axis
    }

    /// An axis for measured values.
    pub(super) fn of_values(values: impl Iterator<Item = f64> + Clone) -> Self {
        let is_positive = |value: &f64| *value > 0.0;
        let least = values.clone().filter(is_positive).fold(f64::INFINITY, f64::min);
        let most = values.clone().filter(is_positive).fold(0.0, f64::max);
        if !least.is_finite() || most < least * DECADES {
            return Self::linear(most);
        }
        let has_none = values.clone().any(|value| value <= 0.0);
        let scale = if has_none { Scale::LogarithmicAndNone } else { Scale::Logarithmic };
        Self::logarithmic(scale, least, most)
    }

    /// From 0 to a round number.
    fn linear(most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let magnitude = 10_f64.powf(most.log10().floor());
        let steps = [0.1, 0.2, 0.25, 0.5, 1.0, 2.0].map(|part| part * magnitude);
        // Four to eight ticks are easy to read.
        let step = steps.into_iter().find(|step| most / step <= 8.0).unwrap_or(magnitude);
        let count = (most / step).ceil();
        let mut axis =
            Self { scale: Scale::Linear, from: 0.0, to: count * step, ticks: Vec::new() };
        axis.set_ticks(
            std::iter::successors(Some(0.0), |at| Some(at + 1.0))
                .take_while(|at| *at <= count)
                .map(|at| at * step),
        );
        axis
    }

    fn logarithmic(scale: Scale, least: f64, most: f64) -> Self {
        // Slightly larger than the range of the points, so that none is on the frame.
        let (from, to) = (least.log10(), most.log10());
        let beyond = (to - from) * 0.04;
        let mut axis = Self { scale, from: from - beyond, to: to + beyond, ticks: Vec::new() };
        // With few decades, some values between them have ticks as well.
        let parts: &[f64] = match axis.to - axis.from {
            ..1.5 => &[1.0, 2.0, 3.0, 5.0],
            1.5..2.5 => &[1.0, 2.0, 5.0],
            2.5..3.5 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let last = axis.to;
        let powers = std::iter::successors(Some(axis.from.floor()), |power| Some(power + 1.0));
        let powers = powers.take_while(|power| *power <= last);
        let decades =
            powers.flat_map(|power| parts.iter().map(move |part| part * 10_f64.powf(power)));
        let zero = (scale == Scale::LogarithmicAndNone).then_some(0.0);
        axis.set_ticks(zero.into_iter().chain(decades));
        axis
    }

    fn set_ticks(&mut self, values: impl Iterator<Item = f64>) {
        self.ticks = values
            .filter(|value| {
                let is_beside_none = self.scale == Scale::LogarithmicAndNone && *value > 0.0;
                let least = if is_beside_none { NONE } else { 0.0 };
                // Rounding must not drop the last tick.
                (least - 1e-9..=1.0 + 1e-9).contains(&self.position(*value))
            })
            .collect();
    }

    /// The position of a value.
    fn position(&self, value: f64) -> f64 {
        let part = |value: f64| (value - self.from) / (self.to - self.from);
        match self.scale {
            Scale::Linear => part(value),
            Scale::Logarithmic => part(value.log10()),
            Scale::LogarithmicAndNone if value <= 0.0 => NONE / 3.0,
            Scale::LogarithmicAndNone => NONE + (1.0 - NONE) * part(value.log10()),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        #[expect(clippy::cast_possible_truncation, reason = "a position within an image")]
        let at = (self.position(*value) * f64::from(to - from)).round() as i32;
        from + at
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // No grid lines between the ticks.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        let value = |at: f64| if self.scale == Scale::Linear { at } else { 10_f64.powf(at) };
        value(self.from)..value(self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(axis: &Axis) -> Vec<f64> {
        axis.ticks.iter().map(|value| (value * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn values_of_one_magnitude_start_at_zero() {
        let axis = Axis::of_values([19.0, 24.5].into_iter());
        assert_eq!(values(&axis), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
        assert!((axis.position(12.5) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn values_of_many_magnitudes_have_a_tick_for_each_decade() {
        let axis = Axis::of_values([150.0, 2e6].into_iter());
        assert_eq!(values(&axis), [1e3, 1e4, 1e5, 1e6]);
    }

    #[test]
    fn chosen_values_have_ticks_and_zero_has_a_position() {
        let choices = [1.0, 2.0, 4.0, 8.0, 16.0];
        assert_eq!(values(&Axis::of_choices(choices.into_iter())), choices);
        let axis = Axis::of_choices([0.0, 99.5, 100.2, 20_000.0].into_iter());
        assert_eq!(values(&axis), [0.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4]);
        assert!(axis.position(0.0) < axis.position(99.5));
    }
}
