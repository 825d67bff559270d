//! Somebody who answers calls, and what it is asked to do. It knows nobody in particular.

use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// What each call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// The sum of two numbers.
    Add,
    /// So many bytes, there and back.
    Echo(usize),
    /// A sum, in a sandbox that is made for this call.
    Fresh,
    /// A sum, right after a trap that is not timed.
    AfterTrap,
}

/// So many calls, of which so many are unanswered at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) work: Work,
    pub(crate) outstanding: usize,
    pub(crate) calls: u32,
}

impl Load {
    /// Each call's first number, so that no two neighbours have the same answer.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = i32> + use<> {
        (0..).take(self.calls as usize)
    }
}

pub(crate) trait Contestant {
    /// Its name in every figure.
    fn series(&self) -> &'static str;

    /// Answers the calls, checks every answer, and says how long it took.
    fn run(&mut self, load: Load) -> Result<Duration>;
}

/// The most calls that are ever outstanding: whoever brings channels has room for so many.
pub(crate) const MOST_OUTSTANDING: usize = 1_000;

/// What is added to each call's number.
pub(crate) const ADDED: i32 = 2;

pub(crate) fn check_sum(number: i32, sum: i32) -> Result<()> {
    ensure!(sum == number.wrapping_add(ADDED), "{number} and {ADDED} are {sum}");
    Ok(())
}

pub(crate) fn check_echo(sent: &[u8], back: &[u8]) -> Result<()> {
    ensure!(sent == back, "other bytes came back");
    Ok(())
}

/// Bytes to be echoed, no two neighbours alike.
pub(crate) fn payload(len: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(len).collect()
}

/// The cheapest way to hand two numbers to those who pass only bytes.
pub(crate) fn as_bytes(number: i32) -> [u8; 8] {
    let [a, b, c, d] = number.to_le_bytes();
    let [e, f, g, h] = ADDED.to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The sum as those give it back.
pub(crate) fn check_sum_bytes(number: i32, sum: &[u8]) -> Result<()> {
    check_sum(number, i32::from_le_bytes(sum.try_into()?))
}

pub(crate) fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}
