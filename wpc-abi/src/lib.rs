//! The contract between the wpc host and its WebAssembly guests.
//!
//! Both sides depend on this crate, so neither can drift from the other; `docs/abi.md` tells the
//! same contract in prose, for guests written in other languages. The crate knows nothing of
//! Wasmtime, of threads or of the SDK's macros.
//!
//! It is also what a crate of types depends on that host and guests share: the derive of [`Schema`] here is the same as
//! `wpc::Schema` of guests and `wpc_host::Schema` of hosts, and brings in neither.
//!
//! * [`describe`]: the trait `Schema`.
//! * [`names`]: the exports and imports that the contract reserves, and the rule for names.
//! * [`reply`]: what a worker function hands back.
//! * [`section`]: what a module tells about itself without being run.
//! * [`schema`]: the types of arguments and results, as bytes.
//! * [`compare`]: whether two types agree, and where they first differ.
//! * [`text`]: the same types as text.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
// The derive's expansion names this crate.
#[cfg(test)]
extern crate self as wpc_abi;
#[cfg(feature = "std")]
extern crate std;

pub mod compare;
pub mod describe;
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
/// The derive takes structs and enums, also generic ones. A type that holds itself, such as a tree, has no schema,
/// which would have no end; everything but signatures, typed handles and JSON works without.
///
/// | attribute | the derive |
/// |---|---|
/// | `#[serde(rename, rename_all, rename_all_fields)]`, the same in both directions | uses those names |
/// | `#[serde(transparent)]` | describes the only field that is not skipped |
/// | `#[serde(default)]` on an `Option` | nothing to do: JSON may omit an `Option` |
/// | `#[serde(default)]` on a field that is a number, `bool`, `char`, `String` or a collection | records it: JSON may omit the field |
/// | `#[serde(borrow, bound, crate, deny_unknown_fields, expecting)]` | nothing to do |
/// | `#[schema(as = T)]` on a field or a type | uses the schema of `T`, which must be encoded alike; goes with `with` on a field, and with everything on a type |
/// | all other attributes of serde, such as `flatten`, `skip`, `tag`, `untagged`, `with`, `from`, `alias` | rejects them at compile time |
///
/// Raw identifiers lose their `r#`. `usize` and `isize` are described as `u32` and `i32`, which they are in a guest.
///
/// A crate of types that host and plug-in share needs this crate and serde:
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

/// What the derive's expansion names; not part of the public surface.
#[doc(hidden)]
pub mod __private {
    pub use crate::describe::DEFAULTED;
    pub use postcard_schema::schema;
}

/// The version of the contract told by this crate.
///
/// A guest tells its own in the name of its buffer export, see [`names::BUFFER_EXPORT`].
pub const VERSION: u32 = 1;
