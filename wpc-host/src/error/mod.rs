//! Every way in which a definition, a call or a pool can fail.
//!
//! The parts of an error stand in one table each: `code` has the stable codes, `text` the texts, `remedies` the remedies,
//! `protocol` the codes for HTTP and JSON-RPC.

mod code;
mod constructors;
mod os_resource;
mod payload_type;
mod protocol;
mod refusal;
mod remedies;
mod remedy;
mod text;
mod variants;

pub use code::{ErrorCode, ErrorGroup, ErrorKind, UnknownErrorCode};
pub use os_resource::OsResource;
pub use payload_type::PayloadType;
pub use refusal::Refusal;
pub use remedy::{Definable, Grant, Remedy, Setting};
pub use variants::Error;

#[cfg(test)]
pub(crate) mod tests;
