//! The host's behaviour, a module a topic. Guests are WAT beside the test, or those of `fixtures`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests make threads and channels to watch the host from outside"
)]

mod support;
mod wasi;

mod acceptance;
mod asynchronous;
mod calls;
mod capacity;
mod checked_calls;
mod compile_cache;
mod contract;
mod defects;
mod definitions;
mod dependencies;
mod documents;
mod errors;
mod events;
mod evolution;
mod exceptions;
mod exports;
mod foreign_code;
mod guest_errors;
mod host_functions;
mod hostile;
mod inspection;
mod json;
mod languages;
mod lifecycle;
mod local;
mod metering;
mod payloads;
mod plugins;
mod proposals;
mod scheduling;
mod supervision;
mod types;
