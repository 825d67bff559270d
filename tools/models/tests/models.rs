//! Runs each check under many schedules. A failure prints its schedule, which `shuttle::replay` runs again.

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};
use wpc_models::checks;

/// Runs a check under `WPC_MODEL_RUNS` schedules, or under `usual` ones if that is not set.
fn check(model: fn(), usual: usize) {
    let runs = std::env::var("WPC_MODEL_RUNS").ok().and_then(|runs| runs.parse().ok());
    let runs = runs.unwrap_or(usual);
    run(RandomScheduler::new(runs), model);
    // Finds bugs that need a few ill-timed steps within a long ordinary schedule.
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
    queue_of_an_abandoned_worker 3000,
    call 3000,
    pool 100,
    free_slot 200,
    slots_of_a_moved_job 100,
    stop_during_calls 100,
    stop_while_a_guest_loops 100,
    stop_during_a_local_call 300,
    cancel 100,
    redefinition 100,
    background 1000,
    withdrawn_definition 100,
    constants 100,
    writers 100,
    together 100,
    failures 100,
    waiting_for_capacity 100,
    epoch_ticker 3000,
    parked_supervisor 300,
    buffers_of_an_idle_pool 100,
    unresponsive_worker 30,
    stop_that_abandons_a_worker 300,
    panic_of_the_host 100,
    workers_that_fail_while_others_are_replaced 50,
    stop_while_a_worker_is_replaced 100,
    replacement_that_fails 50,
    suspended_calls 200,
    cancel_of_a_suspended_call 200,
    limit_of_a_suspended_call 200,
    stop_of_suspended_calls 200,
    unresponsive_worker_with_suspended_calls 100,
    items_of_a_stream 200,
    dropped_stream 200,
    stop_of_a_stream 200,
    nested_calls 200,
    cancel_of_nested_calls 200,
    stop_of_nested_calls 200,
}
