//! How one thing grows, and whether it may.

use crate::figure::Figure;
use crate::point::Point;
use crate::sampling::Samples;
use crate::unit::{Unit, count};

/// How something may grow.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// Not at all: the last median is at most so many times the first.
    Flat(f64),
    /// At most about as `x` does, see [`STEEP`].
    Linear,
    /// More is better: no median is below this part of the one before.
    Kept(f64),
    /// Up to an `x` the 99th percentile is no more than so many times that of the first; beyond it is only told.
    Tail { most: f64, until: f64 },
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct What {
    pub(crate) figure: Figure,
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) expected: Expected,
}

/// What is measured, and its points.
pub(crate) struct Series {
    pub(crate) what: What,
    pub(crate) points: Vec<(f64, Samples)>,
}

/// Up to which power of `x` growth is taken for linear: what is measured is not exact, and two would be a square.
/// Words about growth tell it.
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

    /// Of times only: of a rate the 99th percentile of the samples would be the best that happened.
    fn p99(&self, samples: &Samples) -> Option<f64> {
        (self.what.unit == Unit::Nanoseconds).then(|| samples.quantile(0.99))
    }

    /// The series as lines of text: its points, and a word about its growth.
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
        lines.extend(self.word().map(|word| format!("    {word}")));
        lines
    }

    /// How it grows from the first point to the last, and whether that is as it should be.
    fn word(&self) -> Option<String> {
        let [(first_x, first), .., (last_x, last)] = self.points.as_slice() else { return None };
        let y = last.median() / first.median();
        let (grown, allowed, is_met) = match self.what.expected {
            Expected::Flat(most) => {
                (factor(y), format!("it may grow by x{most} at most"), y <= most)
            }
            Expected::Linear => (
                factor(y),
                format!("it may grow as the power of {STEEP} of that at most"),
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
                (grown, format!("p99 may be x{most} of that in quiet up to {until}"), met)
            }
        };
        let verdict = if is_met { "as it should" } else { "WORSE THAN IT SHOULD BE" };
        let over = if *first_x > 0.0 {
            format!("while {} grow {}", self.what.figure.x, factor(last_x / first_x))
        } else {
            format!("from none to {} {}", count(*last_x), self.what.figure.x)
        };
        Some(format!("grows {grown} {over}; {allowed}: {verdict}"))
    }

    /// As which power of `x` what comes on top of the first point grows, from the last but one to the last;
    /// `None` where it is too little to tell.
    fn exponent(&self) -> Option<f64> {
        let [(first_x, first), .., (before_x, before), (last_x, last)] = self.points.as_slice()
        else {
            return None;
        };
        let first = first.median();
        // Half of the first may come and go.
        let last = last.median() - first;
        // What may have come or gone of the point before makes nothing of the last one steep.
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

    fn word(expected: Expected, points: &[(f64, f64)]) -> String {
        let points = points.iter().map(|(x, y)| (*x, Samples::of(vec![*y]))).collect();
        let (figure, unit) = (crate::figure::WORKERS, Unit::Nanoseconds);
        Series { what: What { figure, name: "it", unit, expected }, points }.word().unwrap()
    }

    #[test]
    fn what_grows_as_it_may_is_told_from_what_does_not() {
        let is_met =
            |expected, points: &[(f64, f64)]| word(expected, points).ends_with("as it should");
        assert!(is_met(Expected::Flat(1.5), &[(1.0, 10.0), (100.0, 14.0)]));
        assert!(!is_met(Expected::Flat(1.5), &[(1.0, 10.0), (100.0, 16.0)]));
        assert!(is_met(Expected::Linear, &[(1.0, 10.0), (10.0, 90.0), (100.0, 990.0)]));
        assert!(!is_met(Expected::Linear, &[(1.0, 10.0), (10.0, 11.0), (100.0, 110.0)]));
        assert!(is_met(Expected::Kept(0.8), &[(1.0, 1.0), (2.0, 9.0), (4.0, 8.0)]));
        assert!(!is_met(Expected::Kept(0.8), &[(1.0, 1.0), (2.0, 9.0), (4.0, 5.0)]));
    }

    #[test]
    fn what_is_too_little_to_tell_is_linear_and_a_late_explosion_is_not() {
        let linear = |points: &[(f64, f64)]| word(Expected::Linear, points);
        let is_met = |points: &[(f64, f64)]| linear(points).ends_with("as it should");
        // Nothing comes on top of the first but noise.
        assert!(is_met(&[(1.0, 10.0), (10.0, 9.0), (100.0, 14.0)]));
        assert!(is_met(&[(1.0, 10.0), (10.0, 10.01), (100.0, 14.0)]));
        // Two points tell no power.
        assert!(is_met(&[(1.0, 10.0), (100.0, 10_000.0)]));
        // The point before the last lies in the noise, on either side.
        assert!(is_met(&[(1.0, 10.0), (10.0, 9.0), (100.0, 30.0)]));
        assert!(is_met(&[(32.0, 10.0), (64.0, 10.01), (128.0, 17.0)]));
        assert!(!is_met(&[(1.0, 10.0), (10.0, 10.0), (100.0, 1_000.0)]));
        assert!(!is_met(&[(1.0, 10.0), (10.0, 9.0), (100.0, 1_000.0)]));
        assert!(linear(&[(1.0, 10.0), (100.0, 14.0)]).contains("power of 1.5"));
    }

    #[test]
    fn a_tail_may_be_long_only_beyond_what_is_asked_for() {
        let tail = |points: &[(f64, f64)]| word(Expected::Tail { most: 3.0, until: 2.0 }, points);
        let is_met = |points: &[(f64, f64)]| tail(points).ends_with("as it should");
        assert!(is_met(&[(0.0, 10.0), (1.0, 30.0), (2.0, 11.0)]));
        assert!(!is_met(&[(0.0, 10.0), (1.0, 31.0), (2.0, 11.0)]));
        assert!(!is_met(&[(0.0, 10.0), (1.0, 10.0), (2.0, 31.0)]));
        assert!(is_met(&[(0.0, 10.0), (2.0, 30.0), (9.0, 99.0)]));
        let told = tail(&[(0.0, 10.0), (2.0, 20.0), (9.0, 40.0)]);
        assert!(told.contains("(p99 x2.00 up to 2, x4.00 at worst) from none to 9"), "{told}");
    }

    #[test]
    fn a_word_says_how_much() {
        let told = word(Expected::Flat(1.5), &[(1.0, 10.0), (64.0, 20.0)]);
        assert_eq!(
            told,
            "grows x2.00 while workers grow x64.00; it may grow by x1.5 at most: WORSE THAN IT SHOULD BE"
        );
    }
}
