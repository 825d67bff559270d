//! The contract between the wpc host and its WebAssembly guests.
//!
//! Both sides depend on this crate, so neither can drift from the other; `docs/abi.md` tells the
//! same contract in prose, for guests written in other languages. The crate knows nothing of
//! Wasmtime, of threads or of the SDK's macros.
//!
//! * [`names`]: the exports and imports that the contract reserves, and the rule for names.
//! * [`reply`]: what a worker function hands back.
//! * [`section`]: what a module tells about itself without being run.
//! * [`schema`]: the types of arguments and results, as bytes.
//! * [`compare`]: whether two types agree, and where they first differ.
//! * [`text`]: the same types as text.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod compare;
pub mod names;
pub mod reply;
pub mod schema;
pub mod section;
pub mod text;

pub use reply::GuestError;

/// The version of the contract told by this crate.
///
/// A guest tells its own in the name of its buffer export, see [`names::BUFFER_EXPORT`].
pub const VERSION: u32 = 1;
