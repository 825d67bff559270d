//! Checks of failing functions and failing workers.

use super::{Pool, in_parallel};
use crate::error::Error;
use crate::options::{CallOptions, Options};
use crate::sandbox::RELEASED;
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
                    Err(Error::Trap { .. } | Error::Held { .. }) => {}
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
    let options = Options::default().lost_worker_grace(Duration::from_millis(6));
    let pool = Pool::new(1, options);
    pool.define_hasty("stuck");
    let lost = Arc::clone(&pool.0.pool.workers.load()[0]);
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
    while began && !lost.has_exited() {
        thread::yield_now();
    }
    assert_eq!(lost.in_flight(), 0, "its slots were freed once");
    pool.stop();
}

/// A stop that abandons a worker answers the call that runs there, even while the supervisor examines that call.
pub fn stop_that_abandons_a_worker() {
    let options = Options::default().lost_worker_grace(Duration::from_millis(3));
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
    let options = Options::default().lost_worker_grace(Duration::from_millis(2));
    let pool = Pool::new(1, options);
    pool.define_hasty("panics");
    let lost = Arc::clone(&pool.0.pool.workers.load()[0]);
    let call = pool.submit::<()>("panics").expect("the call is accepted");
    let behind = pool.submit::<()>("good").expect("the call is accepted");
    let began = match call.wait() {
        Err(Error::Timeout { ran, .. }) => ran,
        Err(Error::WorkerLost { .. }) => true,
        other => panic!("{other:?}"),
    };
    behind.wait().expect("the call is redispatched");
    pool.call("good").expect("the worker is replaced");
    while began && !lost.has_exited() {
        thread::yield_now();
    }
    assert_eq!(lost.in_flight(), 0, "its slots were freed once");
    pool.stop();
}
