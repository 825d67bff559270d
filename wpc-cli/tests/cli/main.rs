//! The command as a shell sees it: what it prints, and what it exits with.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod calls;
mod manifests;
mod projects;
#[cfg(unix)]
mod readme;
mod support;
