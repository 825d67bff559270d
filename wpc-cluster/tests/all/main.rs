//! A cluster as its users see it, over NATS servers that the tests start.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod connection;
mod support;
