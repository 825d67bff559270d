//! The command as a shell sees it: what it prints, and what it exits with.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod by_manifest;
mod calls;
mod events;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod guides;
mod limits;
mod manifests;
mod names;
mod projects;
#[cfg(unix)]
mod readme;
mod running;
#[cfg(unix)]
mod signals;
mod support;
mod texts;
#[cfg(unix)]
mod transcript;
