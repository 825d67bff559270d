//! The contract between the wpc host and its WebAssembly guests.
//!
//! Host and SDK both depend on this crate, so that they cannot disagree. `docs/abi.md` describes the same contract for
//! guests written in other languages. The crate does not depend on Wasmtime, threads or the SDK's macros.
//!
//! A crate of types that host and guests share depends on this crate only: its derive of [`Schema`] is the same as
//! `wpc::Schema` of guests and `wpc_host::Schema` of hosts.
//!
//! * [`describe`]: the trait `Schema`.
//! * [`names`]: the exports and imports that the contract reserves, and the rule for names.
//! * [`reply`]: the encoding of a function's reply.
//! * [`section`]: what a module declares in its custom section.
//! * [`documentation`]: what a module documents, in another custom section.
//! * [`schema`]: types as bytes.
//! * [`compare`]: whether two types agree, and where they first differ.
//! * [`text`]: types as text.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
// The expansion of the derive refers to this crate by name.
#[cfg(test)]
extern crate self as wpc_abi;
#[cfg(feature = "std")]
extern crate std;

pub mod compare;
pub mod describe;
pub mod documentation;
pub mod names;
pub mod reply;
pub mod schema;
pub mod section;
pub mod text;

#[doc(inline)]
pub use describe::Schema;
pub use reply::GuestError;
/// Derives [`Schema`](trait@Schema).
///
/// The derive accepts structs and enums, including generic ones. A recursive type, such as a tree, cannot have a schema
/// because the schema would be infinite; everything but signatures, typed handles and JSON works without one.
///
/// | attribute | the derive |
/// |---|---|
/// | `#[serde(rename, rename_all, rename_all_fields)]`, the same in both directions | uses those names |
/// | `#[serde(transparent)]` | describes the only field that is not skipped |
/// | `#[serde(default)]` on an `Option` | accepts it: JSON may omit an `Option` anyway |
/// | `#[serde(default)]` on a field that is a number, `bool`, `char`, `String` or a collection | records it: JSON may omit the field |
/// | `#[serde(borrow, bound, crate, deny_unknown_fields, expecting)]` | accepts them: they do not affect the schema |
/// | `#[schema(as = T)]` on a field or a type | uses the schema of `T`, which must have the same encoding; allows `with` on a field, and every attribute on a type |
/// | all other attributes of serde, such as `flatten`, `skip`, `tag`, `untagged`, `with`, `from`, `alias` | rejects them at compile time |
///
/// Doc comments of the type, its fields and its variants become its [documentation].
///
/// Raw identifiers lose their `r#`. `usize` and `isize` are described as `u32` and `i32`, their width in a guest.
///
/// A crate of types that host and plug-in share depends on this crate and serde:
///
/// ```toml
/// [dependencies]
/// serde = { version = "1", features = ["derive"] }
/// wpc-abi = "0.1"
/// ```
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use std::time::SystemTime;
/// use wpc_abi::Schema;
///
/// #[derive(Serialize, Deserialize, Schema)]
/// pub struct CommentId(pub [u8; 16]);
///
/// #[derive(Serialize, Deserialize, Schema)]
/// pub struct Comment {
///     pub id: CommentId,
///     pub text: String,
///     pub written: SystemTime,
///     #[serde(default)]
///     pub tags: Vec<String>,
/// }
/// # #[cfg(feature = "std")]
/// assert_eq!(Comment::SCHEMA.name, "Comment");
/// ```
pub use wpc_schema_macros::Schema;

/// Used by the expansion of the derive; not part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::describe::DEFAULTED;
    pub use crate::documentation::Comments;
    pub use postcard_schema::schema;
}

/// The version of the contract that this crate implements.
///
/// A guest declares its version in the name of its buffer export, see [`names::BUFFER_EXPORT`].
pub const VERSION: u32 = 1;
