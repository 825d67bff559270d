//! Many concurrent calls of one caller.

use crate::guests::{Add, check};
use anyhow::{Result, ensure};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use wpc_host::{Function, PendingCall};

/// Makes `calls` calls with a constant number outstanding. `answered` receives the time at which each was submitted.
fn stream(
    add: &Add,
    outstanding: usize,
    calls: u32,
    mut answered: impl FnMut(Instant),
    sent: impl Fn() -> Instant,
) -> Result<()> {
    let mut waiting: VecDeque<(Instant, PendingCall<i32>)> = VecDeque::with_capacity(outstanding);
    for _ in 0..calls {
        if waiting.len() == outstanding
            && let Some((at, call)) = waiting.pop_front()
        {
            check(call.wait()?)?;
            answered(at);
        }
        let at = sent();
        waiting.push_back((at, add.submit((40, 2))?));
    }
    for (at, call) in waiting {
        check(call.wait()?)?;
        answered(at);
    }
    Ok(())
}

/// Calls per second with a constant number outstanding.
pub(crate) fn rate(add: &Add, outstanding: usize, calls: u32) -> Result<f64> {
    let begun = Instant::now();
    // The clock is not read between the calls.
    stream(add, outstanding, calls, |_| {}, || begun)?;
    Ok(f64::from(calls) / begun.elapsed().as_secs_f64())
}

/// The time of each call from its submission until the caller had the answer, in nanoseconds.
pub(crate) fn latencies(add: &Add, outstanding: usize, calls: u32) -> Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(calls as usize);
    let answered = |at: Instant| latencies.push(at.elapsed().as_secs_f64() * 1e9);
    stream(add, outstanding, calls, answered, Instant::now)?;
    Ok(latencies)
}

/// A function that returns its bytes.
pub(crate) type Echo = Function<(Vec<u8>,), Vec<u8>>;

/// How the caller receives the results.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Results {
    /// Each in a new `Vec`.
    New,
    /// All in the same `Vec`.
    Into,
}

/// The mean duration of a call in a burst of `calls` calls, of which at most `outstanding` are unanswered. The pool is
/// idle before and after.
pub(crate) fn burst(
    echo: &Echo,
    bytes: &[u8],
    (outstanding, calls): (usize, u32),
    results: Results,
) -> Result<Duration> {
    let mut back = Vec::new();
    let mut read = |call: PendingCall<Vec<u8>>| -> Result<()> {
        match results {
            Results::New => back = call.wait()?,
            Results::Into => drop(call.wait_into(&mut back)?),
        }
        ensure!(back == bytes, "the returned bytes differ");
        Ok(())
    };
    let begun = Instant::now();
    let mut waiting = VecDeque::with_capacity(outstanding);
    for _ in 0..calls {
        if waiting.len() == outstanding
            && let Some(call) = waiting.pop_front()
        {
            read(call)?;
        }
        waiting.push_back(echo.submit((bytes,))?);
    }
    waiting.into_iter().try_for_each(read)?;
    Ok(begun.elapsed() / calls)
}
