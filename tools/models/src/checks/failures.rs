//! Checks of failing functions and failing workers.

use super::{Pool, in_parallel};
use crate::error::Error;
use crate::options::{CallOptions, Options};
use crate::sandbox::RELEASED;
use crate::sync::atomic::{AtomicU32, Ordering};
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

/// A function that fails repeatedly is retried until its circuit breaker opens, without affecting other functions.
pub fn failures() {
    let options = Options::default().max_restarts_per_worker(1);
    let pool = Pool::new(2, options);
    pool.define("fails", 1);
    let (fails, good) = (pool.share(), pool.share());
    in_parallel(vec![
        Box::new(move || {
            for _ in 0..5 {
                match fails.call("fails") {
                    Err(Error::Trap { .. } | Error::CircuitOpen { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
        }),
        Box::new(move || {
            for _ in 0..3 {
                good.call("good").expect("`good` succeeds");
            }
        }),
    ]);
    pool.stop();
}

/// An unresponsive worker is abandoned after its call's time limit and the grace period. Its caller is answered before
/// that, its queued calls are redispatched, and the worker is replaced.
pub fn unresponsive_worker() {
    let options = Options::default().unresponsive_worker_grace(Duration::from_millis(6));
    let pool = Pool::new(1, options);
    pool.define_hasty("stuck");
    let failed = Arc::clone(&pool.0.pool.workers.load()[0]);
    let stuck = pool.submit::<()>("stuck").expect("the call is accepted");
    let behind = pool.submit::<()>("good").expect("the call is accepted");
    let began = match stuck.wait() {
        Err(Error::Timeout { ran, .. }) => ran,
        Err(Error::WorkerLost { .. }) => true,
        other => panic!("{other:?}"),
    };
    behind.wait().expect("the call is redispatched");
    pool.call("good").expect("the worker is replaced");
    RELEASED.set(true);
    while began && !failed.has_exited() {
        thread::yield_now();
    }
    assert_eq!(failed.in_flight(), 0, "its slots were freed once");
    pool.stop();
}

/// A stop that abandons a worker answers the call that runs there, even while the supervisor examines that call.
pub fn stop_that_abandons_a_worker() {
    let options = Options::default().unresponsive_worker_grace(Duration::from_millis(3));
    let pool = Pool::new(1, options);
    pool.define("stuck", 1);
    let abandoned = Arc::clone(&pool.0.pool.workers.load()[0]);
    let stuck = pool.submit::<()>("stuck").expect("the call is accepted");
    pool.0.stop(Duration::from_millis(1));
    assert!(matches!(stuck.wait(), Err(Error::Stopped { .. })));
    RELEASED.set(true);
    while !abandoned.has_exited() {
        thread::yield_now();
    }
    assert_eq!(abandoned.in_flight(), 0, "its slot was freed once");
    pool.stop();
}

/// A call during which the host panics is answered once, even if the supervisor examines or takes over the call at that
/// moment. Its worker is replaced.
pub fn panic_of_the_host() {
    let options = Options::default().unresponsive_worker_grace(Duration::from_millis(2));
    let pool = Pool::new(1, options);
    pool.define_hasty("panics");
    let failed = Arc::clone(&pool.0.pool.workers.load()[0]);
    let call = pool.submit::<()>("panics").expect("the call is accepted");
    let behind = pool.submit::<()>("good").expect("the call is accepted");
    let began = match call.wait() {
        Err(Error::Timeout { ran, .. }) => ran,
        Err(Error::WorkerLost { .. }) => true,
        other => panic!("{other:?}"),
    };
    behind.wait().expect("the call is redispatched");
    pool.call("good").expect("the worker is replaced");
    while began && !failed.has_exited() {
        thread::yield_now();
    }
    assert_eq!(failed.in_flight(), 0, "its slots were freed once");
    pool.stop();
}

/// Calls `panics`, whose panic ends its worker; returns whether the call ran. A short time limit may pass before.
fn fail_a_worker(pool: &Pool) -> bool {
    match pool.call("panics") {
        Err(Error::WorkerLost { .. }) => true,
        Err(Error::Timeout { ran, .. }) => ran,
        Err(Error::CircuitOpen { .. }) => false,
        other => panic!("{other:?}"),
    }
}

/// Waits until as many workers were replaced as have failed, and checks that every slot then has a worker.
fn wait_for_replacements(pool: &Pool, failed: u32) {
    let slots = || pool.0.pool.workers.load().health();
    while slots().iter().map(|slot| slot.restarts).sum::<u32>() < failed {
        thread::yield_now();
    }
    assert_eq!(slots().iter().map(|slot| slot.restarts).sum::<u32>(), failed);
    assert_eq!(pool.0.pool.workers.load().len(), slots().len(), "every slot is up");
    wait_for_abandoned_threads(pool);
}

/// Waits until every abandoned thread has ended, which drops its sandboxes.
fn wait_for_abandoned_threads(pool: &Pool) {
    while pool.0.pool.abandoned() > 0 {
        thread::yield_now();
    }
}

/// Workers fail while others are replaced: every slot is listed once at any time, and each gets a worker again.
pub fn workers_that_fail_while_others_are_replaced() {
    let options = Options::default().unresponsive_worker_grace(Duration::from_millis(2));
    let pool = Pool::new(2, options);
    pool.define_hasty("panics");
    let failed = Arc::new(AtomicU32::new(0));
    let fails = || -> Box<dyn FnOnce() + Send> {
        let (pool, failed) = (pool.share(), Arc::clone(&failed));
        Box::new(move || {
            failed.fetch_add(u32::from(fail_a_worker(&pool)), Ordering::SeqCst);
        })
    };
    let watched = pool.share();
    in_parallel(vec![
        fails(),
        fails(),
        Box::new(move || {
            for _ in 0..20 {
                let health = watched.0.pool.workers.load().health();
                let mut slots: Vec<_> = health.iter().map(|slot| slot.slot).collect();
                slots.sort_unstable();
                assert_eq!(slots, [0, 1]);
                thread::yield_now();
            }
        }),
    ]);
    pool.call("good").expect("a worker is up, or will be");
    wait_for_replacements(&pool, failed.load(Ordering::SeqCst));
    pool.stop();
}

/// During a stop, a worker becomes unresponsive and is replaced: the accepted calls finish, and no worker remains.
pub fn stop_while_a_worker_is_replaced() {
    let options = Options::default().unresponsive_worker_grace(Duration::from_millis(2));
    let pool = Pool::new(1, options);
    pool.define_hasty("panics");
    let panics = pool.submit::<()>("panics").expect("the call is accepted");
    let behind = pool.submit::<()>("good").expect("the call is accepted");
    let stopped = pool.share();
    in_parallel(vec![
        Box::new(move || {
            let error = panics.wait().expect_err("`panics` does not return");
            assert!(matches!(error, Error::Timeout { .. } | Error::WorkerLost { .. }), "{error}");
        }),
        Box::new(move || behind.wait().expect("the call is redispatched")),
        // Longer than the simulated clock advances in any schedule.
        Box::new(move || stopped.0.stop(Duration::from_secs(365 * 86_400))),
    ]);
    assert!(pool.0.pool.workers.load().health().is_empty(), "no slot is left");
    wait_for_abandoned_threads(&pool);
    pool.stop();
}

/// A replacement fails, too: it is replaced in the same slot.
pub fn replacement_that_fails() {
    let options = Options::default().unresponsive_worker_grace(Duration::from_millis(2));
    let pool = Pool::new(1, options);
    pool.define_hasty("panics");
    let mut failed = 0;
    while failed < 2 {
        failed += u32::from(fail_a_worker(&pool));
        pool.call("good").expect("the worker is replaced");
    }
    wait_for_replacements(&pool, 2);
    let health = pool.0.pool.workers.load().health();
    assert_eq!((health.len(), health[0].slot), (1, 0));
    pool.stop();
}
