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

const AT_ONCE: Decision = Decision::Restart { attempt: 1, delay: Duration::ZERO };

#[test]
fn restarts_immediately_after_a_success() {
    let mut scene = Scene::new(without_jitter());
    for _ in 0..100 {
        assert_eq!(scene.fails(true), AT_ONCE);
        assert_eq!(scene.after(Duration::ZERO), Admission::Yes);
    }
}

#[test]
fn consecutive_failures_double_the_delay_and_finally_open_the_breaker() {
    let mut scene = Scene::new(without_jitter());
    assert_eq!(scene.fails(true), AT_ONCE);
    assert_eq!(scene.fails(false), Decision::Restart { attempt: 2, delay: MS_100 });
    assert_eq!(
        scene.after(MS_100 - Duration::from_nanos(1)),
        Admission::From(scene.now + Duration::from_nanos(1))
    );
    assert_eq!(scene.after(Duration::from_nanos(1)), Admission::Yes);
    assert_eq!(scene.fails(false), Decision::Restart { attempt: 3, delay: 2 * MS_100 });
    assert_eq!(scene.fails(false), Decision::Open { attempts: 3 });
    let since = scene.now;
    assert_eq!(scene.after(Duration::from_secs(59)), Admission::Open { since });
}

#[test]
fn without_any_success_all_restarts_are_delayed() {
    let mut scene = Scene::new(without_jitter());
    for (attempt, factor) in [(1, 1), (2, 2), (3, 4)] {
        assert_eq!(scene.fails(false), Decision::Restart { attempt, delay: factor * MS_100 });
    }
    assert_eq!(scene.fails(false), Decision::Open { attempts: 3 });
}

#[test]
fn a_success_resets_the_restart_count() {
    let mut scene = Scene::new(without_jitter());
    for _ in 0..3 {
        let _ = scene.fails(false);
    }
    assert_eq!(scene.fails(true), AT_ONCE);
    assert_eq!(scene.fails(false), Decision::Restart { attempt: 2, delay: MS_100 });
}

#[test]
fn one_trial_is_admitted_after_the_cool_down_and_a_failure_reopens_the_breaker() {
    let mut scene = Scene::new(Options { max_restarts_per_worker: 0, ..without_jitter() });
    assert_eq!(scene.fails(false), Decision::Open { attempts: 0 });
    let since = scene.now;
    assert_eq!(scene.after(Duration::from_secs(60)), Admission::Trial);
    scene.state.begin_trial(&scene.policy, scene.now);
    assert_eq!(scene.after(Duration::from_secs(1)), Admission::Open { since });
    assert_eq!(scene.fails(false), Decision::Open { attempts: 0 });
    assert_eq!(scene.after(Duration::from_secs(59)), Admission::Open { since });
    assert_eq!(scene.after(Duration::from_secs(1)), Admission::Trial);
}

#[test]
fn a_success_in_the_trial_resets_the_restart_count() {
    let mut scene = Scene::new(without_jitter());
    for _ in 0..4 {
        let _ = scene.fails(false);
    }
    assert_eq!(scene.after(Duration::from_secs(60)), Admission::Trial);
    assert_eq!(scene.fails(true), AT_ONCE);
    assert_eq!(scene.after(Duration::ZERO), Admission::Yes);
}

#[test]
fn a_trial_without_a_result_is_repeated_after_the_cool_down() {
    let mut scene = Scene::new(Options { max_restarts_per_worker: 0, ..without_jitter() });
    let _ = scene.fails(false);
    assert_eq!(scene.after(Duration::from_secs(60)), Admission::Trial);
    scene.state.begin_trial(&scene.policy, scene.now);
    assert_eq!(scene.after(Duration::from_secs(60)), Admission::Trial);
}

#[test]
fn an_abandoned_trial_is_repeated_immediately() {
    let mut scene = Scene::new(Options { max_restarts_per_worker: 0, ..without_jitter() });
    let _ = scene.fails(false);
    assert_eq!(scene.after(Duration::from_secs(60)), Admission::Trial);
    scene.state.begin_trial(&scene.policy, scene.now);
    scene.state.abandon_trial(scene.now);
    assert_eq!(scene.after(Duration::ZERO), Admission::Trial);
}

#[test]
fn without_restarts_the_first_failure_opens_the_breaker() {
    let mut scene = Scene::new(Options { restart_on_failure: false, ..without_jitter() });
    assert_eq!(scene.fails(true), Decision::Open { attempts: 0 });
}

#[test]
fn jitter_spreads_delays_between_base_and_maximum_and_is_deterministic_for_a_seed() {
    let delays = || {
        let mut scene = Scene::new(Options { max_restarts_per_worker: 10, ..Options::default() });
        (0..8)
            .map(|_| match scene.fails(false) {
                Decision::Restart { delay, .. } => delay,
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
    assert!(first[0] != MS_100, "jitter was added");
}

#[test]
fn delays_saturate_after_many_failures() {
    let mut scene = Scene::new(Options { max_restarts_per_worker: u32::MAX, ..without_jitter() });
    for _ in 0..200 {
        let _ = scene.fails(false);
    }
    assert_eq!(
        scene.fails(false),
        Decision::Restart { attempt: 201, delay: Duration::from_secs(5) }
    );
}
