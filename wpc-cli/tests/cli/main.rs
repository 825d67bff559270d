//! Tests of the command `wpc` as a process: its output and its exit codes.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[cfg(unix)]
mod admin_listen;
mod builds;
mod by_manifest;
mod cache;
mod calls;
#[cfg(unix)]
mod cluster_failures;
#[cfg(unix)]
mod clusters;
mod declarations;
#[cfg(unix)]
mod deployments;
mod events;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod guides;
mod inspect;
mod limits;
mod manifests;
mod names;
#[cfg(unix)]
mod nats;
mod process;
mod projects;
#[cfg(unix)]
mod readme;
mod reloads;
mod running;
mod serve_options;
mod servers;
#[cfg(unix)]
mod serving;
#[cfg(unix)]
mod shared_types;
#[cfg(unix)]
mod signals;
mod support;
mod texts;
#[cfg(unix)]
mod tls;
#[cfg(unix)]
mod tokens;
#[cfg(unix)]
mod transcript;
