//! Decides when something that failed may be tried again, as a pure function of failures and times.
//!
//! It uses no threads and no clock: `now` and the random source are parameters, so its tests need not sleep. There is one
//! [`RestartState`] for each item that can fail: a function's sandbox on a worker, or a worker's thread.

use crate::options::Options;
use rand::RngExt as _;
use std::time::{Duration, Instant};

/// The embedder's settings.
#[derive(Debug, Clone)]
pub(crate) struct RestartPolicy {
    restart: bool,
    max_restarts: u32,
    base_delay: Duration,
    max_delay: Duration,
    jitter: Duration,
    cool_down: Duration,
}

impl RestartPolicy {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            restart: options.restart_on_failure,
            max_restarts: options.max_restarts_per_worker,
            base_delay: options.restart_base_delay,
            max_delay: options.restart_max_delay,
            jitter: options.restart_jitter,
            cool_down: options.circuit_breaker_cool_down,
        }
    }

    /// How long after its restarts were exhausted an item is tried once more; `None` if failed items are not restarted
    /// automatically.
    pub(crate) fn cool_down(&self) -> Option<Duration> {
        self.restart.then_some(self.cool_down)
    }

    /// `min(base * 2^(n-1) + jitter, max)`.
    fn delay(&self, nth: u32, random: &mut impl rand::Rng) -> Duration {
        let doubled =
            self.base_delay.saturating_mul(1_u32.checked_shl(nth - 1).unwrap_or(u32::MAX));
        let jitter = self.jitter.mul_f64(random.random::<f64>());
        doubled.saturating_add(jitter).min(self.max_delay)
    }
}

/// The failures of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestartState {
    /// Restarts since the last success.
    restarts: u32,
    /// Consecutive failures without a success since the preceding start.
    fruitless: u32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It may be tried from this time on.
    Closed { from: Instant },
    /// Restarts are exhausted (breaker open). From `trial_from` on, one trial is admitted (half-open).
    Open { since: Instant, trial_from: Instant },
}

/// The consequence of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Decision {
    /// Restart after a delay.
    Restart {
        /// The number of this restart since the last success, from 1.
        attempt: u32,
        /// The delay. Zero if it had succeeded since its last start.
        delay: Duration,
    },
    /// Its restarts are exhausted; the circuit breaker opens.
    Open {
        /// The number of restarts since the last success.
        attempts: u32,
    },
}

/// Whether an item may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may be tried (breaker closed).
    Yes,
    /// Its cool-down is over: one trial is admitted (half-open).
    Trial,
    /// It may be tried from this time on.
    From(Instant),
    /// It may not be tried (breaker open).
    Open {
        /// When the breaker opened.
        since: Instant,
    },
}

impl RestartState {
    pub(crate) fn new(now: Instant) -> Self {
        Self { restarts: 0, fruitless: 0, phase: Phase::Closed { from: now } }
    }

    /// Records a failure. `had_succeeded` is whether it had succeeded since its last start.
    pub(crate) fn failed(
        &mut self,
        had_succeeded: bool,
        policy: &RestartPolicy,
        now: Instant,
        random: &mut impl rand::Rng,
    ) -> Decision {
        if had_succeeded {
            (self.restarts, self.fruitless) = (0, 0);
        } else {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        // If it had succeeded since, its trial succeeded.
        let was_open = !had_succeeded && matches!(self.phase, Phase::Open { .. });
        if !policy.restart || was_open || self.restarts >= policy.max_restarts {
            let since = match self.phase {
                Phase::Open { since, .. } if was_open => since,
                _ => now,
            };
            self.phase = Phase::Open { since, trial_from: now + policy.cool_down };
            return Decision::Open { attempts: self.restarts };
        }
        self.restarts += 1;
        let delay = match self.fruitless {
            0 => Duration::ZERO,
            nth => policy.delay(nth, random),
        };
        self.phase = Phase::Closed { from: now + delay };
        Decision::Restart { attempt: self.restarts, delay }
    }

    /// Whether it may be tried now. This changes nothing; see [`RestartState::begin_trial`].
    pub(crate) fn admission(&self, now: Instant) -> Admission {
        match self.phase {
            Phase::Closed { from } if from <= now => Admission::Yes,
            Phase::Closed { from } => Admission::From(from),
            Phase::Open { trial_from, .. } if trial_from <= now => Admission::Trial,
            Phase::Open { since, .. } => Admission::Open { since },
        }
    }

    /// Allows another trial, because the last one ended without a result.
    pub(crate) fn abandon_trial(&mut self, now: Instant) {
        if let Phase::Open { trial_from, .. } = &mut self.phase {
            *trial_from = now;
        }
    }

    /// Admits no second trial until this one has failed, or until another cool-down has passed without a result.
    pub(crate) fn begin_trial(&mut self, policy: &RestartPolicy, now: Instant) {
        if let Phase::Open { trial_from, .. } = &mut self.phase {
            *trial_from = now + policy.cool_down;
        }
    }
}

#[cfg(test)]
mod tests;
