//! Rounds in which every library has a turn, and their statistics.

use crate::contestant::{Contestant, Load, Work};
use crate::peers::Contestants;
use anyhow::Result;
use std::time::Duration;

/// The figure of each round, the best first.
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn of(mut samples: Vec<f64>, more_is_better: bool) -> Self {
        samples.sort_by(f64::total_cmp);
        if more_is_better {
            samples.reverse();
        }
        Self(samples)
    }

    /// The figure that this fraction of the rounds is at least as good as, or `NaN` without rounds.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the index is less than the number of samples, which is less than 2^53"
        )]
        let at = (self.0.len().saturating_sub(1) as f64 * part).round() as usize;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The duration and the number of rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    /// The number of counted rounds.
    pub(crate) count: u32,
    /// The approximate duration of a turn: long compared with the clock's resolution and a time slice, and short
    /// compared with the drift of the machine.
    pub(crate) turn: Duration,
}

/// The number of uncounted warm-up rounds, in which JIT compilers and branch predictors settle.
pub(crate) const WARM_UP: u32 = 3;

/// Runs all by turns, A B C A B C, so that other load affects them alike. Returns the seconds for a call, by library
/// and round.
pub(crate) fn by_turns(
    contestants: &mut Contestants,
    work: Work,
    outstanding: usize,
    rounds: Rounds,
    mut tick: impl FnMut(),
) -> Result<Vec<Vec<f64>>> {
    let mut loads = Vec::new();
    for contestant in contestants.iter_mut() {
        loads.push(fitted(contestant.as_mut(), work, outstanding, rounds.turn)?);
    }
    let mut samples = vec![Vec::new(); contestants.len()];
    for round in 0..WARM_UP + rounds.count {
        for ((contestant, load), samples) in contestants.iter_mut().zip(&loads).zip(&mut samples) {
            let took = contestant.run(*load)?;
            if round >= WARM_UP {
                samples.push(took.as_secs_f64() / f64::from(load.calls));
            }
        }
        tick();
    }
    Ok(samples)
}

/// The number of calls that fill a turn. At least twice the number of outstanding calls, so that a turn is more than
/// filling and draining.
fn fitted(
    contestant: &mut dyn Contestant,
    work: Work,
    outstanding: usize,
    turn: Duration,
) -> Result<Load> {
    /// The maximum growth of a load between two tries.
    const STEP: f64 = 10.0;
    let least = if outstanding == 1 { 1 } else { u32::try_from(outstanding)? * 2 };
    let mut load = Load { work, outstanding, calls: least };
    loop {
        // The better of two runs, because the first calls create sandboxes, and any run may be interrupted.
        let took = contestant.run(load)?.min(contestant.run(load)?).as_secs_f64().max(1e-9);
        let missing = turn.as_secs_f64() / took;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number that saturates"
        )]
        let calls = (f64::from(load.calls) * missing.min(STEP)) as u32;
        load.calls = calls.max(least);
        // A small fraction of a turn is not a reliable estimate.
        if missing < 2.0 {
            return Ok(load);
        }
    }
}
