//! Many calls at once, of one caller.

use crate::guests::{Add, check};
use anyhow::Result;
use std::collections::VecDeque;
use std::time::Instant;
use wpc_host::PendingCall;

/// Makes `calls` calls with so many always outstanding; `answered` is told when each was sent off.
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

/// How many calls a second, with so many always outstanding.
pub(crate) fn rate(add: &Add, outstanding: usize, calls: u32) -> Result<f64> {
    let begun = Instant::now();
    // Nobody looks at the clock in between.
    stream(add, outstanding, calls, |_| {}, || begun)?;
    Ok(f64::from(calls) / begun.elapsed().as_secs_f64())
}

/// How long each call took from being sent off until its caller had the answer, in nanoseconds.
pub(crate) fn latencies(add: &Add, outstanding: usize, calls: u32) -> Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(calls as usize);
    let answered = |at: Instant| latencies.push(at.elapsed().as_secs_f64() * 1e9);
    stream(add, outstanding, calls, answered, Instant::now)?;
    Ok(latencies)
}
