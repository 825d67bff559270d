//! A server as its clients see it, over real connections.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod calls;
mod connections;
mod deployed;
mod functions;
mod harness;
mod health;
mod hosts;
mod live;
mod metrics;
mod modules;
mod openapi;
mod persistence;
mod raw;
mod revisions;
mod rollback;
