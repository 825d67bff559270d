//! Every way in which a definition, a call or a pool can fail.
//!
//! [`Error`] has a variant for each failure, with the data of that failure. [`ErrorCode`] has a table of all of them. An
//! error has these parts:
//!
//! | part | read by | purpose |
//! |---|---|---|
//! | text | [`Display`](std::fmt::Display) | states what failed; may be shown to users |
//! | code | [`Error::code`] | a stable name for programs, logs and metrics |
//! | group | [`ErrorCode::group`] | which operation failed |
//! | kind | [`Error::kind`] | who can act on it |
//! | remedy | [`Error::remedy`] | what to do, as data; each interface words it in its own terms |
//! | retry | [`Error::retry_can_help`] | whether the same call may succeed later |
//! | outcome | [`Error::outcome_unknown`] | whether the function may have run without its result being known |
//! | source | [`source`](std::error::Error::source) | the error that caused it, see [below](#sources) |
//! | guest error | [`Error::guest_payload`] | the error that the function returned, as a value of its type |
//! | HTTP status, JSON-RPC code | [`ErrorCode::http_status`], [`ErrorCode::json_rpc_code`] | codes for clients of a server |
//!
//! Variants and fields can be added, so match a variant with `..` and the enum with a wildcard:
//!
//! ```
//! use wpc_host::{Error, Options, WorkerProcedureCall};
//!
//! # fn main() -> Result<(), Error> {
//! let wpc = WorkerProcedureCall::new(Options::default())?;
//! wpc.start_workers(1)?;
//! match wpc.call::<u32>("resize", ()) {
//!     Ok(width) => println!("{width}"),
//!     Err(Error::Timeout { function, .. }) => println!("{function} takes too long"),
//!     Err(error) => println!("{}: {error}", error.code()),
//! }
//! # Ok(()) }
//! ```
//!
//! # Sources
//!
//! The text of an error contains its cause, so that it is complete where only one text is shown: in an event, in a log or
//! in JSON. [`source`](std::error::Error::source) returns the cause if it is an error itself:
//!
//! | error | source |
//! |---|---|
//! | [`Error::CircuitOpen`] | the function's last failure |
//! | [`Error::Timeout`] of a call that waited for a restart | the failure after which the sandbox was restarting |
//! | [`Error::ChangesRefused`] | the error of the first refused change |
//! | [`Error::Guest`] | the [`GuestError`](crate::GuestError) that the function returned |
//!
//! Show an error by its text. A report that also appends the texts of all sources, such as `{:#}` of the crate `anyhow`,
//! shows the cause twice. Reasons that a compiler, a decoder or a trap reports are texts and not sources.

// Each part has one table: `code` of codes, groups and kinds, `text` of texts, `source` of sources, `remedies` of remedies,
// `protocol` of codes for HTTP and JSON-RPC. `variants` are the errors themselves.

mod call_queue;
mod code;
mod constructors;
mod os_resource;
mod payload_type;
mod protocol;
mod refusal;
mod remedies;
mod remedy;
mod report;
mod source;
mod text;
pub(crate) use text::counted;
mod type_record;
mod variants;

pub use call_queue::CallQueue;
pub use code::{CallOutcome, ErrorCode, ErrorGroup, ErrorKind, UnknownErrorCode};
pub use os_resource::OsResource;
pub use payload_type::PayloadType;
pub use refusal::Refusal;
pub use remedy::{Definable, Grant, Remedy, Setting};
pub use report::{ErrorReport, GuestReport};
pub use variants::Error;

#[cfg(test)]
pub(crate) mod tests;
