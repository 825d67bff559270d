//! A server as its clients see it, over real connections.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod audit;
mod calls;
mod connections;
mod deployed;
mod events;
mod functions;
mod guests;
mod harness;
mod health;
mod hosts;
mod idempotency;
mod live;
mod metrics;
mod modules;
mod openapi;
mod persistence;
mod planes;
mod problems;
mod quotas;
mod raw;
mod refusals;
mod requests;
mod revisions;
mod rollback;
mod rpc;
mod streams;
mod tls;
mod tokens;
mod traces;
mod websocket;
