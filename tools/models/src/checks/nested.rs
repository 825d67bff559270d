//! Checks of calls between functions: one worker serves callers and what they call, and both end together.

use super::{Pool, in_parallel};
use crate::definition::limits::Limits;
use crate::error::Error;
use crate::options::Options;
use std::time::Duration;

/// A pool with one worker, which has one sandbox of each of these functions for calls from outside.
fn pool(names: &[&str]) -> Pool {
    let pool = Pool::new(1, Options::default());
    for name in names {
        let limits = Limits::default().time_slice(Duration::from_millis(1));
        pool.define_with(name, 1, limits.max_concurrent_calls(1));
    }
    pool
}

/// Callers and the functions that they call use the sandboxes of the same definitions, and all of them return.
pub fn nested_calls() {
    let pool = pool(&["waits", "calls_waits", "calls_calls_waits", "calls_good"]);
    let names = ["calls_waits", "calls_calls_waits", "waits", "calls_good", "calls_waits"];
    let calls = names.map(|name| pool.submit::<()>(name).expect("the call is accepted"));
    for call in calls {
        call.wait().expect("what it called returned");
    }
    pool.stop();
}

/// A cancel of the first call of a chain ends all of them.
pub fn cancel_of_nested_calls() {
    let pool = pool(&["never", "calls_never", "calls_calls_never"]);
    let first = pool.submit::<()>("calls_calls_never").expect("the call is accepted");
    let loops = pool.share();
    in_parallel(vec![
        Box::new(|| drop(first)),
        Box::new(move || loops.call("good").expect("the worker is free")),
    ]);
    // The calls that it made hold no sandbox for long.
    let next = pool.submit::<()>("calls_never").expect("the call is accepted");
    next.cancel();
    assert!(matches!(next.wait(), Err(Error::Cancelled { .. })));
    pool.stop();
}

/// A stop ends a chain that does not end by itself, and lets another one finish if there is time.
pub fn stop_of_nested_calls() {
    let pool = pool(&["never", "calls_never", "waits", "calls_waits"]);
    let never = pool.submit::<()>("calls_never").expect("the call is accepted");
    let waits = pool.submit::<()>("calls_waits").expect("the call is accepted");
    let stops = pool.share();
    in_parallel(vec![
        Box::new(move || stops.0.stop(Duration::from_millis(2))),
        Box::new(move || {
            let ended = never.wait();
            assert!(matches!(ended, Err(Error::Stopped { .. } | Error::NotRunning)), "{ended:?}");
        }),
    ]);
    let ended = waits.wait();
    assert!(matches!(ended, Ok(()) | Err(Error::Stopped { .. } | Error::NotRunning)), "{ended:?}");
    pool.stop();
}
