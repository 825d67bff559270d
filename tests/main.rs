//! Integration tests of the host: one module for each topic. Guests are WAT in the test, or built from `fixtures`.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests create threads and channels to observe the host"
)]

mod support;

mod asynchronous;
mod calls;
mod capacity;
mod changes;
mod checked_calls;
mod compile_cache;
mod constants;
mod context;
mod contract;
mod definitions;
mod dependencies;
mod documentation;
mod documents;
mod events;
mod evolution;
mod exceptions;
mod exports;
mod foreign_code;
mod guest_errors;
mod host_functions;
mod hostile;
mod information;
mod initialisation;
mod inspection;
mod instantiation;
mod json;
mod languages;
mod lifecycle;
mod local;
mod metering;
mod metrics;
mod micropython;
mod nested_calls;
mod node_library;
mod payloads;
mod plugins;
mod proposals;
mod rejections;
mod runtimes;
mod sandboxes;
mod scheduling;
mod streams;
mod supervision;
mod suspension;
mod types;
mod wasi;
