//! When something that failed may be tried again: pure arithmetic over failures and moments.
//!
//! It knows no thread, no clock and no sandbox: `now` and the random source are passed in, so its
//! tests neither sleep nor guess. One [`RestartState`] belongs to one thing that can fail: a
//! function's sandbox on a worker, or a worker's thread.

use crate::options::Options;
use rand::RngExt as _;
use std::time::{Duration, Instant};

/// The embedder's choices.
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
            cool_down: options.hold_cool_down,
        }
    }

    /// Whether anything is tried again by itself.
    pub(crate) const fn restarts(&self) -> bool {
        self.restart
    }

    /// `min(base * 2^(n-1) + jitter, max)`.
    fn delay(&self, nth: u32, random: &mut impl rand::Rng) -> Duration {
        let doubled =
            self.base_delay.saturating_mul(1_u32.checked_shl(nth - 1).unwrap_or(u32::MAX));
        let jitter = self.jitter.mul_f64(random.random::<f64>());
        doubled.saturating_add(jitter).min(self.max_delay)
    }
}

/// What is known of one thing's failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestartState {
    /// Restarts since the last success.
    restarts: u32,
    /// Failures since the last success of something that had not succeeded since its own start.
    fruitless: u32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// May be tried from this moment on.
    Open { from: Instant },
    /// Gave up; one trial may go through from `trial_from` on.
    Held { since: Instant, trial_from: Instant },
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Decision {
    /// Start again at once: it had worked since its last start.
    RestartNow {
        /// Which restart since the last success.
        attempt: u32,
    },
    /// Start again after the delay.
    RestartAfter {
        /// Which restart since the last success.
        attempt: u32,
        /// How long to wait.
        delay: Duration,
    },
    /// Its restarts are used up.
    Hold {
        /// How many restarts were tried.
        attempts: u32,
    },
}

/// Whether something may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may.
    Yes,
    /// It is held, but its cool-down is over: one trial may go through.
    Trial,
    /// From this moment on.
    From(Instant),
    /// It is held.
    Held {
        /// Since when.
        since: Instant,
    },
}

impl RestartState {
    pub(crate) fn new(now: Instant) -> Self {
        Self { restarts: 0, fruitless: 0, phase: Phase::Open { from: now } }
    }

    /// Takes note of a failure. `had_succeeded`: since its last start.
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
        // Its trial went well, if it had succeeded since.
        let was_held = !had_succeeded && matches!(self.phase, Phase::Held { .. });
        if !policy.restart || was_held || self.restarts >= policy.max_restarts {
            let since = match self.phase {
                Phase::Held { since, .. } if was_held => since,
                _ => now,
            };
            self.phase = Phase::Held { since, trial_from: now + policy.cool_down };
            return Decision::Hold { attempts: self.restarts };
        }
        self.restarts += 1;
        let attempt = self.restarts;
        if self.fruitless == 0 {
            self.phase = Phase::Open { from: now };
            return Decision::RestartNow { attempt };
        }
        let delay = policy.delay(self.fruitless, random);
        self.phase = Phase::Open { from: now + delay };
        Decision::RestartAfter { attempt, delay }
    }

    /// Whether it may be tried now. Asking changes nothing; see [`RestartState::begin_trial`].
    pub(crate) fn admission(&self, now: Instant) -> Admission {
        match self.phase {
            Phase::Open { from } if from <= now => Admission::Yes,
            Phase::Open { from } => Admission::From(from),
            Phase::Held { trial_from, .. } if trial_from <= now => Admission::Trial,
            Phase::Held { since, .. } => Admission::Held { since },
        }
    }

    /// When it may be tried again at the earliest.
    pub(crate) fn opens_at(&self) -> Instant {
        match self.phase {
            Phase::Open { from } => from,
            Phase::Held { trial_from, .. } => trial_from,
        }
    }

    /// Lets the trial be made again, since the last one ended without a verdict.
    pub(crate) fn abandon_trial(&mut self, now: Instant) {
        if let Phase::Held { trial_from, .. } = &mut self.phase {
            *trial_from = now;
        }
    }

    /// Lets no second trial through until this one failed, or until another cool-down has passed
    /// without word of it.
    pub(crate) fn begin_trial(&mut self, policy: &RestartPolicy, now: Instant) {
        if let Phase::Held { trial_from, .. } = &mut self.phase {
            *trial_from = now + policy.cool_down;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    struct Scene {
        policy: RestartPolicy,
        state: RestartState,
        now: Instant,
        random: SmallRng,
    }

    impl Scene {
        fn new(options: Options) -> Self {
            let now = Instant::now();
            Self {
                policy: RestartPolicy::new(&options),
                state: RestartState::new(now),
                now,
                random: SmallRng::seed_from_u64(1),
            }
        }

        fn fails(&mut self, had_succeeded: bool) -> Decision {
            self.state.failed(had_succeeded, &self.policy, self.now, &mut self.random)
        }

        fn after(&mut self, wait: Duration) -> Admission {
            self.now += wait;
            self.state.admission(self.now)
        }
    }

    fn without_jitter() -> Options {
        Options { restart_jitter: Duration::ZERO, ..Options::default() }
    }

    const MS_100: Duration = Duration::from_millis(100);

    #[test]
    fn what_had_worked_restarts_at_once() {
        let mut scene = Scene::new(without_jitter());
        for _ in 0..100 {
            assert_eq!(scene.fails(true), Decision::RestartNow { attempt: 1 });
            assert_eq!(scene.after(Duration::ZERO), Admission::Yes);
        }
    }

    #[test]
    fn what_fails_without_working_in_between_waits_longer_each_time_and_is_held_in_the_end() {
        let mut scene = Scene::new(without_jitter());
        assert_eq!(scene.fails(true), Decision::RestartNow { attempt: 1 });
        assert_eq!(scene.fails(false), Decision::RestartAfter { attempt: 2, delay: MS_100 });
        assert_eq!(
            scene.after(MS_100 - Duration::from_nanos(1)),
            Admission::From(scene.now + Duration::from_nanos(1))
        );
        assert_eq!(scene.after(Duration::from_nanos(1)), Admission::Yes);
        assert_eq!(scene.fails(false), Decision::RestartAfter { attempt: 3, delay: 2 * MS_100 });
        assert_eq!(scene.fails(false), Decision::Hold { attempts: 3 });
        let since = scene.now;
        assert_eq!(scene.after(Duration::from_secs(59)), Admission::Held { since });
    }

    #[test]
    fn what_never_worked_has_the_whole_budget_of_delays() {
        let mut scene = Scene::new(without_jitter());
        for (attempt, factor) in [(1, 1), (2, 2), (3, 4)] {
            assert_eq!(
                scene.fails(false),
                Decision::RestartAfter { attempt, delay: factor * MS_100 }
            );
        }
        assert_eq!(scene.fails(false), Decision::Hold { attempts: 3 });
    }

    #[test]
    fn a_success_gives_the_budget_back() {
        let mut scene = Scene::new(without_jitter());
        for _ in 0..3 {
            let _ = scene.fails(false);
        }
        assert_eq!(scene.fails(true), Decision::RestartNow { attempt: 1 });
        assert_eq!(scene.fails(false), Decision::RestartAfter { attempt: 2, delay: MS_100 });
    }

    #[test]
    fn one_trial_goes_through_after_the_cool_down_and_holds_on_when_it_fails() {
        let mut scene = Scene::new(Options { max_restarts_per_worker: 0, ..without_jitter() });
        assert_eq!(scene.fails(false), Decision::Hold { attempts: 0 });
        let since = scene.now;
        assert_eq!(scene.after(Duration::from_secs(60)), Admission::Trial);
        scene.state.begin_trial(&scene.policy, scene.now);
        assert_eq!(scene.after(Duration::from_secs(1)), Admission::Held { since });
        assert_eq!(scene.fails(false), Decision::Hold { attempts: 0 });
        assert_eq!(scene.after(Duration::from_secs(59)), Admission::Held { since });
        assert_eq!(scene.after(Duration::from_secs(1)), Admission::Trial);
    }

    #[test]
    fn what_worked_since_its_trial_has_its_budget_back() {
        let mut scene = Scene::new(without_jitter());
        for _ in 0..4 {
            let _ = scene.fails(false);
        }
        assert_eq!(scene.after(Duration::from_secs(60)), Admission::Trial);
        assert_eq!(scene.fails(true), Decision::RestartNow { attempt: 1 });
        assert_eq!(scene.after(Duration::ZERO), Admission::Yes);
    }

    #[test]
    fn a_trial_nobody_heard_of_again_does_not_hold_for_ever() {
        let mut scene = Scene::new(Options { max_restarts_per_worker: 0, ..without_jitter() });
        let _ = scene.fails(false);
        assert_eq!(scene.after(Duration::from_secs(60)), Admission::Trial);
        scene.state.begin_trial(&scene.policy, scene.now);
        assert_eq!(scene.after(Duration::from_secs(60)), Admission::Trial);
    }

    #[test]
    fn a_trial_without_a_verdict_is_made_again_at_once() {
        let mut scene = Scene::new(Options { max_restarts_per_worker: 0, ..without_jitter() });
        let _ = scene.fails(false);
        assert_eq!(scene.after(Duration::from_secs(60)), Admission::Trial);
        scene.state.begin_trial(&scene.policy, scene.now);
        scene.state.abandon_trial(scene.now);
        assert_eq!(scene.after(Duration::ZERO), Admission::Trial);
    }

    #[test]
    fn without_restarts_the_first_failure_holds() {
        let mut scene = Scene::new(Options { restart_on_failure: false, ..without_jitter() });
        assert_eq!(scene.fails(true), Decision::Hold { attempts: 0 });
    }

    #[test]
    fn jitter_spreads_delays_between_their_base_and_the_cap_and_repeats_with_its_seed() {
        let delays = || {
            let mut scene =
                Scene::new(Options { max_restarts_per_worker: 10, ..Options::default() });
            (0..8)
                .map(|_| match scene.fails(false) {
                    Decision::RestartAfter { delay, .. } => delay,
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        };
        let first = delays();
        assert_eq!(first, delays());
        for (nth, delay) in first.iter().enumerate() {
            let base = MS_100 * 2_u32.pow(u32::try_from(nth).unwrap());
            let max = Duration::from_secs(5);
            assert!((base.min(max)..=(base + MS_100).min(max)).contains(delay), "{nth}: {delay:?}");
        }
        assert!(first[0] != MS_100, "something was added");
    }

    #[test]
    fn extreme_numbers_of_failures_saturate() {
        let mut scene =
            Scene::new(Options { max_restarts_per_worker: u32::MAX, ..without_jitter() });
        for _ in 0..200 {
            let _ = scene.fails(false);
        }
        assert_eq!(
            scene.fails(false),
            Decision::RestartAfter { attempt: 201, delay: Duration::from_secs(5) }
        );
    }
}
