//! Deploys a manifest, `wpc.toml`, to a pool of [`wpc_host`], and follows its changes.
//!
//! A manifest lists the functions, modules, dependencies and constants of a pool with their limits and grants;
//! `docs/manifest.md` describes it. This crate reads manifests, finds the difference between a running pool and what its
//! manifest lists, and makes all changes in one step, so that no call sees only some of them. The
//! command `wpc` is built on it.
//!
//! ```
//! use std::time::Duration;
//! use wpc_deploy::{Deployment, Reloader, Setup, Source, Watch};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let double = r#"(module (func (export "double") (param i64) (result i64)
//! #     local.get 0 i64.const 2 i64.mul))"#;
//! # std::fs::write(folder.path().join("double.wat"), double)?;
//! # let text = "[pool]\nworkers = 1\n[functions.double]\nfile = \"double.wat\"\nlimits = { timeout = \"1s\" }\n";
//! # let path = folder.path().join("wpc.toml");
//! # std::fs::write(&path, text)?;
//! // [functions.double]
//! // file = "double.wat"
//! // limits = { timeout = "1s" }
//! let source = Source::read(&path)?;
//! let manifest = source.parse()?;
//! let watch = Watch::new(&source, &manifest)?;
//! let deployment = Deployment::open(&source, &manifest, Setup::new())?;
//! let pool = deployment.pool().clone();
//! pool.start_workers(deployment.workers())?;
//! assert_eq!(pool.call::<i64>("double", (21_i64,))?, 42);
//!
//! // From now on, changes to the files are applied.
//! let following = Reloader::new(deployment, &path).follow(watch, |reload| {
//!     for problem in &reload.report.problems {
//!         eprintln!("the previous definition stays active: {problem}");
//!     }
//!     for warning in &reload.warnings {
//!         eprintln!("warning: {warning}");
//!     }
//! })?;
//! // Until the program ends.
//! following.stop(Duration::from_secs(1));
//! # Ok(()) }
//! ```
//!
//! # Changes
//!
//! [`Deployment::apply`] compares items by their content. Unchanged ones are left alone: their sandboxes and circuit breakers
//! stay. New and changed ones are defined, and those that the manifest no longer lists are removed, all in one step of
//! [`WorkerProcedureCall::apply`](wpc_host::WorkerProcedureCall::apply). An item that is refused keeps its previous
//! definition and is reported by name. So does every item that cannot change without it: a
//! dependency and its users change together or not at all.
//!
//! # Errors
//!
//! [`Problem`]s have a position in a file, a stable code and a text that names keys of the manifest. All problems that were
//! found are reported together.
#![forbid(unsafe_code)]

mod constant;
mod constant_entry;
mod deployment;
pub mod document;
mod error;
pub mod file;
mod grant;
mod item;
mod manifest;
mod module_file;
mod owners;
mod policy;
mod problem;
mod reload;
pub mod remedy;
mod secret;
mod watch;

pub use constant::{ConstantTypes, type_of};
pub use constant_entry::{ConstantEntry, with_constant};
pub use deployment::{DeployedFunction, Deployment, Prepared, Report, Setup};
pub use error::Error;
pub use grant::{GrantError, Streams, grant};
pub use item::{Item, Kind};
pub use manifest::{Build, Fake, MANIFEST_NAME, Manifest, Source, Test, json};
pub use module_file::{ModuleError, read_module};
pub use policy::Policy;
pub use problem::{ENVIRONMENT, MANIFEST, NOT_ALLOWED, Problem};
pub use reload::{Apply, Reload, Reloader};
pub use toml::Spanned;
pub use watch::{Following, Watch};
