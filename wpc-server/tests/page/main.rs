//! The live page in headless Chromium, driven by ChromeDriver.
//!
//! Without these programs the tests do nothing, unless `WPC_EVERY_BROWSER` is set: then they fail. With `WPC_SCREENSHOTS`, the
//! name of a folder, `screenshots` writes the images of `docs/page`.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test needs a few threads")]

mod browser;
#[path = "../all/clustered.rs"]
mod clustered;
mod deployed;
mod failures;
mod form;
#[path = "../all/guests.rs"]
mod guests;
mod nodes;
mod screenshots;
mod served;
mod tokens;
mod view;
