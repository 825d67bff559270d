//! Decisions of callers and nodes, without clocks, sockets, threads and randomness of their own, so that tests can replay them.

pub(crate) mod admission;
pub(crate) mod attempts;
pub(crate) mod members;
pub(crate) mod staging;
