//! Samples of two measurements taken by turns, and their statistics.

use std::time::{Duration, Instant};

/// The results of one measurement in ascending order: durations of a run in nanoseconds, or other figures.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// The value below which this fraction of the samples lies, or `NaN` without samples.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the index is less than the number of samples, which is less than 2^53"
        )]
        let at = ((self.0.len().saturating_sub(1)) as f64 * part).round() as usize;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The interquartile range relative to the median.
    pub(crate) fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / self.median()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A timed measurement: runs it once and returns the duration.
pub(crate) type Timed<'a> = &'a mut dyn FnMut() -> anyhow::Result<Duration>;

/// Times runs of `batch` rounds, because a single one is too short for the clock.
pub(crate) fn batched(
    batch: u32,
    mut round: impl FnMut() -> anyhow::Result<()>,
) -> impl FnMut() -> anyhow::Result<Duration> {
    move || {
        let begun = Instant::now();
        for _ in 0..batch {
            round()?;
        }
        Ok(begun.elapsed() / batch)
    }
}

/// The number of uncounted warm-up runs of each side.
pub(crate) const WARM_UP: u64 = 3;

/// Runs wpc and the baseline by turns after a warm-up, so that other load affects both alike. Each side is first in
/// half of the rounds.
pub(crate) fn by_turns(
    rounds: u64,
    ours: Timed<'_>,
    baseline: Timed<'_>,
    mut tick: impl FnMut(),
) -> anyhow::Result<(Samples, Samples)> {
    let (mut of_ours, mut of_baseline) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + rounds {
        let (first, second) = if round % 2 == 0 {
            let first = ours()?;
            (first, baseline()?)
        } else {
            let second = baseline()?;
            (ours()?, second)
        };
        if round >= WARM_UP {
            of_ours.push(nanos(first));
            of_baseline.push(nanos(second));
        }
        tick();
    }
    Ok((Samples::of(of_ours), Samples::of(of_baseline)))
}

pub(crate) fn alone(
    rounds: u64,
    ours: Timed<'_>,
    mut tick: impl FnMut(),
) -> anyhow::Result<Samples> {
    let mut samples = Vec::new();
    for _ in 0..rounds {
        samples.push(nanos(ours()?));
        tick();
    }
    Ok(Samples::of(samples))
}

fn nanos(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// A measurement that returns a figure.
pub(crate) type Sampled<'a> = Box<dyn FnMut() -> anyhow::Result<f64> + 'a>;

/// Converts a timed measurement to nanoseconds.
pub(crate) fn timed<'a>(mut measure: impl FnMut() -> anyhow::Result<Duration> + 'a) -> Sampled<'a> {
    Box::new(move || measure().map(nanos))
}

/// Samples many measurements by turns, in alternating order, after one warm-up round.
pub(crate) fn in_turns(
    rounds: u64,
    measures: &mut [Sampled<'_>],
    mut tick: impl FnMut(),
) -> anyhow::Result<Vec<Samples>> {
    let mut samples = vec![Vec::new(); measures.len()];
    for round in 0..=rounds {
        let mut order: Vec<_> = measures.iter_mut().zip(&mut samples).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (measure, samples) in order {
            let figure = measure()?;
            if round > 0 {
                samples.push(figure);
            }
        }
        tick();
    }
    Ok(samples.into_iter().map(Samples::of).collect())
}
