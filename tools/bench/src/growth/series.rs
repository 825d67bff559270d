//! A series of points, how it grows, and whether that is acceptable.

use crate::figure::Figure;
use crate::point::Point;
use crate::sampling::Samples;
use crate::unit::{Unit, count};

/// The acceptable growth.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// No growth: the last median is at most this many times the first.
    Flat(f64),
    /// At most linear growth with `x`, see [`STEEP`].
    Linear,
    /// More is better: each median is at least this fraction of the previous one.
    Kept(f64),
    /// Up to this `x`, the 99th percentile is at most this many times that of the first point. Beyond it is only
    /// reported.
    Tail { most: f64, until: f64 },
}

/// The name of the measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct What {
    pub(crate) figure: Figure,
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) expected: Expected,
}

/// A measurement with its points.
pub(crate) struct Series {
    pub(crate) what: What,
    pub(crate) points: Vec<(f64, Samples)>,
}

/// The largest exponent of `x` that counts as linear growth. Measurements are noisy, and an exponent of two is
/// quadratic. The description of growth includes it.
const STEEP: f64 = 1.5;

impl Series {
    pub(crate) fn points(&self) -> impl Iterator<Item = Point> {
        self.points.iter().map(|(x, samples)| Point {
            figure: self.what.figure.name.to_owned(),
            series: self.what.name.to_owned(),
            x: *x,
            y: samples.median(),
            p99: self.p99(samples),
            unit: self.what.unit.as_str().to_owned(),
            samples: samples.len(),
        })
    }

    /// Only for durations: the 99th percentile of rates would be the best result.
    fn p99(&self, samples: &Samples) -> Option<f64> {
        (self.what.unit == Unit::Nanoseconds).then(|| samples.quantile(0.99))
    }

    /// The series as lines of text: its points and a description of its growth.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {}", self.what.figure.name, self.what.name)];
        for (x, samples) in &self.points {
            let p99 = self.p99(samples);
            lines.push(format!(
                "{:>12} {:<26}{:>12}{:>20}   n {}",
                count(*x),
                self.what.figure.x,
                self.what.unit.figure(samples.median(), 2),
                p99.map_or_else(String::new, |p99| format!(
                    "p99 {}",
                    self.what.unit.figure(p99, 2)
                )),
                count_of(samples),
            ));
        }
        lines.extend(self.growth().map(|word| format!("    {word}")));
        lines
    }

    /// Describes the growth from the first point to the last, and whether it is acceptable.
    fn growth(&self) -> Option<String> {
        let [(first_x, first), .., (last_x, last)] = self.points.as_slice() else { return None };
        let y = last.median() / first.median();
        let (grown, allowed, is_met) = match self.what.expected {
            Expected::Flat(most) => {
                (factor(y), format!("it may grow by x{most} at most"), y <= most)
            }
            Expected::Linear => (
                factor(y),
                format!("it may grow with an exponent of at most {STEEP}"),
                self.exponent().is_none_or(|found| found <= STEEP),
            ),
            Expected::Kept(least) => {
                let is_kept = self.points.windows(2).all(|pair| {
                    let [(_, before), (_, after)] = pair else { return true };
                    after.median() >= before.median() * least
                });
                (
                    factor(y),
                    format!("no step may lose more than {:.0}%", (1.0 - least) * 100.0),
                    is_kept,
                )
            }
            Expected::Tail { most, until } => {
                let worst = |until: f64| {
                    let points = self.points.iter().filter(|(x, _)| *x <= until);
                    let tails = points.map(|(_, samples)| samples.quantile(0.99));
                    tails.fold(0.0, f64::max) / first.quantile(0.99)
                };
                let (here, anywhere) = (worst(until), worst(f64::INFINITY));
                let (y, here, anywhere, met) =
                    (factor(y), factor(here), factor(anywhere), here <= most);
                let grown = format!("{y} (p99 {here} up to {until}, {anywhere} at worst)");
                let until = count(until);
                (grown, format!("p99 may be up to x{most} of that without load up to {until}"), met)
            }
        };
        let verdict = if is_met { "acceptable" } else { "GROWS TOO MUCH" };
        let over = if *first_x > 0.0 {
            format!("while {} grow {}", self.what.figure.x, factor(last_x / first_x))
        } else {
            format!("from none to {} {}", count(*last_x), self.what.figure.x)
        };
        Some(format!("grows {grown} {over}; {allowed}: {verdict}"))
    }

    /// The exponent of `x` with which the increase over the first point grows between the last two points. `None` if
    /// the increase is within the noise.
    fn exponent(&self) -> Option<f64> {
        let [(first_x, first), .., (before_x, before), (last_x, last)] = self.points.as_slice()
        else {
            return None;
        };
        let first = first.median();
        // Changes of up to half of the first median are noise.
        let last = last.median() - first;
        // Noise of the previous point must not make the last one look steep.
        let before = (before.median() - first).max(first * 0.25);
        (last > first * 0.5)
            .then(|| (last / before).ln() / ((last_x - first_x) / (before_x - first_x)).ln())
    }
}

fn factor(value: f64) -> String {
    if value < 100.0 { format!("x{value:.2}") } else { format!("x{}", count(value)) }
}

fn count_of(samples: &Samples) -> String {
    count(samples.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth_of(expected: Expected, points: &[(f64, f64)]) -> String {
        let points = points.iter().map(|(x, y)| (*x, Samples::of(vec![*y]))).collect();
        let (figure, unit) = (crate::figure::WORKERS, Unit::Nanoseconds);
        Series { what: What { figure, name: "it", unit, expected }, points }.growth().unwrap()
    }

    #[test]
    fn acceptable_growth_is_distinguished() {
        let is_met =
            |expected, points: &[(f64, f64)]| growth_of(expected, points).ends_with("acceptable");
        assert!(is_met(Expected::Flat(1.5), &[(1.0, 10.0), (100.0, 14.0)]));
        assert!(!is_met(Expected::Flat(1.5), &[(1.0, 10.0), (100.0, 16.0)]));
        assert!(is_met(Expected::Linear, &[(1.0, 10.0), (10.0, 90.0), (100.0, 990.0)]));
        assert!(!is_met(Expected::Linear, &[(1.0, 10.0), (10.0, 11.0), (100.0, 110.0)]));
        assert!(is_met(Expected::Kept(0.8), &[(1.0, 1.0), (2.0, 9.0), (4.0, 8.0)]));
        assert!(!is_met(Expected::Kept(0.8), &[(1.0, 1.0), (2.0, 9.0), (4.0, 5.0)]));
    }

    #[test]
    fn noise_is_linear_and_a_late_increase_is_not() {
        let linear = |points: &[(f64, f64)]| growth_of(Expected::Linear, points);
        let is_met = |points: &[(f64, f64)]| linear(points).ends_with("acceptable");
        // The increase over the first point is noise.
        assert!(is_met(&[(1.0, 10.0), (10.0, 9.0), (100.0, 14.0)]));
        assert!(is_met(&[(1.0, 10.0), (10.0, 10.01), (100.0, 14.0)]));
        // Two points have no exponent.
        assert!(is_met(&[(1.0, 10.0), (100.0, 10_000.0)]));
        // The last point but one is within the noise, on either side.
        assert!(is_met(&[(1.0, 10.0), (10.0, 9.0), (100.0, 30.0)]));
        assert!(is_met(&[(32.0, 10.0), (64.0, 10.01), (128.0, 17.0)]));
        assert!(!is_met(&[(1.0, 10.0), (10.0, 10.0), (100.0, 1_000.0)]));
        assert!(!is_met(&[(1.0, 10.0), (10.0, 9.0), (100.0, 1_000.0)]));
        assert!(linear(&[(1.0, 10.0), (100.0, 14.0)]).contains("an exponent of at most 1.5"));
    }

    #[test]
    fn the_tail_is_checked_up_to_its_limit() {
        let tail =
            |points: &[(f64, f64)]| growth_of(Expected::Tail { most: 3.0, until: 2.0 }, points);
        let is_met = |points: &[(f64, f64)]| tail(points).ends_with("acceptable");
        assert!(is_met(&[(0.0, 10.0), (1.0, 30.0), (2.0, 11.0)]));
        assert!(!is_met(&[(0.0, 10.0), (1.0, 31.0), (2.0, 11.0)]));
        assert!(!is_met(&[(0.0, 10.0), (1.0, 10.0), (2.0, 31.0)]));
        assert!(is_met(&[(0.0, 10.0), (2.0, 30.0), (9.0, 99.0)]));
        let described = tail(&[(0.0, 10.0), (2.0, 20.0), (9.0, 40.0)]);
        assert!(
            described.contains("(p99 x2.00 up to 2, x4.00 at worst) from none to 9"),
            "{described}"
        );
    }

    #[test]
    fn the_description_has_the_factors() {
        let described = growth_of(Expected::Flat(1.5), &[(1.0, 10.0), (64.0, 20.0)]);
        assert_eq!(
            described,
            "grows x2.00 while workers grow x64.00; it may grow by x1.5 at most: GROWS TOO MUCH"
        );
    }
}
