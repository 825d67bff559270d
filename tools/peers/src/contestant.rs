//! The interface of a measured library, and its load.

use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// What each call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// The sum of two numbers.
    Add,
    /// This many bytes in each direction.
    Echo(usize),
    /// A sum, in a new sandbox for each call.
    Fresh,
    /// A sum, directly after a trap that is not timed.
    AfterTrap,
}

/// A number of calls, of which at most `outstanding` are unanswered at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) work: Work,
    pub(crate) outstanding: usize,
    pub(crate) calls: u32,
}

impl Load {
    /// The first number of each call. Consecutive calls have different answers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = i32> + use<> {
        (0..).take(self.calls as usize)
    }
}

pub(crate) trait Contestant {
    /// The name in figures.
    fn series(&self) -> &'static str;

    /// Makes the calls, checks every answer, and returns the duration.
    fn run(&mut self, load: Load) -> Result<Duration>;
}

/// The maximum number of outstanding calls, which is the capacity of channels.
pub(crate) const MOST_OUTSTANDING: usize = 1_000;

/// The second number of each call.
pub(crate) const ADDED: i32 = 2;

pub(crate) fn check_sum(number: i32, sum: i32) -> Result<()> {
    ensure!(sum == number.wrapping_add(ADDED), "{number} + {ADDED} returned {sum}");
    Ok(())
}

pub(crate) fn check_echo(sent: &[u8], back: &[u8]) -> Result<()> {
    ensure!(sent == back, "the returned bytes differ");
    Ok(())
}

/// A payload in which neighbouring bytes differ.
pub(crate) fn payload(len: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(len).collect()
}

/// The two numbers as bytes, for libraries that pass only bytes. This is their cheapest encoding.
pub(crate) fn as_bytes(number: i32) -> [u8; 8] {
    let [a, b, c, d] = number.to_le_bytes();
    let [e, f, g, h] = ADDED.to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

/// Checks a sum that is returned as bytes.
pub(crate) fn check_sum_bytes(number: i32, sum: &[u8]) -> Result<()> {
    check_sum(number, i32::from_le_bytes(sum.try_into()?))
}

pub(crate) fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}
