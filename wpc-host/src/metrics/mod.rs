//! Counts calls: the counters of each function, and their sums for the pool.
//!
//! # Protocol
//!
//! A [`FunctionMeter`] belongs to a function, across its definitions. Each thread that runs calls joins it once for each
//! definition and gets [`Counters`] of its own there, which it alone writes, without atomic read-modify-write instructions
//! and without sharing a cache line. It keeps them beside the definition's sandbox. Reading a meter sums the counters of all
//! threads. When a thread has ended or dropped the definition, the next one that joins continues its counters; so a meter has
//! no more of them than were in use at once.
//!
//! If a thread other than the worker decides a call's outcome, that thread counts it in the meter itself. Such calls are rare
//! or were refused.
//!
//! The [`PoolMeter`] lists the functions' meters. A meter that only this list holds belongs to a function that is not defined
//! any more, and has no call left: its counts are moved to the sums of such functions.
//!
//! The counters are not part of any protocol between threads, so the model checks do not include their steps.

mod counters;
mod function;
mod gauge;
mod pool;

pub(crate) use counters::Counters;
pub(crate) use function::FunctionMeter;
pub(crate) use gauge::{SandboxGauge, Share};
pub(crate) use pool::PoolMeter;

use crate::information::{CallCounts, Latencies};

/// The sums of meters.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sums {
    pub(crate) calls: CallCounts,
    pub(crate) fuel_used: u64,
    pub(crate) latencies: Latencies,
    pub(crate) sandbox_failures: u64,
}

#[cfg(test)]
mod tests;
