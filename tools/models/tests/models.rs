//! The checks, each under many orders of steps. A failure prints its schedule, which
//! `shuttle::replay` follows again.

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};
use wpc_models::checks;

/// As many orders as `WPC_MODEL_RUNS` says, or as a short while allows.
fn check(model: fn(), usual: usize) {
    let runs = std::env::var("WPC_MODEL_RUNS").ok().and_then(|runs| runs.parse().ok());
    let runs = runs.unwrap_or(usual);
    run(RandomScheduler::new(runs), model);
    // Finds what needs a few ill-timed steps in a long row of ordinary ones.
    run(PctScheduler::new(3, runs), model);
}

fn run(scheduler: impl Scheduler + 'static, model: fn()) {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.silence_warnings = true;
    config.failure_persistence = FailurePersistence::Print;
    Runner::new(scheduler, config).run(model);
}

macro_rules! checks {
    ($($name:ident $runs:literal),+ $(,)?) => {
        $(#[test] fn $name() { check(checks::$name, $runs); })+
    };
}

checks! {
    queue 3000,
    queue_of_a_worker_given_up 3000,
    call 3000,
    pool 100,
    pool_that_stops 100,
    pool_that_stops_while_a_guest_loops 100,
    local_worker_and_a_stop 300,
    cancel 100,
    redefinition 100,
    background 1000,
    withdrawn_definition 100,
    constants 100,
    writers 100,
    failures 100,
    waiting_for_room 100,
    ticker 3000,
    supervisor_that_sleeps 300,
    buffers_of_an_idle_pool 100,
    lost_worker 30,
    stop_that_abandons_a_worker 300,
    host_that_panics 100,
}
