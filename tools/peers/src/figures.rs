//! The figures, with a point for every library and `x`.

use crate::contestant::{MOST_OUTSTANDING, Work};
use crate::peers::{Contestants, Peers};
use crate::report::{Point, Unit};
use crate::sampling::{Rounds, Samples, WARM_UP, by_turns};
use anyhow::Result;
use std::time::Duration;

pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    unit: Unit,
    /// The values of `x`: payload sizes or numbers of outstanding calls.
    parameters: &'static [usize],
    /// The load at an `x`: the work, and how many calls are outstanding.
    load: fn(usize) -> (Work, usize),
    contestants: fn(&Peers) -> Result<Contestants>,
    rounds: Rounds,
}

/// Payload sizes in bytes: a few numbers, a small message, a page of text, an image, a document.
const PAYLOADS: [usize; 5] = [16, 1 << 10, 16 << 10, 128 << 10, 1 << 20];

/// The number of workers of pools whose throughput is measured.
const WORKERS: usize = 2;

const LATENCY: Rounds = Rounds { count: 40, turn: Duration::from_millis(8) };

/// Longer turns, because a pool needs time until 1,000 calls are outstanding.
const THROUGHPUT: Rounds = Rounds { count: 15, turn: Duration::from_millis(50) };

pub(crate) const FIGURES: [Figure; 7] = [
    Figure {
        name: "latency-payload",
        about: "bytes in both directions, one call outstanding, one worker; by payload",
        unit: Unit::Nanoseconds,
        parameters: &PAYLOADS,
        load: |len| (Work::Echo(len), 1),
        contestants: Peers::all,
        rounds: LATENCY,
    },
    Figure {
        name: "latency-add",
        about: "the sum of two numbers, one call outstanding, one worker",
        unit: Unit::Nanoseconds,
        parameters: &[0],
        load: |_| (Work::Add, 1),
        contestants: Peers::all,
        rounds: LATENCY,
    },
    Figure {
        name: "throughput-outstanding",
        about: "sums of two numbers, two workers; by how many calls are outstanding",
        unit: Unit::CallsPerSecond,
        parameters: &[1, 4, 16, 64, 256, MOST_OUTSTANDING],
        load: |outstanding| (Work::Add, outstanding),
        contestants: |peers| peers.pools(WORKERS),
        rounds: THROUGHPUT,
    },
    Figure {
        name: "throughput-payload-1",
        about: "bytes in both directions, two workers, one call outstanding; by payload",
        unit: Unit::CallsPerSecond,
        parameters: &PAYLOADS,
        load: |len| (Work::Echo(len), 1),
        contestants: |peers| peers.pools(WORKERS),
        rounds: THROUGHPUT,
    },
    Figure {
        name: "throughput-payload",
        about: "bytes in both directions, two workers, 64 calls outstanding; by payload",
        unit: Unit::CallsPerSecond,
        parameters: &PAYLOADS,
        load: |len| (Work::Echo(len), 64),
        contestants: |peers| peers.pools(WORKERS),
        rounds: THROUGHPUT,
    },
    Figure {
        name: "fresh",
        about: "a sum in a new sandbox for each call",
        unit: Unit::Nanoseconds,
        parameters: &[0],
        load: |_| (Work::Fresh, 1),
        contestants: Peers::sandboxes,
        rounds: LATENCY,
    },
    Figure {
        name: "after-trap",
        about: "the first successful answer after a trap",
        unit: Unit::Nanoseconds,
        parameters: &[0],
        load: |_| (Work::AfterTrap, 1),
        contestants: Peers::sandboxes,
        rounds: LATENCY,
    },
];

impl Figure {
    /// The number of progress steps of a measurement.
    pub(crate) fn ticks(&self, quick: bool) -> u64 {
        self.parameters.len() as u64 * u64::from(WARM_UP + self.rounds(quick).count)
    }

    fn rounds(&self, quick: bool) -> Rounds {
        // A smoke run: everything once, without meaningful figures.
        let quickly = Rounds { count: 2, turn: self.rounds.turn / 5 };
        if quick { quickly } else { self.rounds }
    }

    pub(crate) fn measure(
        &self,
        peers: &Peers,
        quick: bool,
        mut tick: impl FnMut(),
    ) -> Result<Vec<Point>> {
        let mut contestants = (self.contestants)(peers)?;
        let mut points = Vec::new();
        for &parameter in self.parameters {
            let (work, outstanding) = (self.load)(parameter);
            let took =
                by_turns(&mut contestants, work, outstanding, self.rounds(quick), &mut tick)?;
            for (contestant, took) in contestants.iter().zip(took) {
                let (more_is_better, figure): (bool, fn(f64) -> f64) = match self.unit {
                    Unit::CallsPerSecond => (true, |seconds| 1.0 / seconds),
                    _ => (false, |seconds| seconds * 1e9),
                };
                let samples = took.into_iter().map(figure).collect();
                let samples = Samples::of(samples, more_is_better);
                points.push(Point::new(
                    self.name,
                    contestant.series(),
                    parameter,
                    self.unit,
                    &samples,
                ));
            }
        }
        Ok(points)
    }
}
