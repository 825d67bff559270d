//! The host's behaviour, a module a topic. Guests are WAT beside the test, or those of `fixtures`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod support;

mod acceptance;
mod calls;
mod contract;
mod defects;
mod definitions;
mod dependencies;
mod errors;
mod events;
mod hostile;
mod lifecycle;
mod scheduling;
mod supervision;
