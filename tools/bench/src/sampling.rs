//! Samples of two things by turns, and what is said of them. It knows nothing of what is measured.

use std::time::{Duration, Instant};

/// Durations of one thing, in nanoseconds a run, shortest first.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// The value below which this part of the samples lies; `NaN` where there are none.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place among some thousand samples"
        )]
        let at = ((self.0.len().saturating_sub(1)) as f64 * part).round() as usize;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// How far the middle half of the samples lies apart, as a part of the median.
    pub(crate) fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / self.median()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Something to be timed: each run takes so long.
pub(crate) type Timed<'a> = &'a mut dyn FnMut() -> anyhow::Result<Duration>;

/// Times a run of `batch` rounds, where one alone is too short for the clock.
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

/// How many runs of each come first and do not count.
pub(crate) const WARM_UP: u64 = 3;

/// Runs ours and the floor by turns, so that what else the machine does meets both alike, and half of
/// the time each first, after some that warm up.
pub(crate) fn by_turns(
    rounds: u64,
    ours: Timed<'_>,
    floor: Timed<'_>,
    mut tick: impl FnMut(),
) -> anyhow::Result<(Samples, Samples)> {
    let (mut of_ours, mut of_floor) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + rounds {
        let (first, second) = if round % 2 == 0 {
            let first = ours()?;
            (first, floor()?)
        } else {
            let second = floor()?;
            (ours()?, second)
        };
        if round >= WARM_UP {
            of_ours.push(nanos(first));
            of_floor.push(nanos(second));
        }
        tick();
    }
    Ok((Samples::of(of_ours), Samples::of(of_floor)))
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

/// Something that gives a figure each time.
pub(crate) type Sampled<'a> = Box<dyn FnMut() -> anyhow::Result<f64> + 'a>;

/// The same for something that is timed: nanoseconds.
pub(crate) fn timed<'a>(mut measure: impl FnMut() -> anyhow::Result<Duration> + 'a) -> Sampled<'a> {
    Box::new(move || measure().map(nanos))
}

/// Samples each of many by turns, to and fro, after one round that warms up.
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
