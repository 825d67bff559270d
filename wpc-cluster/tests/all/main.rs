//! A cluster as its users see it, over NATS servers that the tests start.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod attacks;
mod calls;
mod check;
mod connection;
mod development;
mod identity;
mod messages;
mod security;
mod support;
