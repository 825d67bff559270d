//! Runs WebAssembly functions on a supervised pool of worker threads.
//!
//! Compiled `.wasm` is defined by name while the pool runs; any thread or async task calls it by
//! name with typed arguments. A function that loops, traps, leaks or attacks is stopped and
//! replaced, and nobody else notices.
//!
//! ```
//! use wpc_host::{Options, WorkerProcedureCall};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wpc = WorkerProcedureCall::new(Options::default())?;
//! wpc.define_worker_function(
//!     "double",
//!     wat::parse_str(
//!         r#"(module (func (export "double") (param i64) (result i64)
//!             local.get 0 i64.const 2 i64.mul))"#,
//!     )?,
//! )?;
//! wpc.start_workers(4)?;
//!
//! let twice: i64 = wpc.call("double", (21_i64,))?;
//! assert_eq!(twice, 42);
//! wpc.stop_workers();
//! # Ok(()) }
//! ```
//!
//! # Words
//!
//! * A *function* is a named wasm export that can be called; a *module* is compiled wasm; a
//!   *definition* is one defined generation of a function, dependency or constant.
//! * A *dependency* is a module that others link to under an *alias*; a *constant* is a named value
//!   that guests read; a *capability* is something granted to a definition.
//! * A *worker* is a thread and its sandboxes; a *sandbox* is one instance of one definition with
//!   its dependencies'.
//! * A *guest error* is a failure a function returned as a value; a *trap* is execution aborted.
//! * A function is *held* on a worker when its restarts are used up there.
//!
//! # Errors
//!
//! The text of an [`Error`] states what failed, in words that may be shown to users. [`Error::remedy`] is what helps, as data, and its
//! text names this library's methods. [`Error::kind`] is who can act on it, [`Error::code`] its stable name. What a function returned
//! as an error of its own type is read with [`Error::guest_payload`].
//! # Checked calls
//!
//! A call by name ([`call`](WorkerProcedureCall::call), `call_with`, `call_async`, `submit`, and those of a [`LocalWorker`])
//! compares the types of its arguments and of its result with those that the function declares. A guest of the SDK declares
//! them, and so does every export of WebAssembly numbers. If they differ, the call is refused with
//! [`Error::SignatureMismatch`]: it names the place, the expected and the found type.
//!
//! * Each integer and each float must have exactly the declared type: an integer literal without a type is an `i32`, so write
//!   `40u32` for a `u32`. Nothing is converted.
//! * Structures are compared by the names of their fields in order, enums by the names of their variants in order. The names
//!   of types and newtypes do not count. `usize` and `isize` have 32 bits in a guest; a host's may be passed for them, for
//!   32 and for 64 bits, and a guest refuses a value that does not fit.
//! * Arguments are compared while they are encoded. What a value does not show, such as the items of an empty list, is
//!   compared when another value shows it. Once values of a type have shown everything, its further calls are not compared any
//!   more and cost one look-up. Types whose values differ in shape, such as `serde_json::Value`, are compared in every call.
//! * The result's type is compared before the function runs. Where only real values can show it, because a type refuses others as it is
//!   decoded, each reply is compared; then the error comes after the function ran.
//!
//! [`function`](WorkerProcedureCall::function) compares the types once, when the handle is made, by their
//! [`Schema`]. Modules that declare no types, and calls with bytes that are encoded already, are not checked.
//!
//! # JSON
//!
//! [`call_json`](WorkerProcedureCall::call_json) takes and gives JSON, by the types that a module tells:
//!
//! | type | JSON |
//! |---|---|
//! | numbers | a number; one that JSON cannot hold (beyond 64 bits, `NaN`, `Infinity`) is a string; an `f32` has its shortest form, and a number out of its range is refused; `usize` and `isize` have 32 bits, as in a guest |
//! | `char`, `String` | a string |
//! | `()` and unit structs | `null` |
//! | `Option` | `null`, or the value; where the value itself may be `null`, `{"Some": value}` |
//! | sequences, bytes, tuples | an array |
//! | maps | an object where keys are strings, else an array of pairs |
//! | structs | an object; a missing field is `None` or the default of a field with `#[serde(default)]`; an unknown field is rejected unless it is `null` |
//! | enums | `"Name"`, or `{"Name": value}`; an unknown variant is rejected |
//!
//! `docs/types.md` lists the types of the standard library, and what happens where host and module have different
//! versions of a type.
//!
//! # Strings and bytes
//!
//! `String` and `Vec<u8>` are the fast way for what is large: among arguments they are copied in one piece wherever they
//! stand, and a result that is one as a whole is handed over without being encoded. Inside of other results `serde_bytes` does
//! what it does everywhere. Results are `'static`, so that bytes can be handed over as they are.
//!
//! Where many large calls are outstanding, fresh memory costs more than copying: a megabyte takes 256 page faults. A pool
//! reuses its buffers of 128 KiB or more. [`PendingCall::wait_into`] exchanges the result's buffer for one that the caller
//! has read already, so that no call allocates. The pool holds at most 64 MiB that are not in use, frees what it did
//! not use for 1.5 seconds, and reports it with [`get_buffer_usage`](WorkerProcedureCall::get_buffer_usage).
//!
//! Start with [`WorkerProcedureCall`]. Functions are written with the crate `wpc-guest-sdk`, or in
//! any language after `docs/abi.md`.
#![forbid(unsafe_code)]
// The unit tests belong to the library; under the scheduler of the model checks they would find no schedule.
#![cfg(not(all(wpc_model, test)))]
#![cfg_attr(
    wpc_model,
    allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        unnameable_types,
        missing_docs,
        missing_debug_implementations,
        clippy::disallowed_methods,
        unfulfilled_lint_expectations,
        reason = "the model checks use a part of the library; it is checked where it is compiled whole"
    )
)]

mod call;
mod capability;
#[cfg(wpc_model)]
#[path = "../../tools/models/src/checks.rs"]
pub mod checks;
mod codec;
mod definition;
mod error;
mod event;
mod host_function;
mod id;
mod information;
mod inspection;
mod module;
mod name_map;
mod options;
mod pool;
mod registry;
#[cfg_attr(wpc_model, path = "../../tools/models/src/sandbox.rs")]
mod sandbox;
mod supervisor;
#[cfg_attr(wpc_model, path = "../../tools/models/src/sync.rs")]
mod sync;
mod system;
mod worker;

pub use call::future::CallFuture;
pub use call::pending::{Answer, CancelHandle, PendingCall};
pub use call::reply::ReplyMetadata;
pub use capability::Capability;
pub use codec::arguments::{Argument, Arguments, Parameters};
pub use definition::WasmModule;
pub use definition::limits::Limits;
pub use definition::wasi::{Output, Wasi};
pub use error::Error;
pub use error::OsResource;
pub use error::code::{ErrorCode, ErrorKind, UnknownErrorCode};
pub use error::payload_type::PayloadType;
pub use error::remedy::{Definable, Grant, Remedy, Setting};
pub use event::observer::FinishedCall;
pub use event::{
    EventDetails, EventError, EventSource, FailureSeverities, HealthState, Severity, WorkerEvent,
};
pub use host_function::HostContext;
pub use id::{CallId, FunctionHash, ListenerId, ParseHashError, Sha256Hash, WorkerId};
pub use information::{
    CompileCacheUsage, ConstantInformation, DependencyInformation, ExportInformation,
    FunctionInformation, ModuleInformation, RequiredDependency, SandboxUsage, TypeInformation,
    WorkerHealth,
};
pub use module::declared_type::DeclaredType;
pub use module::metering::MAX_UNCOUNTED_FUEL;
pub use options::{CallOptions, Options};
pub use pool::function::Function;
pub use pool::{LocalWorker, Operation, PendingJson, WorkerProcedureCall};
pub use system::buffers::BufferUsage;
pub use wpc_abi::GuestError;
/// Describes how a type is encoded: a trait, and its derive. Typed handles compare it with what a module declares.
///
/// It is the trait and the derive of [`wpc_abi::Schema`], where serde's attributes and the types that have a schema are
/// listed. A crate of types that host and plug-in share derives `wpc_abi::Schema`, and depends on neither.
///
/// ```
/// use wpc_host::Schema;
///
/// #[derive(serde::Serialize, Schema)]
/// #[serde(rename_all = "camelCase")]
/// struct Order {
///     item_name: String,
/// }
/// assert_eq!(Order::SCHEMA.name, "Order");
/// ```
pub use wpc_abi::describe::Schema;
pub use wpc_schema_macros::HostSchema as Schema;

/// What the derive's expansion names; not part of the public surface.
#[doc(hidden)]
pub mod __private {
    pub use wpc_abi::__private::{DEFAULTED, schema};
}

const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<WorkerProcedureCall>();
    is_send_and_sync::<Function<(String,), String>>();
    is_send_and_sync::<PendingCall<std::rc::Rc<()>>>();
    is_send_and_sync::<Error>();
};

/// The README's code, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

/// The code of the document on types, likewise.
#[cfg(doctest)]
#[doc = include_str!("../../docs/types.md")]
mod types {}
