//! Checks of suspended calls: waking, ending, stopping, redefining and losing their worker in any order.

use super::{Pool, in_parallel};
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::options::Options;
use crate::sandbox::{LIVE, RELEASED};
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

/// Limits with which a function can suspend.
fn suspendable() -> Limits {
    Limits::default().time_slice(Duration::from_millis(1))
}

/// Suspended calls and others all return, whatever the order of their wake-ups.
pub fn suspended_calls() {
    let pool = Pool::new(1, Options::default());
    pool.define_with("waits", 1, suspendable().max_concurrent_calls(2));
    let waiting: Vec<_> =
        (0..3).map(|_| pool.submit::<()>("waits").expect("the call is accepted")).collect();
    pool.call("good").expect("the worker is free while others are suspended");
    for call in waiting {
        call.wait().expect("it was woken");
    }
    pool.stop();
    assert_eq!(LIVE.get(), 0, "every sandbox is dropped");
}

/// A cancel ends a suspended call, and a wake-up at the same time does no harm.
pub fn cancel_of_a_suspended_call() {
    let pool = Pool::new(1, Options::default());
    pool.define_with("never", 1, suspendable());
    pool.define_with("waits", 1, suspendable());
    let never = pool.submit::<()>("never").expect("the call is accepted");
    let waits = pool.submit::<()>("waits").expect("the call is accepted");
    never.cancel();
    waits.cancel();
    assert!(matches!(never.wait(), Err(Error::Cancelled { .. })));
    assert!(matches!(waits.wait(), Ok(()) | Err(Error::Cancelled { .. })));
    pool.stop();
    assert_eq!(LIVE.get(), 0, "every sandbox is dropped");
}

/// A suspended call ends at its time limit although nothing wakes it, and although every other thread is parked.
pub fn limit_of_a_suspended_call() {
    let pool = Pool::new(1, Options::default());
    let limits = suspendable().timeout(Duration::from_millis(1));
    pool.define_with("never", 1, limits);
    let never = pool.submit::<()>("never").expect("the call is accepted");
    assert!(matches!(never.wait(), Err(Error::Timeout { .. })));
    pool.stop();
}

/// A stop ends suspended calls, redefinition leaves them alone, and each is answered once.
pub fn stop_of_suspended_calls() {
    let pool = Pool::new(1, Options::default());
    pool.define_with("never", 1, suspendable());
    pool.define_with("waits", 1, suspendable());
    let never = pool.submit::<()>("never").expect("the call is accepted");
    let waits = pool.submit::<()>("waits").expect("the call is accepted");
    let (stops, redefines) = (pool.share(), pool.share());
    in_parallel(vec![
        Box::new(move || stops.0.stop(Duration::from_millis(2))),
        Box::new(move || {
            redefines.define_with("waits", 2, suspendable());
        }),
    ]);
    assert!(matches!(never.wait(), Err(Error::Stopped { .. })));
    assert!(matches!(waits.wait(), Ok(()) | Err(Error::Stopped { .. })));
    pool.stop();
    assert_eq!(LIVE.get(), 0, "every sandbox is dropped");
}

/// The suspended calls of an unresponsive worker are answered, and its slots are freed once.
pub fn unresponsive_worker_with_suspended_calls() {
    let options = Options::default().unresponsive_worker_grace(Duration::from_millis(3));
    let pool = Pool::new(1, options);
    pool.define_with("never", 1, suspendable());
    pool.define_with("waits", 1, suspendable());
    pool.define_hasty("stuck");
    let failed = Arc::clone(&pool.0.pool.workers.load()[0]);
    let never = pool.submit::<()>("never").expect("the call is accepted");
    let waits = pool.submit::<()>("waits").expect("the call is accepted");
    let stuck = pool.submit::<()>("stuck").expect("the call is accepted");
    let began = match stuck.wait() {
        Err(Error::Timeout { ran, .. }) => ran,
        Err(Error::WorkerLost { .. }) => true,
        other => panic!("{other:?}"),
    };
    assert!(matches!(waits.wait(), Ok(()) | Err(Error::WorkerLost { .. })));
    never.cancel();
    assert!(matches!(never.wait(), Err(Error::Cancelled { .. } | Error::WorkerLost { .. })));
    pool.call("good").expect("the worker is replaced");
    RELEASED.set(true);
    while began && !failed.has_exited() {
        thread::yield_now();
    }
    pool.stop();
    assert_eq!(failed.in_flight(), 0, "its slots were freed once");
}
